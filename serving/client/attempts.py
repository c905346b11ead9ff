"""How often, and for how long, a client asks one request."""

import time

from serving.client import transport_errors


class Attempts:
    """The attempts at one request.

    An attempt after one that the server had no room for has the whole time again. One that the server canceled on the
    way, as it may when another client's call in the same batch is canceled, was in order and has used up some of the
    time: the next one has what is left of it.

    Args:
        timeout_seconds: How long the request may take.
        retries: How often it may be repeated.

    Example:
        attempts = Attempts(30.0, retries=4)
        while True:
            answer = ask(seconds=attempts.begin())
            pause = None if answer.is_ok else attempts.pause(is_canceled=answer.is_canceled)
            if pause is None:
                break
            time.sleep(pause)
    """

    def __init__(self, timeout_seconds: float, retries: int) -> None:
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._made = 0
        self._end: float | None = None

    def begin(self) -> float:
        """Begins an attempt. Returns the seconds that it may take."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._timeout_seconds
        self._made += 1
        return max(self._end - now, 0.001)

    def pause(self, is_canceled: bool, wanted: float = 0.0) -> float | None:
        """The seconds to wait before the next attempt; None if there must be none.

        Args:
            is_canceled: Whether the server canceled the last one.
            wanted: The seconds that the server asks for.
        """
        if self._made > self._retries:
            return None
        seconds = max(transport_errors.pause(self._made - 1), wanted)
        if not is_canceled:
            self._end = None
        elif self._end is not None and time.monotonic() + seconds >= self._end:
            return None
        return seconds
