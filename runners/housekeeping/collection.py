"""Removes from a root what no kept run reaches, while other processes may run pipelines there.

What is removed first gets another name, under which nobody looks for it, and only then goes; meanwhile no run can
begin to use an artifact. So a process that is killed at any moment, or loses its power, leaves each artifact whole or
not there.
"""

import dataclasses
import datetime
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.contract import manifest, run_names
from components.contract.push_record import read_record
from components.publishing import serving_directory
from components.training.step_checkpoints import CHECKPOINTS, STEP
from foundation import disk
from foundation.errors import ArtifactError, ConfigError, PipelineError
from foundation.process_lock import ProcessLock, is_held
from foundation.versions import versions
from runners.housekeeping.inventory import FINISHED, Directory, Inventory, Run, bytes_below, take_inventory
from runners.housekeeping.listing import count
from runners.storage import LocalStorage, Storage
from runners.store import ARTIFACTS, DAMAGED, KEY_DIGITS, PARTIAL, REMOVED
from runners.tracking.tensorboard import links_without_a_run

KEEP = 5
"""How many runs are kept unless the user says otherwise."""
REMOVED_RUN = ".removed-"
"""What the name of a run's folder begins with that is being removed."""
NAMED_IN_SETTINGS = re.compile(rf"{ARTIFACTS}/([\w-]+)/([0-9a-f]{{{KEY_DIGITS}}})")


@dataclasses.dataclass(frozen=True)
class Removal:
    """What is removed.

    Attributes:
        path: A directory or a file.
        why: The reason, in a few words.
        bytes: Its size.
        new_path: What it is called while it is being removed, with a number where that is taken; None where nobody
            takes it for anything as it is.
        lock: The lock file of what it is, which nobody may hold; None where there is none.
    """

    path: Path
    why: str
    bytes: int
    new_path: Path | None = None
    lock: Path | None = None


@dataclasses.dataclass(frozen=True)
class Collection:
    """What came of it.

    Attributes:
        removals: What was removed, or would be.
        failures: What couldn't be removed, each with the reason.
        notes: What was kept though no kept run uses it, each with the reason.
        runs: How many runs are left.
        artifacts: How many finished artifacts are left.
    """

    removals: tuple[Removal, ...]
    failures: tuple[str, ...]
    notes: tuple[str, ...]
    runs: int
    artifacts: int

    @property
    def bytes(self) -> int:
        """What all of it took on the disk."""
        return sum(each.bytes for each in self.removals)


def collect(
    root: Path,
    keep: int = KEEP,
    *,
    also: frozenset[str] = frozenset(),
    dry_run: bool = False,
    storage: Storage | None = None,
    look: Callable[[], None] = lambda: None,
    discard: Callable[[Sequence[Removal]], None] = lambda removals: None,
) -> Collection:
    """Removes what no kept run reaches.

    Kept are the newest runs; the newest that succeeded; those that are running; those whose folders somebody has
    renamed; those that the user names; and those that pushed the version that servers take, and the last blessed one,
    which the next model is held against. With them stay their artifacts, what these were made from, and what their
    settings name by path.

    Args:
        root: The pipeline root.
        keep: How many of the newest runs are kept; at least 1.
        also: The names of the folders of other runs that are kept.
        dry_run: Whether to say only what would be removed.
        storage: What keeps the artifacts; None for the root's own disk.
        look: Called when no run can begin to use an artifact any more, to bring here what is elsewhere.
        discard: Called with what was removed here while nobody else can begin to use it, to remove it elsewhere, too.

    Raises:
        ConfigError: If there is no such root, or `keep` is less than 1.
        ArtifactError: If the record of a kept run can't be read: it isn't known then what it uses.
        PipelineError: If the root can't be written.
    """
    if keep < 1:
        raise ConfigError("--keep must be at least 1", received=str(keep), remedy="leave it out, or name how many runs")
    if dry_run:
        return _plan(root, keep, also)
    take_inventory(root)  # refuses what is no root before a lock is made there
    try:
        with (storage or LocalStorage(root)).lock_for_a_moment(ARTIFACTS):
            look()
            planned = _plan(root, keep, also)
            renamed = [(each, path) for each in planned.removals if (path := _rename(each)) is not None]
            discard([each for each, _ in renamed])
        # A lock's file went with the lock. Another process may hold one of that name by now, and must not lose it.
        there = [path for each, path in renamed if path != each.lock]
        failures = [failure for path in there if (failure := _delete(path)) is not None]
    except OSError as error:
        raise PipelineError(
            "--gc must be able to write to the pipeline root",
            received=f"{error.strerror or error} ({error.filename or root})",
            remedy="give the permission, and run the same command again, which goes on from there",
        ) from error
    return dataclasses.replace(planned, removals=tuple(each for each, _ in renamed), failures=tuple(failures))


