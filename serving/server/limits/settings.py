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
    """

    body_bytes: int = 64 * 1024 * 1024
    response_bytes: int = 128 * 1024 * 1024
    call_seconds: float = 30.0
    pending_requests: int = 256
    threads: int = max(4, 2 * (os.cpu_count() or 1))
    shutdown_seconds: float = 30.0


DEFAULT_LIMITS = Limits()
