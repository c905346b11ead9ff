"""What workers are given to do in tests. It is here, so that a worker's process can import it."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.contract.workers import Member
from foundation.errors import DamagedArtifact, DataError


def nothing() -> None:
    """Prepares nothing."""


def prepared(log: Path) -> int:
    """Notes that a process prepared; its id."""
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    return os.getpid()


def squared(state: object, number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def not_ten() -> DataError:
    return DataError("a number must not be 10", received="10", remedy="leave it out")


def arrays_until_ten(process: int, number: int) -> tuple[int, np.ndarray]:
    """The process, and an array of a megabyte; the first is the last to be done."""
    if number == 0:
        time.sleep(1)
    if number == 10:
        raise not_ten()
    return process, np.full(1 << 17, number, np.float64)


def sixteen_megabytes(directory: Path, number: int) -> np.ndarray:
    (directory / str(number)).touch()
    return np.full(1 << 21, number, np.float64)


def wait_until_still(count: Callable[[], int], seconds: float) -> None:
    """Waits until a number stays the same for some seconds."""
    last, since = count(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        if count() != last:
            last, since = count(), time.monotonic()


def broken_preparation() -> int:
    return 1 // 0


def broken(state: object, number: int) -> int:
    return 1 // (number - 3)


def deadly(state: object, number: int) -> int:
    if number == 3:
        print("a last word", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def kills_once(log: Path, number: int) -> int:
    """Kills its process at number 3, at the first time."""
    if number == 3 and not log.exists():
        log.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def writes(directory: Path, member: Member) -> None:
    """Writes who it is."""
    import tensorflow

    addresses = json.loads(os.environ["TF_CONFIG"])
    said = {"rank": member.rank, "count": member.count, "index": addresses["task"]["index"], "pid": os.getpid()}
    said |= {"addresses": addresses["cluster"]["worker"], "directory": os.getcwd()}
    said |= {"keras": tensorflow.keras.Model.__module__.split(".")[0], "threads": os.environ["TF_NUM_INTRAOP_THREADS"]}
    (directory / f"{member.rank}.json").write_text(json.dumps(said), "utf-8")


def second_refuses(directory: Path, member: Member) -> None:
    """The second worker raises an error, for which the first waits in vain."""
    with open(directory / f"{member.rank}.starts", "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    if member.rank == 1:
        raise DamagedArtifact(directory, "a byte is another")
    threading.Event().wait()


def second_is_broken(directory: Path, member: Member) -> None:
    second_refuses(directory, member) if member.is_chief else member / 2  # type: ignore[operator]


def counts_on(directory: Path, last: int, deadly: int, member: Member) -> None:
    """Counts from where it left off; at one number the second worker is killed once."""
    file = directory / f"{member.rank}.count"
    for number in range(int(file.read_text() or 0) if file.exists() else 0, last):
        file.write_text(str(number + 1))
        (directory / f"{member.rank}.pid").write_text(str(os.getpid()))
        if member.rank == 1 and number == deadly and not (directory / "killed").exists():
            (directory / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def dies(member: Member) -> None:
    print("a last word", file=sys.stderr, flush=True)
    if member.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


def waits(directory: Path, state: object, number: int) -> None:
    """Says that it has begun, and never ends."""
    (directory / f"{number}.begun").write_text(str(os.getpid()))
    threading.Event().wait()


def waits_together(directory: Path, member: Member) -> None:
    waits(directory, None, member.rank)
