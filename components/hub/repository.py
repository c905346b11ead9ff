"""A model repository on the Hub: checks that it may be written, and makes it hold a folder by one commit."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract.manifest import digest_of_file
from components.hub.access import HubTarget, client_with_token, require_write_permission
from components.hub.requests import ATTEMPTS, FIRST_PAUSE_SECONDS, push_errors, quiet_client, retry
from components.hub.seal import CARD, SEAL, git_blob, parse_seal, sealed_files
from foundation.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

NOT_OURS_BUT_HARMLESS = frozenset({".gitattributes", ".gitignore", CARD, "LICENSE"})
"""The files that the Hub or its web page puts into a new repository."""
REQUEST_SECONDS = 30.0
PREFLIGHT_ATTEMPTS = 3
"""Few, so that a Hub that is out of reach is reported soon, before training; the upload itself is more patient."""


@dataclasses.dataclass(frozen=True)
class HubCommit:
    """What the Hub holds after a push.

    Attributes:
        repo_id: `namespace/name`.
        commit: 40 hexadecimal digits.
        url: The repository's page at that commit.
        created: False where the repository held the very same files before.
        sent: Files that the commit changed.
    """

    repo_id: str
    commit: str
    url: str
    created: bool
    sent: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file in a repository.

    Attributes:
        sha256: The SHA-256 of a large file; None for any other.
        blob: The id that git gives the file; for a large one, that of the pointer to it.
    """

    sha256: str | None
    blob: str

    def is_same(self, path: Path, sha256: str) -> bool:
        """Whether the file has the content of a local file with the given SHA-256."""
        return self.sha256 == sha256 if self.sha256 is not None else self.blob == git_blob(path)


