"""Locks between machines: an object that its holder made where there was none, and writes again while it lives.

    locks/<name>/000001    the holder: its machine and process, since when

Whoever finds a lease that wasn't renewed for its time, by the store's own clock, makes the object with the next number.
Only one does, since an object is only made where there is none; so a machine that died holds nothing for ever, and one
that was merely slow finds the higher number and ends.
"""

import contextlib
import dataclasses
import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from components.contract.manifest import now
from foundation.errors import ArtifactError, PipelineError
from foundation.process_lock import LockHeld
from runners.remote.object_store import ObjectStore, RemoteObject

LOCKS = "locks"
SECONDS = "MASKED_LM_LEASE_SECONDS"
"""The environment variable for how long a lease lasts that nobody renews; equal on all machines."""
LEASE_SECONDS = 60.0
RENEWALS = 4
"""How often a lease is renewed in the time that it lasts."""
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.1, 3.0
SILENT_SECONDS = 1.0
CLOCK_SECONDS = 2.0
"""By how much the store's clock is known at worst: it tells whole seconds."""


def lease_seconds() -> float:
    """How long a lease lasts that isn't renewed."""
    try:
        return max(2.0, float(os.environ.get(SECONDS, LEASE_SECONDS)))
    except ValueError:
        return LEASE_SECONDS


@dataclasses.dataclass
class Lease:
    """A lease that this process holds.

    Attributes:
        name: What is held.
        what: What waits for it, for messages.
        place: The name of the object.
        content: What it says.
        renewed: When, by `time.monotonic`.
        is_lost: Whether somebody else has taken it.
    """

    name: str
    what: str
    place: str
    content: dict[str, object]
    renewed: float
    is_lost: bool = False


