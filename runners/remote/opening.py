"""Opens a remote root: finds out whether it can be worked in, before any work."""

import dataclasses
import functools
import json
import os
import secrets
import time
from typing import Any

from components.contract.manifest import now
from foundation.errors import ConfigError, PipelineError
from runners.remote.address import Address
from runners.remote.object_store import ATTEMPTS, WITHOUT_CREDENTIALS, ObjectStore

IDENTITY = "root.json"
"""The object that makes a prefix a root: its format, and an id by which it is told from others."""
FORMAT = 1
PROBES = "probes"
CREDENTIALS = ("AWS_", "GOOGLE_", "GCSFS_", "FSSPEC_")
"""How the names of the environment variables begin that say where the store is and who asks it."""
PROBE_ATTEMPTS = 2


@dataclasses.dataclass(frozen=True)
class OpenStore:
    """A store that answers.

    Attributes:
        objects: The objects of the root.
        identity: The root's id.
        has_conditional_writes: Whether an object can be written only where there is none, which locks need.
        clock_ahead_seconds: By how much the store's clock is ahead of this machine's.
    """

    objects: ObjectStore
    identity: str
    has_conditional_writes: bool
    clock_ahead_seconds: float


def file_system(address: Address) -> Any:
    """Fsspec's file system of an address, which caches no listings: others write there, too.

    Credentials, profile, region and endpoint are what the environment and the usual files say.
    """
    environment = tuple(sorted(each for each in os.environ.items() if each[0].startswith(CREDENTIALS)))
    return _file_system(address.protocol, environment, os.getpid())


# To make a client of S3 takes half a second, and a program may open a root again and again.
@functools.lru_cache(maxsize=8)
def _file_system(protocol: str, environment: tuple[tuple[str, str], ...], pid: int) -> Any:
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if protocol == "s3":
        # Fewer attempts than botocore's own number, since each request is tried again here.
        attempts = int(os.environ.get("AWS_MAX_ATTEMPTS", "3"))
        mode = os.environ.get("AWS_RETRY_MODE", "standard")
        options["config_kwargs"] = {"retries": {"max_attempts": attempts, "mode": mode}}
    elif protocol == "memory":
        options = {}
    return fsspec.filesystem(protocol, **options)


def open_store(address: Address, *, to_write: bool, files: Any = None) -> OpenStore:
    """Looks whether a root is there and can be read, and written where that is wanted.

    Args:
        address: The root's.
        to_write: Whether a small object is written there and removed, and the root begun where there is none.
        files: fsspec's file system; None for the usual one.

    Raises:
        ConfigError: If there are no credentials, no such bucket or no permission, or no answer; or if nothing is to be
            written and no pipeline has run there.
    """
    try:
        files = file_system(address) if files is None else files
        objects = ObjectStore(address, files, PROBE_ATTEMPTS)
        conditional, ahead = _probe(objects) if to_write else (True, 0.0)
        identity = _identity(objects, to_write)
    except PipelineError as error:
        raise ConfigError(error.rule, received=error.received, remedy=error.remedy) from error
    except FileNotFoundError as error:
        raise ConfigError(
            "--root must name a bucket that exists",
            received=f"{address}: no bucket {address.bucket}",
            remedy="make the bucket, correct its name, or set AWS_ENDPOINT_URL to the server that has it",
        ) from error
    except ImportError as error:
        raise ConfigError(
            f"the package for roots that begin with {address.protocol}:// must be usable",
            received=str(error.__cause__ or error),
            remedy="install it anew, with the versions of this program: pip install 'masked-lm-pipeline[s3]' or [gcs]",
        ) from error
    except Exception as error:
        if type(error).__name__ not in WITHOUT_CREDENTIALS:
            raise
        raise ConfigError(
            "a remote root must have credentials",
            received=f"{address}: {error}",
            remedy="set AWS_PROFILE to a profile that exists, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ) from error
    objects.attempts = ATTEMPTS
    return OpenStore(objects, identity, conditional, ahead)


def _probe(objects: ObjectStore) -> tuple[bool, float]:
    """Writes and removes a small object; whether the store writes conditionally, and its clock."""
    name = f"{PROBES}/{secrets.token_hex(8)}"
    before = time.time()
    try:
        is_new = objects.create(name, b"first")
    except NotImplementedError:
        objects.is_conditional = False
        is_new = False
        objects.write(name, b"first")
    after = time.time()
    try:
        # A store without conditional writes takes the second one, too.
        conditional = is_new and not objects.create(name, b"second")
        there = objects.list(PROBES).get(name)
        written = None if there is None else there.modified
    finally:
        objects.remove([name])
    if written is None:
        return conditional, 0.0
    # Stores tell whole seconds.
    return conditional, written.timestamp() + 0.5 - (before + after) / 2


def _identity(objects: ObjectStore, to_write: bool) -> str:
    """The root's id, which is given to it where it has none.

    Raises:
        ConfigError: If nothing is to be written and there is no root, or one of a later version of this program.
    """
    if (data := objects.read(IDENTITY)) is None:
        if not to_write:
            raise ConfigError(
                "--root must be an address at which a pipeline has run",
                received=f"{objects.address}, where there is no {IDENTITY}",
                remedy="correct --root, or run a pipeline there first",
            )
        content = {"format": FORMAT, "id": secrets.token_hex(8), "created": now()}
        objects.create(IDENTITY, f"{json.dumps(content, indent=2)}\n".encode())
        data = objects.read(IDENTITY) or b""
    try:
        content = json.loads(data)
        form, identity = int(content["format"]), str(content["id"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"a remote root must have its {IDENTITY} as it was written",
            received=f"{objects.url(IDENTITY)}, which can't be read: {error}",
            remedy="put it back, or name another --root; without it the artifacts there belong to nobody",
        ) from error
    if form != FORMAT:
        raise ConfigError(
            f"a remote root must be of the format {FORMAT}",
            received=f"{objects.url(IDENTITY)} of the format {form}",
            remedy="use the version of this program that began it, or name another --root",
        )
    return identity
