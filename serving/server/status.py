"""Canonical codes, how HTTP says them, a request's error, and the status of a version."""

import dataclasses
import enum
import json


class Code(enum.IntEnum):
    """google.rpc.Code, which TensorFlow's and gRPC's numbers are too."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def http(self) -> int:
        """The HTTP status that TensorFlow Serving answers for the code; 500 for those without one."""
        return HTTP_STATUS.get(self, 500)


HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


class StatusError(Exception):
    """A request's failure, as the protocol reports it to the client.

    Args:
        code: What kind of failure.
        message: For the client; an empty one gives an empty body.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        """The code and the message, as TensorFlow Serving quotes an error inside another."""
        return f"{self.code.name}: {self.message}"


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """What a server says of one version.

    Attributes:
        version: Its number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code: OK, or why it failed.
        message: Empty, or why it failed.
    """

    version: int
    state: str
    code: Code = Code.OK
    message: str = ""


def invalid(message: str) -> StatusError:
    """An INVALID_ARGUMENT, which most errors of a request are."""
    return StatusError(Code.INVALID_ARGUMENT, message)


def unknown_label(label: str) -> StatusError:
    """The error of a label that no version has."""
    return invalid(f"Unrecognized servable version label: {label}")


def error_body(message: str) -> bytes:
    """`{"error": message}` in the layout that TensorFlow Serving gives it."""
    text = json.dumps({"error": message}, indent=4, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")