class Leases:
    """The leases of one process.

    Args:
        objects: The root's objects.
        owner: What tells this machine's staging directory from others. Who asks for a name has locked it there before,
            so that an owner's other lease on it is one of a process that died.
        ahead_seconds: By how much the store's clock is ahead.
        seconds: How long a lease lasts.
    """

    def __init__(self, objects: ObjectStore, owner: str, ahead_seconds: float, seconds: float | None = None) -> None:
        self.objects = objects
        self.owner = owner
        self.ahead_seconds = ahead_seconds
        self.seconds = lease_seconds() if seconds is None else seconds
        self._held: dict[str, Lease] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def hold(
        self, name: str, what: str, *, wait: bool = True, show: Callable[[str], None] | None = None
    ) -> Iterator[Lease]:
        """Holds a name against every other machine; waits for its turn.

        Raises:
            LockHeld: If another machine holds it, and nobody wants to wait.
            PipelineError: If the store doesn't answer.
        """
        lease = self._acquire(name, what, wait, show)
        with self._lock:
            self._held[lease.place] = lease
        try:
            yield lease
        finally:
            with self._lock:
                self._held.pop(lease.place, None)
            # One that isn't removed ends by itself.
            with contextlib.suppress(PipelineError):
                if not lease.is_lost:
                    self.objects.remove([lease.place])

    def renew_all(self) -> None:
        """Renews every lease that this process holds; called by the heartbeat."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            with contextlib.suppress(PipelineError):  # the next beat tries again
                self.renew(lease)

    def renew(self, lease: Lease) -> None:
        """Writes a lease anew, unless another machine has taken it."""
        there = self.objects.list(_place(lease.name))
        with self._lock:
            if lease.place not in self._held:  # it was given back meanwhile
                return
            if lease.place not in there or any(other > lease.place for other in there):
                lease.is_lost = True
                return
            lease.content["renewals"] = int(str(lease.content["renewals"])) + 1
            self.objects.write(lease.place, _text(lease.content))
            lease.renewed = time.monotonic()

    def require(self, lease: Lease) -> None:
        """Refuses to go on with a lease that was lost, such as after this machine slept.

        Raises:
            ArtifactError: If it was.
        """
        if time.monotonic() - lease.renewed > self.seconds / 2:
            self.renew(lease)
        if lease.is_lost:
            raise ArtifactError(
                f"{lease.what} must be alone with what it writes",
                received=f"{self.objects.url(lease.place)} was taken by another machine, because this one didn't "
                f"renew it for {self.seconds:.0f} seconds",
                remedy="run the same command again, which takes what the other one makes",
            )

    def is_fresh(self, there: RemoteObject) -> bool:
        """Whether an object that its process renews was written lately."""
        if there.modified is None:
            return True
        age = time.time() + self.ahead_seconds - there.modified.timestamp()
        return age <= self.seconds + CLOCK_SECONDS

    def remove_expired(self) -> int:
        """Removes what processes that died left; how many."""
        expired = [each.name for each in self.objects.list(LOCKS).values() if not self.is_fresh(each)]
        self.objects.remove(expired)
        return len(expired)

    def _acquire(self, name: str, what: str, wait: bool, show: Callable[[str], None] | None) -> Lease:
        started, poll, shown = time.monotonic(), FIRST_POLL_SECONDS, False
        while True:
            taken = self._take(name, what)
            if isinstance(taken, Lease):
                return taken
            holder = _holder(taken)
            waited = time.monotonic() - started
            if not wait and taken is not None:
                raise LockHeld(
                    f"{what} must be alone with what it writes",
                    received=f"{self.objects.url(_place(name))} is held by {holder}",
                    remedy="wait until that process has ended, or end it, and run the same command again; where its "
                    f"machine died, its lease ends after {self.seconds:.0f} seconds",
                )
            if show is not None and not shown and waited > SILENT_SECONDS:
                shown = True
                show(f"waits for {holder}")
            time.sleep(poll * random.uniform(0.5, 1.0))
            poll = min(poll * 1.5, LONGEST_POLL_SECONDS, self.seconds / RENEWALS)

    def _take(self, name: str, what: str) -> Lease | Mapping[str, object] | None:
        """The lease; else what its holder's says, or None where somebody else was quicker."""
        # Nearly always nobody holds the name, and then there is nothing to look at beforehand.
        taken = self._create(name, what, 1, {})
        if taken is not None:
            return taken
        before = self.objects.list(_place(name))
        for each in before.values():
            if self.is_fresh(each):
                content = _parsed(self.objects.read(each.name))
                if content is None:  # it was given back at this moment
                    return None
                if content.get("owner") != self.owner:
                    return content
        return self._create(name, what, 1 + max((_number(each) for each in before), default=0), before)

    def _create(self, name: str, what: str, number: int, before: Mapping[str, RemoteObject]) -> Lease | None:
        """Makes the object of a number.

        Args:
            name: What is to be held.
            what: What waits for it.
            number: Higher than that of every other object.
            before: The objects whose processes have died.

        Returns:
            The lease; None where somebody else was quicker.
        """
        content: dict[str, object] = {
            "owner": self.owner,
            "nonce": secrets.token_hex(8),
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": now(),
            "seconds": self.seconds,
            "renewals": 0,
        }
        mine = f"{_place(name)}/{number:06}"
        if not self.objects.create(mine, _text(content)):
            return None
        after = self.objects.list(_place(name))
        # One that came, or was written again, since the first look is of somebody who also believes to hold the name.
        others = [each for each in after.values() if each.name != mine and before.get(each.name) != each]
        if others or mine not in after:
            self.objects.remove([mine])
            return None
        self.objects.remove(before)
        return Lease(name, what, mine, content, time.monotonic())


class Heartbeat:
    """Calls what renews, a few times in the time that a lease lasts, in a thread of its own.

    Args:
        beats: What is called each time. None of them raises for a store that doesn't answer.
        seconds: How long a lease lasts.
    """

    def __init__(self, beats: tuple[Callable[[], None], ...], seconds: float) -> None:
        self._beats = beats
        self._every = seconds / RENEWALS
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="remote-root", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def end(self) -> None:
        """Ends, without waiting for a request that is under way for long."""
        self._ended.set()
        self._thread.join(timeout=5.0)

    def _beat(self) -> None:
        while not self._ended.wait(self._every):
            for beat in self._beats:
                beat()


def _place(name: str) -> str:
    return f"{LOCKS}/{name.replace('/', '--')}"


def _number(name: str) -> int:
    last = name.rsplit("/", 1)[-1]
    return int(last) if last.isdecimal() else 0


def _text(content: Mapping[str, object]) -> bytes:
    return f"{json.dumps(content)}\n".encode()


def _parsed(data: bytes | None) -> dict[str, object] | None:
    if data is None:
        return None
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _holder(content: Mapping[str, object] | None) -> str:
    if not content or "pid" not in content:
        return "another process"
    since = str(content.get("since"))[:19].replace("T", " ")
    return f"process {content['pid']} on {content.get('host')} (since {since} UTC)"
