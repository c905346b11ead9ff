"""Lines of the log that any client can cause, and so as many of them as it likes."""

import logging
import time


class RareLines:
    """Lines of a log of which there may be thousands: at most some a minute, and then how many were left out.

    Args:
        to: The log.
        lines: How many a minute.
    """

    def __init__(self, to: logging.Logger, lines: int = 10) -> None:
        self._to = to
        self._lines = lines
        self._began = float("-inf")
        self._count = 0

    def write(self, line: str) -> None:
        """Writes a line, unless there were as many in this minute already."""
        if time.monotonic() - self._began >= 60:
            if self._count > self._lines:
                self._to.warning("%d more lines of this kind were left out", self._count - self._lines)
            self._began, self._count = time.monotonic(), 0
        self._count += 1
        if self._count <= self._lines:
            self._to.warning("%s", line)


class NoUtf8Metadata(logging.Filter):
    """Writes a rare line in place of each traceback that gRPC's library has for a header that is no UTF-8.

    Args:
        to: The log for the lines.
    """

    LIBRARY = "grpc._cython.cygrpc"
    """The library's own log, for which the filter is."""

    def __init__(self, to: logging.Logger) -> None:
        super().__init__()
        self._rare = RareLines(to)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written as it is."""
        if not str(record.msg).startswith("Invalid encoding"):
            return True
        self._rare.write(f"no gRPC request: a header is no UTF-8: {str(record.args)[:100]}")
        return False
