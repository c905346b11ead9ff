"""Brings to a tracker what it is told, without the run ever waiting for it."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable

from runners.tracking.tracker import Tracker, without_credentials

FIRST_WAIT, LONGEST_WAIT = 5.0, 60.0
"""Seconds from one attempt to the next, which double each time."""
LAST_WAIT = 60.0
"""The most seconds that the end of a run waits for a tracker that answers; one that doesn't gets fewer."""
LAST_WAIT_FOR_DEAD = 5.0


class Delivery:
    """A tracker's own thread: what it is told waits in line, and is tried again where it fails.

    Args:
        tracker: The tracker.
        show: Called with a line: once when the tracker fails, and at the end if something wasn't delivered.
    """

    def __init__(self, tracker: Tracker, show: Callable[[str], None]) -> None:
        self.tracker = tracker
        self.show = show
        self._acts: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing, self._idle = threading.Event(), threading.Event()
        self._lock = threading.RLock()  # an interrupt may come while the run's own thread holds it
        self._left = 0
        self._failed = False
        self._warned = False
        self._deadline = float("inf")
        self._thread: threading.Thread | None = None

    def put(self, act: Callable[[], None]) -> None:
        """Puts a call of the tracker in line."""
        with self._lock:
            self._left += 1
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name=f"tell {self.tracker.name}")
                self._thread.start()
        self._acts.put(act)

    def close(self, seconds: float = LAST_WAIT) -> None:
        """Waits until all is delivered, or for so long; says how much wasn't."""
        if self._thread is None:
            return
        began = time.monotonic()
        self._closing.set()
        while not self._idle.wait(0.05):
            limit = min(seconds, LAST_WAIT_FOR_DEAD) if self._failed else seconds
            if time.monotonic() - began >= limit:
                break
        if not self._idle.is_set():
            self._deadline = 0.0  # the thread gives up after what it is doing
            self.show(
                f"  {self.tracker.name:<11} not everything of this run was delivered; "
                "it is whole in the run's folder and report"
            )

    def _work(self) -> None:
        while True:
            act = self._acts.get()
            wait = FIRST_WAIT
            while not self._try(act) and time.monotonic() < self._deadline:
                self._closing.wait(wait)
                if self._closing.is_set():
                    time.sleep(min(1.0, wait))
                wait = min(2 * wait, LONGEST_WAIT)
            with self._lock:
                self._left -= 1
                if self._left == 0 and not self._failed:
                    self._idle.set()
            if time.monotonic() >= self._deadline:
                return

    def _try(self, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:
            self._failed = True
            if not self._warned:
                self._warned = True
                words = " ".join(f"{type(error).__name__}: {error}".split())
                reason = without_credentials(words)
                with contextlib.suppress(Exception):
                    self.show(
                        f"  {self.tracker.name:<11} out of reach, and tried again while the run goes on: "
                        f"{reason if len(reason) <= 200 else reason[:199] + '…'}"
                    )
            return False
        self._failed = False
        return True
