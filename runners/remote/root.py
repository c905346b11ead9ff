"""A remote root that is open: its staging root, and what goes to and fro as long as it is."""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from components.config.pipeline_config import Config
from components.config.places import CHECKPOINTS, CONTINUED, PATHS
from components.contract import manifest
from components.contract.artifacts import Pushed
from components.contract.push_record import RECORD
from components.contract.run_names import RECORD as RUN_RECORD
from components.contract.run_names import RUNS, find_run
from components.push import Push
from components.train import Train
from components.training.continuing import AUTO
from foundation import disk
from foundation.errors import ConfigError
from runners.housekeeping.collection import Removal
from runners.housekeeping.pipeline_root import PipelineRoot
from runners.housekeeping.verification import Verification
from runners.remote.address import STAGING, Address, parse_address, staging_of
from runners.remote.leases import Heartbeat, Leases
from runners.remote.object_store import ObjectStore
from runners.remote.opening import PROBES, open_store
from runners.remote.records import Records
from runners.remote.storage import RemoteStorage, is_artifact
from runners.remote.transfer import FETCHING, discard
from runners.remote.verification import verify
from runners.report.facts import RunFacts
from runners.run_record import RunRecord
from runners.store import ARTIFACTS, DAMAGED, PARTIAL

NAMED = (*CHECKPOINTS, CONTINUED)
"""Settings that may name a run, which stands for what it trained."""
COMPARED = {"evaluate": ("scores.npz",), "preprocess": ("records/test.arrow",)}
"""The files by which models are compared record by record."""
OLD_SECONDS = 24 * 3600.0
MARK = ".remote_root.json"
"""The file that says which remote root a staging root stands for."""


class RemoteRoot(PipelineRoot):
    """A remote root, and the staging root that stands for it here.

    Attributes:
        address: Its address.
        objects: Its objects.
        leases: Locks between machines.
        records: The records of its runs.
    """

    def __init__(
        self,
        address: Address,
        path: Path,
        objects: ObjectStore,
        leases: Leases,
        *,
        wait: bool,
        show: Callable[[str], None] | None,
    ) -> None:
        super().__init__(path, str(address))
        self.address = address
        self.objects = objects
        self.leases = leases
        self.records = Records(objects, path, leases)
        self._storage = RemoteStorage(objects, leases, self.records, path, wait=wait, show=show)

    @property
    def storage(self) -> RemoteStorage:
        """What the store writes to."""
        return self._storage

    def bring_named(self, config: Config) -> None:
        """Brings the models that runs trained, where a setting may name one by its run."""
        named = [getattr(getattr(config, section), key) for section, key in (each.split(".") for each in NAMED)]
        if all(name is None or "/" in str(name) for name in named):
            return
        for name in self.storage.names(f"{ARTIFACTS}/{Train.name}"):
            if config.train.continue_from == AUTO:
                # It is looked for by what they contain.
                self.storage.fetch(name)
            else:
                self.storage.look(name)

    def bring_paths(self, config: Config) -> None:
        """Brings the artifacts whose paths the settings have, and shows the versions of the base path."""
        for section, key in (each.split(".") for each in PATHS):
            value = getattr(getattr(config, section), key)
            if isinstance(value, str | Path) and (name := self.name_of(Path(value))) is not None:
                self.storage.look(name)
                self.storage.fetch(name)
        base_path = Path(config.push.pushed_to.below(str(self.path)).base_path)
        if base_path.is_relative_to(self.path):
            self.storage.take_versions(base_path.relative_to(self.path).as_posix(), to_compare=False)
        # Whose version that is, the page of all runs says.
        for name in self.storage.names(f"{ARTIFACTS}/{Push.name}"):
            self.storage.look(name)

    def bring_served(self, record: RunRecord) -> None:
        """Brings the latest version of the base path to which a run has pushed."""
        if Push.name not in record.artifacts:
            return
        report = Pushed(record.artifacts[Push.name]).report
        if report.dry_run or os.path.isabs(report.base_path):
            return
        self.storage.take_versions(report.base_path, to_compare=False, latest=True)

    def bring_runs(self, names: Sequence[str]) -> None:
        """Brings the reports of the runs' artifacts, and the two files by which models are compared."""
        for name in names:
            folder = find_run(self.path, name)
            if folder is None or not folder.is_relative_to(self.path.resolve()):
                continue
            for step in RunFacts(folder).steps:
                found = None if step["artifact"] is None else self.name_of(self.path / step["artifact"])
                if found is not None:
                    self.storage.look(found)
                    self.storage.fetch_some(found, COMPARED.get(step["name"], ()))

    def bring_inventory(self) -> None:
        """Brings the manifest of each artifact, the record of each version, and what the pushes report."""
        self.records.take()
        there = self.objects.list("")
        for name in sorted({"/".join(each.split("/")[:3]) for each in there if each.startswith(f"{ARTIFACTS}/")}):
            if DAMAGED in name:
                disk.make_directory(self.path / name)
            if not is_artifact(name):
                continue
            if f"{name}/{manifest.NAME}" not in there:
                # An upload that was cut off; here it is an empty directory, unless it began here.
                disk.make_directory(self.path / name)
            elif name.split("/")[1] == Push.name:
                self.storage.look(name)
            else:
                self.storage.sketch(name)
        ends = [each.removesuffix(f"/{RECORD}") for each in there if each.endswith(f"/{RECORD}")]
        for base_path in sorted({each.rsplit("/", 1)[0] for each in ends if not each.startswith(f"{ARTIFACTS}/")}):
            self.storage.take_versions(base_path, to_compare=False)

    def verify(self) -> Verification:
        """Compares every object with its digest; what stands here is compared when a step reads it."""
        return verify(self.objects)

    def discard(self, removals: Sequence[Removal]) -> None:
        """Removes the objects of artifacts and runs that were removed here, what makes them count first."""
        for each in removals:
            name = each.path.relative_to(self.path).as_posix() if each.path.is_relative_to(self.path) else ""
            if name.startswith(f"{RUNS}/") and name.count("/") == 1:
                self.objects.remove([f"{name}/{RUN_RECORD}"])
                self.objects.remove(self.objects.list(name))
            elif name.startswith(f"{ARTIFACTS}/") and name.count("/") == 2 and not each.path.name.startswith("."):
                discard(self.objects, name)
            if name.startswith(f"{ARTIFACTS}/") and name.endswith(PARTIAL):
                self.storage.unfinished.discard(name)
        self.storage.unfinished.discard_old()
        self.leases.remove_expired()
        self.objects.remove(
            [each.name for each in self.objects.list(PROBES).values() if not self.leases.is_fresh(each)]
        )

    def name_of(self, path: Path) -> str | None:
        """The name of the artifact that a path is, or is in; None where it is in none of this root."""
        path = Path(os.path.abspath(path))
        if not path.is_relative_to(self.path):
            return None
        name = "/".join(path.relative_to(self.path).parts[:3])
        return name if is_artifact(name) else None


