"""The limits of a server, which its command line can change."""

import dataclasses
import os


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server refuses, and how much it does at once.

    Attributes:
        body_bytes: The largest request body, as it comes over the wire; larger ones get 413.
        response_bytes: The largest answer. A request that would get a larger one is refused, before the graph runs
            where the shapes tell the answer's size. (The scores of a vocabulary of 50,265 for 128 tokens, as JSON, are
            smaller than the default.)
        call_seconds: How long a call may take, from its head to the end of writing its answer; then it gets 504.
            Sending a large answer may take as long again.
        pending_requests: How many requests may be worked on or wait at once; further ones get 503.
        threads: How many large messages, and calls that are not batched, are worked on at once.
        shutdown_seconds: How long requests under way may take to end once the server is stopped.
        drain_seconds: How long a stopped server goes on answering on the connections that are open, so that their
            clients learn of it (`Connection: close`).
        head_seconds: How long the head of a request may take to come.
        idle_seconds: After how long a connection on which nothing is asked is closed.
        connections: How many clients may be connected at once over HTTP. Further ones are let in at the cost of those
            that ask nothing, and cut off where there are none.
        grpc_connections: The same over gRPC, where further ones are cut off. A client can have each take megabytes,
            with a few kilobytes of headers.
        bodies_bytes: How many bytes of request bodies may be in memory at once, those half sent among them; what is
            over that gets 503.
    """

    body_bytes: int = 64 * 1024 * 1024
    response_bytes: int = 128 * 1024 * 1024
    call_seconds: float = 30.0
    pending_requests: int = 256
    threads: int = max(4, 2 * (os.cpu_count() or 1))
    shutdown_seconds: float = 30.0
    drain_seconds: float = 1.0
    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    connections: int = 2000
    grpc_connections: int = 256
    bodies_bytes: int = 256 * 1024 * 1024


DEFAULT_LIMITS = Limits()