class HubRepository:
    """A model repository, as the account of the token in use sees it.

    The token is the environment's (`HF_TOKEN`) or that of `hf auth login`, as `huggingface_hub` finds it.

    Args:
        target: The repository's name, and what a push may do there.
        attempts: How often a request is tried, at most.
        first_pause_seconds: The pause after the first try that failed, in seconds.
        show: Called with a line about each try that failed.
        progress_bars: Whether an upload shows progress bars on a terminal.

    Example:
        seal(folder, {"model_name": "fill_mask"})
        repository = HubRepository(HubTarget("me/my-model"), show=print)
        repository.check()
        url = repository.upload(folder, "End of training").url  # https://huggingface.co/me/my-model/tree/...
    """

    def __init__(
        self,
        target: HubTarget,
        *,
        attempts: int = ATTEMPTS,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        show: Callable[[str], None] = lambda line: None,
        progress_bars: bool = False,
    ) -> None:
        self.target = target
        self.progress_bars = progress_bars
        self._retry = functools.partial(retry, attempts=attempts, first_pause_seconds=first_pause_seconds, show=show)

    @functools.cached_property
    def api(self) -> "HfApi":
        """The Hub's client, with the token.

        Raises:
            HubError: If there is no token.
        """
        return client_with_token(self.target.repo_id)

    @functools.cached_property
    def repo_id(self) -> str:
        """`namespace/name`, after checking who the token belongs to and what it may do.

        Raises:
            HubError: If the token is unknown, or may not write to the namespace.
        """
        with push_errors(self.target.repo_id):
            account = self._retry(self.api.whoami)
        namespace, _, name = self.target.repo_id.rpartition("/")
        namespace = namespace or str(account["name"])
        require_write_permission(account, namespace, self.target.repo_id)
        return f"{namespace}/{name}"

    def check(self) -> None:
        """Refuses, before anything is sent, a target where a push is bound to fail or which it must not touch.

        Raises:
            HubError: If the token is missing, unknown or may not write; if the repository is public where a private
                one is wanted; if it holds what this pipeline didn't push.
        """
        repo_id = self.repo_id
        with push_errors(repo_id):
            self._retry(lambda: self._require_ours(self._info()))

    def upload(self, folder: Path, message: str, confirm: Callable[[], None] = lambda: None) -> HubCommit:
        """Makes the repository hold a sealed folder, by one commit, and compares the digests of all files.

        The repository is made if there is none. Files of an earlier push that the folder lacks are removed; files
        that others put there stay. Files that the Hub holds already are not sent.

        Args:
            folder: A folder that `seal` sealed.
            message: The commit's message.
            confirm: Called before each try to commit; what it raises ends the upload. The commit fails, and is tried
                again, if there is another commit after the call.

        Raises:
            ArtifactError: If the folder isn't sealed, or was changed since.
            HubError: If the Hub refuses, stays out of reach, or holds something else afterwards.
        """
        files = sealed_files(folder)
        additions: dict[str, Any] = {}  # kept between tries, because they know what was uploaded
        with push_errors(self.repo_id), quiet_client(self.progress_bars):
            done: HubCommit = self._retry(lambda: self._commit(folder, files, message, additions, confirm))
        return self.verify(folder, done.commit, created=done.created, sent=done.sent)

    def verify(self, folder: Path, commit: str, *, created: bool, sent: tuple[str, ...] = ()) -> HubCommit:
        """Compares what a commit holds with a sealed folder, file by file, by digest.

        Raises:
            HubError: If a file is missing or differs.
        """
        with push_errors(self.repo_id):
            held = self._retry(lambda: self._files(commit))
        wrong = _differences(held, folder, sealed_files(folder))
        if wrong:
            raise HubError(
                "the Hub must hold what was pushed, file by file",
                received=f"{self._url(commit)}, whose {', '.join(wrong[:5])} is missing or differs",
                remedy="run the same command again",
            )
        return HubCommit(self.repo_id, commit, self._url(commit), created, sent)

    def holds(self, folder: Path, files: Mapping[str, str]) -> bool:
        """Whether the newest commit holds a sealed folder, file by file, by digest.

        The card may differ: people edit it on the Hub's page, and what they wrote stays.

        Args:
            folder: The folder that was pushed.
            files: The SHA-256 of its files by path, without the seal, as `seal` returned them.
        """
        with push_errors(self.repo_id):
            info = self._retry(self._info)
            if info is None:
                return False
            held = self._retry(lambda: self._files(str(info.sha)))
        return set(_differences(held, folder, files)) <= {CARD}

    def _info(self) -> "ModelInfo | None":
        """The repository's facts; None if there is no repository yet, or the token doesn't see it."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self.api.model_info(self.repo_id, timeout=REQUEST_SECONDS)
        except RepositoryNotFoundError:
            return None

    def _existing_or_new(self) -> "ModelInfo":
        """The repository's facts. If there is none it is made; one that this pipeline didn't push to is refused."""
        info = self._info()
        if info is None:
            self.api.create_repo(self.repo_id, private=self.target.private, exist_ok=True)
            info = self.api.model_info(self.repo_id, timeout=REQUEST_SECONDS)
        self._require_ours(info)
        return info

    def _require_ours(self, info: "ModelInfo | None") -> None:
        if info is None:
            return
        if self.target.private and not info.private:
            raise HubError(
                "a private push must go to a private repository",
                received=f"{self.repo_id}, which exists and is public",
                remedy="make it private in its settings, choose another --push.hub_model_id, or set "
                "--push.hub_private_repo null",
            )
        if self.target.overwrite or self._sealed(info) is not None:
            return
        others = sorted({sibling.rfilename for sibling in info.siblings or ()} - NOT_OURS_BUT_HARMLESS)
        if others:
            raise HubError(
                "a push must overwrite only what this pipeline pushed",
                received=f"{self.repo_id}, which holds {', '.join(others[:3])} and no {SEAL}",
                remedy="choose another --push.hub_model_id, or set --push.hub_overwrite true",
            )

    def _sealed(self, info: "ModelInfo") -> dict[str, str] | None:
        """The digests in the seal of a repository that holds a push of this pipeline; None for any other."""
        if SEAL not in {sibling.rfilename for sibling in info.siblings or ()}:
            return None
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        # Not hf_hub_download, which keeps a copy, and retries on its own before it reports an error.
        answer = get_session().get(
            f"{self.api.endpoint}/{self.repo_id}/resolve/{info.sha}/{SEAL}",
            headers=build_hf_headers(token=self.api.token),
            timeout=REQUEST_SECONDS,
        )
        hf_raise_for_status(answer)
        return parse_seal(answer.content)

    def _files(self, revision: str) -> dict[str, RemoteFile]:
        from huggingface_hub.hf_api import RepoFile

        return {
            item.path: RemoteFile(item.lfs.sha256 if item.lfs else None, item.blob_id)
            for item in self.api.list_repo_tree(self.repo_id, recursive=True, revision=revision)
            if isinstance(item, RepoFile)
        }

    def _commit(
        self,
        folder: Path,
        files: dict[str, str],
        message: str,
        additions: dict[str, Any],
        confirm: Callable[[], None],
    ) -> HubCommit:
        """One try of `upload`: looks at what is there, and sends the difference."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        info = self._existing_or_new()
        head = str(info.sha)
        held = self._files(head)
        changed = _differences(held, folder, files)
        ours = self._sealed(info) or {}
        stale = sorted(path for path in ours if path in held and path not in files and path != SEAL)
        if not changed and not stale:
            return HubCommit(self.repo_id, head, self._url(head), created=False)
        confirm()
        for path in changed:
            additions.setdefault(path, CommitOperationAdd(path, str(folder / path)))
        commit = self.api.create_commit(
            self.repo_id,
            [*(additions[path] for path in changed), *(CommitOperationDelete(path) for path in stale)],
            commit_message=message,
            parent_commit=head,  # if there is another commit meanwhile, this one fails, and the next try looks at it
        )
        return HubCommit(self.repo_id, commit.oid, self._url(commit.oid), created=True, sent=tuple(changed))

    def _url(self, commit: str) -> str:
        return f"{self.api.endpoint}/{self.repo_id}/tree/{commit}"


def _differences(held: Mapping[str, RemoteFile], folder: Path, files: Mapping[str, str]) -> list[str]:
    """The files of a sealed folder, its seal among them, that are missing in a repository or differ there."""
    every = {**files, SEAL: digest_of_file(folder / SEAL)}
    return [path for path, sha256 in every.items() if path not in held or not held[path].is_same(folder / path, sha256)]
