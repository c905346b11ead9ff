"""What can go wrong on the way to the test hub: switches that a test turns on."""

import dataclasses
import re
import threading


@dataclasses.dataclass
class Fault:
    """Something that happens to the next requests that match.

    Attributes:
        path: A regular expression that the request's path (with its query) must contain.
        method: The request's method; None for any.
        times: How many requests it happens to.
        status: Answer with this HTTP status instead.
        retry_after: Seconds, as the `Retry-After` header of that answer.
        cut_after: Read this many bytes of the request's body, then drop the connection.
        until: Wait for this after the body was read, before the request is answered.
    """

    path: str
    method: str | None = None
    times: int = 1
    status: int | None = None
    retry_after: int | None = None
    cut_after: int | None = None
    until: threading.Event | None = None


class Faults:
    """The faults that are switched on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Switches a fault on."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Switches all faults off."""
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that happens to a request, used up by one; None if all is well."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.method in (None, method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None
