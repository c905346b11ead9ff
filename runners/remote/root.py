"""A remote root that is open: its staging root, and what goes to and fro as long as it is."""

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from components.contract.run_names import RUNS
from foundation import disk
from foundation.errors import ConfigError
from runners.remote.address import STAGING, Address, parse_address, staging_of
from runners.remote.leases import Heartbeat, Leases
from runners.remote.object_store import ObjectStore
from runners.remote.opening import open_store
from runners.remote.records import Records
from runners.remote.storage import RemoteStorage

MARK = ".remote_root.json"
"""The file that says which remote root a staging root stands for."""


class RemoteRoot:
    """A remote root.

    Attributes:
        address: Its address.
        path: The staging root.
        objects: Its objects.
        leases: Locks between machines.
        records: The records of its runs.
        storage: What the store writes to.
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
        self.address = address
        self.path = path
        self.objects = objects
        self.leases = leases
        self.records = Records(objects, path, leases)
        self.storage = RemoteStorage(objects, leases, self.records, path, wait=wait, show=show)


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
            f"  {address.protocol}:// has no conditional writes at this server: two runs at the same moment may make the "
            "same artifact twice, so run one at a time"
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
    return owner
