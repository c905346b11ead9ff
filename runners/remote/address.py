"""The address of a remote root: what it may be, and where its stand-in on this machine is."""

import dataclasses
import hashlib
import importlib.util
import os
import re
from pathlib import Path

from foundation.errors import ConfigError

STAGING = "MASKED_LM_STAGING"
"""The environment variable that names the directory of all staging directories."""
SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "memory": "memory"}
"""What an address may begin with, and the protocol that it stands for. One in memory ends with its process."""
EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs")}
"""The package that a protocol needs, and the extra that installs it."""
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/*(.*)", re.DOTALL)
LONGEST_KEY = 400
"""The longest prefix, in bytes: S3 takes keys of 1,024, and names of artifacts' files follow."""


@dataclasses.dataclass(frozen=True)
class Address:
    """A bucket, and the prefix of everything in it that belongs to the root.

    Attributes:
        protocol: `s3`, `gs` or `memory`.
        bucket: The bucket's name.
        prefix: What the names of all objects begin with, without a slash at either end; empty for a whole bucket.
    """

    protocol: str
    bucket: str
    prefix: str

    @property
    def path(self) -> str:
        """The bucket and the prefix, as fsspec's file systems name them."""
        return f"{self.bucket}/{self.prefix}".rstrip("/")

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"


def is_remote(root: str | Path) -> bool:
    """Whether a root is named by an address, and not by a path. `Path` takes away a slash of an address."""
    text = os.fspath(root)
    found = ADDRESS.fullmatch(text)
    if found is None or "://" in text:
        return found is not None
    # Without two slashes it may also be a directory: one that is there, or one of a name with a colon in it.
    return (":/" in text or found[1].lower() in SCHEMES) and not os.path.isdir(text)


def parse_address(text: str) -> Address:
    """Reads an address, and refuses what is none. Messages never show what may be a secret.

    Raises:
        ConfigError: For an unknown scheme, no bucket, credentials or a query in it, or a missing package.
    """
    found = ADDRESS.fullmatch(text)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", text)
    if scheme not in SCHEMES:
        remedy = "name a bucket as --root s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, or a directory by its path"
        if scheme == "hf":
            remedy += "; a repository on the Hub has no locks, and gets models by push.hub_model_id"
        elif scheme == "file":
            remedy = "name the directory itself, without file://"
        raise ConfigError(
            "--root must be a directory, or an address that begins with s3:// or gs://",
            received=f"one that begins with {scheme}://",
            remedy=remedy,
        )
    if "@" in rest.split("/")[0] or "?" in rest or "#" in rest:
        what = "credentials" if "@" in rest.split("/")[0] else "a query"
        raise ConfigError(
            "--root must be an address of a bucket and a prefix alone, since it stands in records and messages",
            received=f"one with {what} in it, not shown here",
            remedy="give credentials by the environment, such as AWS_ACCESS_KEY_ID or AWS_PROFILE, and the server by "
            "AWS_ENDPOINT_URL",
        )
    bucket, _, prefix = rest.partition("/")
    parts = [part for part in prefix.split("/") if part]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
        raise ConfigError(
            "--root must name a bucket, of letters, digits, dots, hyphens and underscores",
            received=f"{scheme}://{bucket[:60]}",
            remedy=f"write --root {scheme}://BUCKET/PREFIX",
        )
    if any(part in (".", "..") or not part.isprintable() for part in parts) or len(prefix.encode()) > LONGEST_KEY:
        raise ConfigError(
            f"--root must have a prefix of printable names, none of them . or .., of at most {LONGEST_KEY} bytes",
            received=repr(prefix[:60]),
            remedy=f"write --root {scheme}://{bucket}/PREFIX",
        )
    address = Address(SCHEMES[scheme], bucket, "/".join(parts))
    _require_package(address.protocol)
    return address


def staging_of(address: Address, identity: str) -> Path:
    """The directory on this machine that stands in for a remote root.

    Args:
        address: The root's.
        identity: What the root itself is called by: a bucket that was emptied and filled again is another root.
    """
    named = os.environ.get(STAGING)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    base = Path(os.path.expanduser(named)) if named else Path(cache, "masked_lm_pipeline", "roots")
    digest = hashlib.sha256(f"{address}\n{identity}".encode()).hexdigest()[:16]
    readable = re.sub(r"[^A-Za-z0-9]+", "-", address.path).strip("-")[-40:].strip("-")
    return Path(os.path.abspath(base)) / f"{readable}-{digest}"


def _require_package(protocol: str) -> None:
    """Refuses an address whose file system isn't installed.

    Raises:
        ConfigError: If so. The message names the extra.
    """
    package, extra = EXTRAS.get(protocol, (None, None))
    if package is not None and importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"--root {protocol}:// must have the package {package} installed",
            received="none in this environment",
            remedy=f"pip install 'masked-lm-pipeline[{extra}]', or in a checkout pip install -e '.[{extra}]'",
        )
