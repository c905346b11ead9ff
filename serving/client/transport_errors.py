"""The errors of a server that is out of reach or refuses, over either protocol, and the pauses between attempts.

ServingError
├── OutOfReachError      nothing answers there, or the connection breaks
├── TooSlowError         no answer in time
├── UnknownModelError    the server doesn't have the model, or the version
├── OverloadedError      429 or 503, however often it was asked
├── CanceledError        CANCELLED or 499, however often it was asked: another client's call in the batch may cause it
├── RefusedError         the server answers with an error; its message is in `received`
└── AnotherProgramError  no TensorFlow Serving
"""

import datetime
import email.utils
import random
from urllib.parse import urlsplit

from foundation.errors import ServingError

CLASH = "from different tasks have different shapes"
"""TensorFlow Serving's words when it refuses a whole batch because its requests have token ids of several lengths."""
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
"""OpenSSL's word for a certificate that it doesn't trust."""
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 5.0
LONGEST_RETRY_AFTER_SECONDS = 10.0
"""The longest pause that a server may ask for: a user waits for the answer."""


class OutOfReachError(ServingError):
    """Nothing answers at the URL, or the connection breaks."""


class TooSlowError(ServingError):
    """No answer came in time."""


class UnknownModelError(ServingError):
    """The server doesn't have the model or the version."""


class OverloadedError(ServingError):
    """The server had no room for a request, however often it was asked."""


class CanceledError(ServingError):
    """The server gave the request up, however often it was asked, or this client was closed before the answer came."""


class RefusedError(ServingError):
    """The server answered with an error, whose message is in `received`."""


class AnotherProgramError(ServingError):
    """What answers is no TensorFlow Serving."""


def host_and_port(url: str) -> tuple[str, int | None]:
    """The host and port that a URL names; the host is empty where the URL is malformed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as the lookup of its address does
    except ValueError:
        return "", None
    return host, port


def out_of_reach(url: str, host: str, port: int, problem: str) -> OutOfReachError:
    """The error of a server that doesn't answer."""
    if UNTRUSTED in problem:
        return OutOfReachError(
            "the server's certificate must be signed by an authority that is trusted here, for the host in the URL",
            received=f"{url}: {problem}",
            remedy="give the authority's certificate, or the server's own, with --ca-file, and check the host in --url",
        )
    option = "--grpc-port" if url.startswith(("grpc:", "grpcs:")) else "--port"
    return OutOfReachError(
        "a server must listen at the URL",
        received=f"{url}: {problem}",
        remedy=f"start it with: python -m serving --model-dir DIR {option} {port}"
        if host in LOOPBACK
        else "check --url and that the server runs",
    )


def too_slow(url: str, seconds: float) -> TooSlowError:
    """The error of an answer that didn't come in time."""
    return TooSlowError(
        f"the server must answer within {seconds:g} seconds",
        received=f"no answer from {url}",
        remedy="send less at once, or allow more with --timeout-seconds",
    )


def unknown_model(model: str, said: str) -> UnknownModelError:
    """The error of a model that the server doesn't have."""
    return UnknownModelError(
        f"the server must have a model named {model}",
        received=said,
        remedy="give with --model the name that the server printed when it started, and check --url",
    )


def overloaded(said: str, times: int) -> OverloadedError:
    """The error of a server that had no room for a request, however often it was asked."""
    return OverloadedError(
        "the server must have room for another request",
        received=f"{said} ({times} times)",
        remedy="try again later, or send from fewer clients at once",
    )


def canceled(said: str) -> CanceledError:
    """The error of a request that was given up, and that there are no tries or no time left for."""
    return CanceledError(
        "a request must not be canceled before its answer has come",
        received=said,
        remedy="try again, and close the client only after that; the server cancels a request where another client's "
        "in the same batch is canceled or late: give all clients the same timeout",
    )


def refused(said: str) -> RefusedError:
    """The error of a request that the server can't answer, with its own message."""
    return RefusedError(
        "the server must be able to answer the request", received=said, remedy="change the request as the message says"
    )


def another_program(url: str, received: str) -> AnotherProgramError:
    """The error of an answer that no TensorFlow Serving would give."""
    return AnotherProgramError(
        "the server must speak TensorFlow Serving's protocol",
        received=f"{received} (from {url})",
        remedy="check --url: another program may listen there",
    )


def pause(attempt: int) -> float:
    """Seconds to wait before a request is repeated: doubling, with jitter so that clients don't come back at once."""
    return min(FIRST_DELAY_SECONDS * 2**attempt, LONGEST_DELAY_SECONDS) * random.uniform(0.5, 1.0)


def retry_after(header: str) -> float:
    """The seconds that a `Retry-After` header asks for, in seconds or as a date; 0 for none, and at most ten."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            wanted = email.utils.parsedate_to_datetime(header)
            seconds = (wanted - datetime.datetime.now(datetime.UTC)).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a time zone
            return 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else 0.0
