"""Asks a served model as many clients do: at once, through every signature, with texts of unlike lengths."""

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from components.validation.answer_difference import compare
from foundation.errors import ServingError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from components.validation.signature_client import SignatureClient

CLIENTS = 8
REQUESTS = 6
"""Of each client."""
TOLERANCE = 1e-4
"""The largest relative difference between a score asked beside others and the same asked alone: rows that share a batch
are padded otherwise, and sums then round otherwise."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A request, and what it was answered when nobody else asked.

    Attributes:
        what: In words.
        ask: Sends it with a client.
        expected: Its answer.
        differs: What differs between two answers, in words; None for nothing.
    """

    what: str
    ask: "Callable[[SignatureClient], Any]"
    expected: Any
    differs: Callable[[Any, Any], str | None]


def ask_at_once(connect: "Callable[[], SignatureClient]", requests: Sequence[Request], timeout_seconds: float) -> int:
    """Sends requests from several clients at once, each client its own choice of them in its own order.

    Args:
        connect: Makes a client, for a thread of its own.
        requests: What is asked.
        timeout_seconds: How long all of it may take.

    Returns:
        How many requests there were.

    Raises:
        ServingError: If one fails, hangs, or is answered otherwise than alone.
    """
    problems: list[Exception] = []
    asked: dict[int, str] = {}

    def client(number: int) -> None:
        mine = random.Random(number).choices(requests, k=REQUESTS)
        # Each request is asked by somebody, however many there are.
        mine += list(requests[number::CLIENTS])
        connection = connect()
        try:
            for request in mine:
                if problems:
                    return
                asked[number] = request.what
                answer = request.ask(connection)
                if (difference := request.differs(request.expected, answer)) is not None:
                    problems.append(otherwise(request.what, difference))
                counts[number] += 1
                progress.done = sum(counts)
            asked.pop(number, None)
        except ServingError as error:
            problems.append(failed(asked[number], error))
        except Exception as error:  # a fault of this program, which the caller is to see
            problems.append(error)
        finally:
            connection.close()

    counts = [0] * CLIENTS
    threads = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    total = CLIENTS * REQUESTS + len(requests)
    with TERMINAL.progress(f"asking as {CLIENTS} clients at once", total, "requests") as progress:
        for thread in threads:
            thread.start()
        end = time.monotonic() + timeout_seconds
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
    if problems:
        raise problems[0]
    if any(thread.is_alive() for thread in threads):
        raise hangs(next(iter(asked.values()), "a request"), timeout_seconds)
    return sum(counts)


def difference_of_answers(expected: Any, received: Any, tolerance: float = TOLERANCE) -> str | None:
    """What differs between two lists of (status, answer); None for nothing that matters."""
    if len(expected) != len(received):
        return f"{len(received)} answers instead of {len(expected)}"
    for (status, answer), (other_status, other) in zip(expected, received, strict=True):
        if status != other_status:
            return f"the status is {other_status} instead of {status}"
        if (difference := compare(answer, other, tolerance).difference) is not None:
            return difference
    return None


def difference_of_answer(expected: Any, received: Any, tolerance: float = TOLERANCE) -> str | None:
    """What differs between two answers to a text; None for nothing that matters."""
    return compare(expected, received, tolerance).difference


def difference_of_numbers(expected: Any, received: Any, tolerance: float = TOLERANCE) -> str | None:
    """What differs between two nested lists of numbers; None for nothing that matters."""
    import numpy as np

    one, other = np.asarray(expected), np.asarray(received)
    if one.shape != other.shape:
        return f"an answer of shape {other.shape} instead of {one.shape}"
    distance = np.abs(one - other).max(initial=0.0)
    allowed = tolerance * max(1.0, np.abs(one).max(initial=0.0))
    return None if distance <= allowed else f"numbers differ by up to {distance:.1e}"


RULE = "a served model must answer many clients at once as it answers one alone"


def otherwise(what: str, difference: str) -> ServingError:
    """The error of an answer that depends on who else asks."""
    return ServingError(
        RULE, received=f"{difference}, for {what} asked beside others", remedy="export again without in_graph_batching"
    )


def failed(what: str, error: ServingError) -> ServingError:
    """The error of a request that fails while others ask."""
    return ServingError(
        RULE,
        received=f"{error.received}, for {what} asked beside others",
        remedy=f"{error.remedy}; where the server batches by itself, start it without --enable_batching",
    )


def hangs(what: str, timeout_seconds: float) -> ServingError:
    """The error of a request without an answer."""
    return ServingError(
        RULE,
        received=f"no answer within {timeout_seconds:g} seconds to {what} asked beside others",
        remedy="see the server's log; where the server batches by itself, start it without --enable_batching, or allow "
        "more with --validate.timeout_seconds",
    )