def as_text(collection: Collection, root: Path, *, dry_run: bool) -> Iterator[str]:
    """A line for each removal, and one that sums up."""
    width = max((len(_shown(each.path, root)) for each in collection.removals), default=0)
    for each in collection.removals:
        yield f"  {_shown(each.path, root):<{width}}  {each.bytes:>15,}  {each.why}"
    yield from (f"  kept: {note}" for note in collection.notes)
    yield from (f"  can't be removed: {failure}" for failure in collection.failures)
    would = "would be " if dry_run else ""
    yield (
        f"{len(collection.removals):,} {would}removed, {collection.bytes:,} bytes {would}freed; "
        f"{count(collection.runs, 'run')} and {count(collection.artifacts, 'artifact')} stay"
    )


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _plan(root: Path, keep: int, also: frozenset[str]) -> Collection:
    """What would be removed, as the root is now."""
    inventory = take_inventory(root)
    runs = _kept_runs(inventory, keep, also)
    for run in runs:
        if run.damage:
            raise ArtifactError(
                "--gc must know what the runs use that it keeps",
                received=run.damage,
                remedy=f"remove {run.directory}, whose artifacts then go too unless other runs use them, or keep fewer",
            )
    in_use = {name for run in runs for name in run.in_use}
    window = _Window(
        reachable=_reachable(inventory, runs),
        begun={key for run in runs for key in run.keys},
        since=_since(inventory, keep),
    )
    removals = [
        Removal(
            run.directory,
            "a run that was killed before it began" if run.is_empty else "a run that is older than those that are kept",
            bytes_below(run.directory),
            run.directory.with_name(f"{REMOVED_RUN}{run.name}"),
        )
        for run in inventory.runs
        if run not in runs
    ]
    notes = []
    for each in inventory.directories:
        why = None if each.name in in_use else window.why_not(each, inventory)
        lock = each.path.with_name(f".{each.key}.lock")
        if why is not None and is_held(lock):
            notes.append(f"{_shown(each.path, root)}, which another process is writing")
        elif why is not None and each.path.is_symlink():
            notes.append(f"{_shown(each.path, root)}, a link that somebody has made")
        elif why is not None:
            new_path = None if each.kind == REMOVED else each.path.with_name(f"{each.key}{REMOVED}")
            removals.append(Removal(each.path, why, bytes_below(each.path), new_path, lock))
    gone = {each.path for each in removals}
    removals += _debris(root, inventory, in_use, {each.lock for each in removals}, gone)
    return Collection(
        tuple(removals),
        (),
        tuple(notes),
        sum(run.directory not in gone for run in inventory.runs),
        sum(each.path not in gone for each in inventory.artifacts.values()),
    )


def _kept_runs(inventory: Inventory, keep: int, also: frozenset[str]) -> list[Run]:
    """The runs that stay; see `collect`."""
    runs = [run for run in inventory.runs if not run.is_empty]
    own = [run for run in runs if not run.was_renamed]
    kept = {run.name for run in runs if run.is_running or run.was_renamed} | also
    kept |= {run.name for run in own[-keep:]}
    kept |= {run.name for run in [run for run in own if run.status == "succeeded"][-1:]}
    kept |= _pushers(inventory, runs)
    latest = inventory.root / run_names.RUNS / run_names.LATEST
    kept |= {latest.resolve().name}
    return [run for run in runs if run.name in kept]


def _pushers(inventory: Inventory, runs: list[Run]) -> set[str]:
    """The names of the runs that pushed the latest version of each base path, and the last blessed one."""
    wanted: set[tuple[Path, int]] = set()
    for base_path in inventory.base_paths:
        found = versions(base_path)
        blessed = [number for number, path in found.items() if (read_record(path) or {}).get("blessed") is True]
        wanted |= {(base_path, number) for number in (*list(found)[-1:], *blessed[-1:])}
    names = set()
    for run in reversed(runs):
        pushed = run.pushed_to(inventory.root)
        if pushed in wanted:
            names.add(run.name)
            wanted.discard(pushed)
    return names


