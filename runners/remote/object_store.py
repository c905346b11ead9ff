"""The objects below a prefix of a bucket, by name: few requests, each tried again, and nothing else than objects."""

import dataclasses
import datetime
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from foundation.errors import PipelineError
from runners.remote.address import Address

Result = TypeVar("Result")
Item = TypeVar("Item")

ATTEMPTS = 7
"""How often a request is tried, beside the few times that the store's own client tries it each time."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 8.0
AT_ONCE = 8
"""How many objects travel at once."""
FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError, PipelineError)
"""What no further attempt would change."""
WITHOUT_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError")
"""What clients raise without asking the store."""
CONDITION_FAILED, NOT_IMPLEMENTED = ("PreconditionFailed", "412"), ("NotImplemented", "501")
"""The codes by which stores refuse a conditional write: the object is there, or they know no conditions."""
FINAL_TEXTS = ("NoSuchBucket", "InvalidBucketName", *WITHOUT_CREDENTIALS)
MD5 = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True)
class RemoteObject:
    """An object, as a listing shows it.

    Attributes:
        name: Its name below the root.
        bytes: Its size.
        mark: What changes whenever it is written: the ETag, or what else the store has.
        modified: When it was last written, by the store's clock.
    """

    name: str
    bytes: int
    mark: str
    modified: datetime.datetime | None


class ObjectStore:
    """The objects of a remote root.

    Args:
        address: Where they are.
        files: fsspec's file system for it, which caches no listings.
        attempts: How often a request is tried.

    Attributes:
        is_conditional: Whether the store can be asked to write an object only where there is none.
    """

    def __init__(self, address: Address, files: Any, attempts: int = ATTEMPTS) -> None:
        self.address = address
        self.files = files
        self.attempts = attempts
        self.is_conditional = True
        # Otherwise s3fs asks for the size first.
        self._in_one_request = {"max_concurrency": 1} if address.protocol == "s3" else {}

    def list(self, name: str) -> dict[str, RemoteObject]:
        """The objects below a name, by their own names."""
        start = f"{self.address.path}/"

        def found() -> dict[str, Any]:
            try:
                return dict(self.files.find(f"{start}{name}" if name else self.address.path, detail=True))
            except FileNotFoundError:
                return {}

        objects = (_object(path.lstrip("/").removeprefix(start), each) for path, each in self._again(found).items())
        return {each.name: each for each in objects}

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        try:
            return bytes(self._again(lambda: self.files.cat_file(self._path(name), **self._in_one_request)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Writes an object, whole or not at all, whether there is one or not."""
        self._again(lambda: self.files.pipe_file(self._path(name), data))

    def create(self, name: str, data: bytes) -> bool:
        """Writes an object if there is none of that name; whether it did. No two that try it both do."""
        if not self.is_conditional:
            if self.read(name) is not None:
                return False
            self.write(name, data)
            return True
        try:
            self._again(lambda: self.files.pipe_file(self._path(name), data, mode="create"))
        except FileExistsError:
            # Where an answer was lost, the object that is there is the one that was sent.
            return self.read(name) == data
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects, as far as they are there."""

        def remove(name: str) -> None:
            try:
                self._again(lambda: self.files.rm_file(self._path(name)))
            except (FileNotFoundError, KeyError):
                return

        in_parallel(remove, names)

    def copy(self, name: str, new_name: str) -> None:
        """Copies an object within the store."""
        self._again(lambda: self.files.cp_file(self._path(name), self._path(new_name)))

    def upload(self, path: Path, name: str) -> None:
        """Writes a file of this machine as an object. `is_as_sent` compares it."""
        self._again(lambda: self.files.put_file(str(path), self._path(name)))

    def download(self, name: str, path: Path) -> None:
        """Writes an object as a file of this machine.

        Raises:
            FileNotFoundError: If there is none.
        """
        self._again(lambda: self.files.get_file(self._path(name), str(path)))

    def digest(self, name: str) -> tuple[int, str]:
        """The size of an object and the SHA-256 of its bytes, which are read and not kept.

        Raises:
            FileNotFoundError: If there is none.
        """

        def read() -> tuple[int, str]:
            digest, size = hashlib.sha256(), 0
            with self.files.open(self._path(name), "rb", cache_type="readahead") as file:
                while data := file.read(1 << 20):
                    digest.update(data)
                    size += len(data)
            return size, digest.hexdigest()

        return self._again(read)

    def is_as_sent(self, there: RemoteObject | None, size: int, md5: str, sha256: str) -> bool:
        """Whether an object is what was sent, by its size and by the checksum that the store gives.

        Where the store encrypts, its ETag is no checksum of what was sent; then the object is read.

        Args:
            there: The object; None where a listing has none.
            size: Bytes that were sent.
            md5: Their MD5.
            sha256: Their SHA-256.
        """
        if there is None or there.bytes != size:
            return False
        if not MD5.fullmatch(there.mark) or there.mark == md5:
            return True
        return self.digest(there.name) == (size, sha256)

    def url(self, name: str) -> str:
        """What messages call an object."""
        return f"{self.address}/{name}"

    def _path(self, name: str) -> str:
        return f"{self.address.path}/{name}"

    def _again(self, request: Callable[[], Result]) -> Result:
        """Tries a request until it succeeds or can't.

        Raises:
            FileNotFoundError: If there is no such object.
            FileExistsError: If there is one already.
            PipelineError: If the store refuses or doesn't answer.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return request()
            except PermissionError as error:
                raise self._refused(error) from error
            except FINAL:
                raise
            except Exception as error:
                if _code(error) in CONDITION_FAILED:
                    raise FileExistsError(str(error)) from error
                if _code(error) in NOT_IMPLEMENTED:
                    raise NotImplementedError(str(error)) from error
                if attempt == self.attempts or _is_final(error):
                    raise self._failed(error) from error
            wait = min(FIRST_WAIT_SECONDS * 2 ** (attempt - 1), LONGEST_WAIT_SECONDS)
            time.sleep(wait * random.uniform(0.5, 1.0))
        raise AssertionError("at least one attempt is made")

    def _refused(self, error: BaseException) -> PipelineError:
        return PipelineError(
            "the remote root must allow its objects to be listed, read, written and removed",
            received=f"{self.address}: {_words(error)}",
            remedy="give the credentials that permission (for S3: s3:ListBucket, s3:GetObject, s3:PutObject and "
            "s3:DeleteObject), or name another --root",
        )

    def _failed(self, error: BaseException) -> PipelineError:
        if any(name in repr(error) for name in WITHOUT_CREDENTIALS):
            return PipelineError(
                "a remote root must have credentials",
                received=f"{self.address}: {_words(error)}",
                remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for gs:// log in with gcloud "
                "auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
            )
        return PipelineError(
            "the remote root must answer",
            received=f"{self.address}: {_words(error)}",
            remedy="check AWS_ENDPOINT_URL, the region and the network, and run the same command again, which goes on "
            "from what is finished",
        )


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """A function of each item, several at once; what one raises ends all."""
    items = list(items)
    if len(items) < 2:
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(min(AT_ONCE, len(items)))
    try:
        return list(pool.map(function, items))
    finally:
        pool.shutdown(cancel_futures=True)


def _object(name: str, facts: dict[str, Any]) -> RemoteObject:
    modified = next(
        (facts[key] for key in ("LastModified", "mtime", "updated", "modified", "created") if facts.get(key)), None
    )
    if isinstance(modified, str):
        modified = datetime.datetime.fromisoformat(modified)
    elif isinstance(modified, int | float):
        modified = datetime.datetime.fromtimestamp(modified, datetime.UTC)
    if isinstance(modified, datetime.datetime) and modified.tzinfo is None:
        modified = modified.replace(tzinfo=datetime.UTC)
    mark = str(facts.get("ETag") or facts.get("etag") or f"{modified} {facts.get('size')}").strip('"')
    return RemoteObject(name, int(facts.get("size") or 0), mark, modified)


def _is_final(error: BaseException) -> bool:
    return any(text in repr(error) or text in str(error) for text in FINAL_TEXTS)


def _code(error: BaseException) -> str:
    """The code of a store's answer; empty where the error is none."""
    for each in (error, error.__cause__):
        answer = getattr(each, "response", None)
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code", ""))
    return ""


def _words(error: BaseException) -> str:
    """An error in a line. Clients put no secrets into theirs."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