@contextlib.contextmanager
def open_root(
    root: str, *, to_write: bool = True, wait: bool = True, show: Callable[[str], None] | None = None
) -> Iterator[RemoteRoot]:
    """Opens a remote root, and keeps what this process holds there alive while the context lasts.

    Args:
        root: Its address.
        to_write: Whether it is written.
        wait: Whether to wait for what another machine makes.
        show: Called with a line of text to show.

    Raises:
        ConfigError: If the address is wrong, or there can't be worked with the bucket.
    """
    address = parse_address(root)
    store = open_store(address, to_write=to_write)
    if not store.has_conditional_writes and show is not None:
        show(
            f"  the store of {address} has no conditional writes: two machines at the same moment may make the same "
            "artifact, so let one run at a time"
        )
    path = staging_of(address, store.identity)
    owner = _begin_staging(path, address)
    leases = Leases(store.objects, owner, store.clock_ahead_seconds)
    opened = RemoteRoot(address, path, store.objects, leases, wait=wait, show=show)
    heartbeat = Heartbeat((leases.renew_all, opened.records.renew), leases.seconds)
    opened.records.take()
    if to_write:
        heartbeat.start()
    try:
        yield opened
    finally:
        if to_write:
            heartbeat.end()


def address_of(path: Path) -> tuple[str, Path] | None:
    """The address of the remote root that a path is in the staging root of, and that root; None for any other path."""
    path = Path(os.path.abspath(path))
    for parent in (path, *path.parents):
        try:
            return str(json.loads((parent / MARK).read_bytes())["address"]), parent
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _begin_staging(path: Path, address: Address) -> str:
    """Makes the staging root where it is missing; what tells it from those of other machines.

    Raises:
        ConfigError: If it can't be written.
    """
    try:
        disk.make_directory(path / RUNS)
        mark = path / MARK
        try:
            owner = str(json.loads(mark.read_bytes())["owner"])
        except (OSError, ValueError, KeyError, TypeError):
            owner = secrets.token_hex(8)
            partial = mark.with_name(f"{MARK}.{owner}")
            partial.write_text(json.dumps({"address": str(address), "owner": owner}), encoding="utf-8")
            with contextlib.suppress(FileExistsError):
                os.link(partial, mark)
            partial.unlink()
            owner = str(json.loads(mark.read_bytes())["owner"])
    except (OSError, ValueError) as error:
        raise ConfigError(
            "the staging directory of a remote root must be a directory that can be written",
            received=f"{path}: {error}",
            remedy=f"set {STAGING} to a directory on a disk with room for the artifacts",
        ) from error
    for left in (path / FETCHING).glob("*"):  # by a process that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > OLD_SECONDS:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return owner
