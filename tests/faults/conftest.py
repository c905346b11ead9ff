"""What the faults happen to: a tiny job, finished without any, and how many changes each of its steps made."""

import dataclasses
import os
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from test_pipeline import write_job

from tests.faults import system_calls
from tests.faults.forked_pipeline import Forks
from tests.faults.tiny_root import STEPS

Case = TypeVar("Case")
SEED = int(os.environ.get("FAULTS_SEED", "1"))
"""Another one finds other moments, files and bits."""
SIZE = float(os.environ.get("FAULTS_SIZE", "1"))
"""How many cases of each kind, as a multiple of what a run of all tests has time for; 100 is enough for all."""
AT_ONCE = min(4, len(os.sched_getaffinity(0)))


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A job that nothing happened to.

    Attributes:
        directory: Its folder, with everything finished.
        arguments: Of its command line.
        changes: The changes to files that each step's own run made, the run's record among them.
        seconds: How long each took.
    """

    directory: Path
    arguments: list[str]
    changes: dict[str, list[str]]
    seconds: dict[str, float]


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    with Forks(tmp_path_factory.mktemp("forks")) as forks:
        yield forks


@pytest.fixture(scope="session")
def undisturbed(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    import time

    if not system_calls.is_available():
        pytest.skip("changes to files can't be watched here: Linux 5.5 on x86-64 lets a process do it")
    directory = tmp_path_factory.mktemp("undisturbed") / "job"
    directory.mkdir()
    arguments = write_job(directory)
    changes, seconds = {}, {}
    for step in STEPS:
        started = time.monotonic()
        done = forks.start([*arguments, "--until", step], directory, watched=True).wait()
        assert done.code == 0, done.error
        changes[step], seconds[step] = done.changes, time.monotonic() - started
    return Undisturbed(directory, arguments, changes, seconds)


def chance(name: str) -> random.Random:
    """Chance of its own for each test, so that one may be run alone."""
    return random.Random(f"{SEED} {name}")


def sample(name: str, cases: Iterable[Case], size: float) -> list[Case]:
    """Some of the cases, in their order."""
    cases = list(cases)
    chosen = set(chance(name).sample(range(len(cases)), min(len(cases), round(size * SIZE))))
    return [case for number, case in enumerate(cases) if number in chosen]


def try_all(kind: str, try_one: Callable[[int, Case], str | None], cases: list[Case]) -> None:
    """Tries every case, some at once; prints how many ended well, and fails with what the others say.

    Args:
        kind: How it ended where it ended well: survived, noticed.
        try_one: Called with a case's number, counted from 0, and the case; what is wrong, or None.
        cases: At least one.
    """

    def try_and_say(number: int, case: Case) -> str | None:
        outcome = try_one(number, case)
        if outcome is not None:
            print(f"\n{case}: {outcome}", flush=True)
        return outcome

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(try_and_say, range(len(cases)), cases))
    wrong = [f"{case}: {outcome}" for case, outcome in zip(cases, outcomes, strict=True) if outcome is not None]
    print(f"\n{kind} {len(cases) - len(wrong)} of {len(cases)}")
    assert cases
    assert not wrong, "\n".join(wrong)