def _since(inventory: Inventory, keep: int) -> datetime.datetime | None:
    """When the oldest of the newest runs began; None where there are no older ones."""
    own = [run for run in inventory.runs if not run.was_renamed and not run.is_empty]
    if len(own) <= keep:
        return None
    began = own[-keep].name.split("-")[0]
    try:
        return datetime.datetime.strptime(began, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:  # somebody has named the folder, like a run but by no date
        return None


def _reachable(inventory: Inventory, runs: list[Run]) -> set[str]:
    """The names of the artifacts that the runs use, of what they were made from, and of what the settings name."""
    names = {name for run in runs for name in (*run.artifacts.values(), *run.in_use)}
    for run in runs:
        found = NAMED_IN_SETTINGS.findall(json.dumps((run.record or {}).get("config", {})))
        names |= {f"{ARTIFACTS}/{step}/{key}" for step, key in found}
    by_digest: dict[str, list[str]] = {}
    for name, each in inventory.artifacts.items():
        if each.manifest:
            by_digest.setdefault(each.manifest["digest"], []).append(name)
    new = names
    while new:
        inputs = {digest for name in new if name in inventory.artifacts for digest in inventory.artifacts[name].inputs}
        # Of several with equal content one is enough.
        missing = [digest for digest in inputs if not names & set(by_digest.get(digest, ()))]
        new = {name for digest in missing for name in by_digest.get(digest, ())} - names
        names |= new
    return names


@dataclasses.dataclass(frozen=True)
class _Window:
    """What the kept runs need.

    Attributes:
        reachable: The names of the artifacts that they reach.
        begun: The names of the artifacts that they have made or begun.
        since: When the oldest of the newest ones began; None where there are no older ones. A run that was killed has
            no record of what it began.
    """

    reachable: set[str]
    begun: set[str]
    since: datetime.datetime | None

    def why_not(self, each: Directory, inventory: Inventory) -> str | None:
        """Why a directory needn't stay; None where it must."""
        is_taken = each.name in inventory.artifacts and inventory.artifacts[each.name].manifest is not None
        is_recent = each.name in self.begun or self.since is None or each.changed >= self.since
        if each.kind == FINISHED:
            return None if each.name in self.reachable | self.begun else "no kept run uses it"
        if each.kind == DAMAGED:
            return "was set aside as damaged"
        if each.kind == REMOVED:
            return "an earlier --gc was killed before it was gone"
        if is_taken:
            return "left by a run that was killed while it replaced an artifact"
        if each.manifest is None and not (each.kind == PARTIAL and _can_be_gone_on_from(each.path)):
            return "half written, by a run that was killed"
        return None if is_recent else "half-finished, and older than the runs that are kept"


def _can_be_gone_on_from(partial: Path) -> bool:
    """Whether a training that was cut off left a checkpoint."""
    return any(partial.glob(f"{CHECKPOINTS}/{STEP}*/{manifest.NAME}"))


def _debris(
    root: Path, inventory: Inventory, in_use: set[str], locks: set[Path | None], gone: set[Path]
) -> Iterator[Removal]:
    """Small things that processes which were killed left behind, and links to runs that go."""
    runs = root / run_names.RUNS
    left = [(path, "an earlier --gc was killed before it was gone") for path in runs.glob(f"{REMOVED_RUN}*")]
    left += [(path, "a run was killed as it began") for path in runs.glob(f".{run_names.LATEST}-*")]
    left += [(path, "its run is gone") for path in links_without_a_run(root, gone)]
    idle = [run.directory for run in inventory.runs if not run.is_running]
    left += [(path, "a run was killed as it wrote") for each in idle for path in each.glob("*.partial")]
    for path, why in left:
        yield Removal(path, why, bytes_below(path))
    for lock in sorted((root / ARTIFACTS).glob("*/.*.lock")):
        name = f"{ARTIFACTS}/{lock.parent.name}/{lock.name[1:].removesuffix('.lock')}"
        if lock not in locks and name not in in_use and not is_held(lock):
            yield Removal(lock, "nobody holds this lock", bytes_below(lock), lock=lock)
    for base_path in inventory.base_paths:
        lock = base_path / serving_directory.LOCK_NAME
        for path in serving_directory.debris(base_path):
            if not is_held(lock):
                yield Removal(path, "a push was killed", bytes_below(path), lock=lock)


def _rename(removal: Removal) -> Path | None:
    """Takes from a thing the name that others know it by.

    Returns:
        Where it is now; None where another process holds it, or it is gone.
    """
    lock = None if removal.lock is None else ProcessLock(removal.lock, "--gc")
    if lock is not None and not lock.take():
        return None
    try:
        if removal.new_path is None:
            return removal.path
        wanted = removal.new_path
        candidates = (wanted.with_name(f"{wanted.name}{number or ''}") for number in itertools.count())
        free = next(candidate for candidate in candidates if not os.path.lexists(candidate))
        os.rename(removal.path, free)
        disk.flush(free.parent)
        return free
    except FileNotFoundError:
        return None
    finally:
        if lock is not None:
            lock.release()


def _delete(path: Path) -> str | None:
    """Removes what nobody knows any more; why that failed, or None."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:  # another process removes it, too
        pass
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return None
