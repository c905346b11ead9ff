"""Reads from outside the pipeline: repositories of the Hub at an exact commit, and digests of local files."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from components.contract.manifest import digest_of_file
from foundation.errors import HubError

COMMIT = re.compile(r"[0-9a-f]{40}")
TIMEOUT_SECONDS = 10.0

RepoType = Literal["model", "dataset"]


def resolve_revision(repo_id: str, repo_type: RepoType = "model", revision: str | None = None) -> str:
    """The commit that a branch, tag or commit of a Hub repository stands for.

    A full commit is returned as it is. Without network, the commit that the local cache holds for the revision
    is returned.

    Args:
        repo_id: `name` or `namespace/name`.
        repo_type: Whether the repository holds a model or a dataset.
        revision: A branch (`main`, `refs/convert/parquet`), tag or commit; None for `main`.

    Returns:
        40 hexadecimal digits.

    Raises:
        HubError: If the Hub refuses, or can't be reached and the cache doesn't know the revision.
    """
    if revision is not None and COMMIT.fullmatch(revision):
        return revision
    try:
        return describe_repository(repo_id, repo_type, revision)[0]
    except HubUnreachable:
        commit = cached_commit(repo_id, repo_type, revision or "main")
        if commit is None:
            raise
        return commit


class HubUnreachable(HubError):
    """The Hub can't be reached at all, so that a cached copy may stand in."""


def describe_repository(repo_id: str, repo_type: RepoType, revision: str | None) -> tuple[str, frozenset[str]]:
    """The commit of a revision and the names of the files in it, as the Hub has them now.

    Raises:
        HubError: If the Hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi

    with hub_errors(repo_id, repo_type, revision):
        info = HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision, timeout=TIMEOUT_SECONDS)
    return str(info.sha), frozenset(sibling.rfilename for sibling in info.siblings or ())


def cached_commit(repo_id: str, repo_type: RepoType, revision: str) -> str | None:
    """The commit that a branch or tag had when it was last downloaded to the local Hub cache; None if it never was."""
    reference = repository_cache(repo_id, repo_type) / "refs" / revision
    return reference.read_text("utf-8").strip() if reference.is_file() else None


def cached_snapshot(repo_id: str, repo_type: RepoType, commit: str) -> Path:
    """The folder of the local Hub cache for the files of a commit (it need not exist)."""
    return repository_cache(repo_id, repo_type) / "snapshots" / commit


def repository_cache(repo_id: str, repo_type: RepoType) -> Path:
    """The folder of a repository in the local Hub cache (it need not exist)."""
    from huggingface_hub import constants, file_download

    return Path(constants.HF_HUB_CACHE) / file_download.repo_folder_name(repo_id=repo_id, repo_type=repo_type)


def download(repo_id: str, repo_type: RepoType, commit: str, names: list[str]) -> Path:
    """Downloads those files of a commit that the local Hub cache lacks.

    Returns:
        The folder that holds them under their names.

    Raises:
        HubError: If the Hub refuses or can't be reached.
    """
    from huggingface_hub import hf_hub_download

    with hub_errors(repo_id, repo_type, commit):
        for name in names:
            hf_hub_download(repo_id, name, repo_type=repo_type, revision=commit)
    return cached_snapshot(repo_id, repo_type, commit)


@contextlib.contextmanager
def hub_errors(repo_id: str, repo_type: RepoType, revision: str | None) -> Iterator[None]:
    """Turns what the Hub's client raises while reading into a `HubError`."""
    import requests
    from huggingface_hub import errors

    received = f"{repo_type} {repo_id!r}" + (f" at revision {revision!r}" if revision else "")
    # Whoever names a model with one word may mean a run.
    or_run = ", or write a run's name as --list shows it" if repo_type == "model" and "/" not in repo_id else ""
    try:
        yield
    except errors.HFValidationError as error:
        raise HubError(
            f"a {repo_type} must be named by a folder that exists or by a Hub id (`name` or `namespace/name`)",
            received=repr(repo_id),
            remedy="correct the path, or write the Hub id",
        ) from error
    except errors.GatedRepoError as error:
        raise HubError(
            f"a gated {repo_type} must be read by an account that was granted access",
            received=received,
            remedy="ask for access on its page and set the environment variable HF_TOKEN",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(
            "a revision must be a branch, tag or commit of the repository",
            received=received,
            remedy="set `revision` to one that its page lists, or leave it out for `main`",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"the Hub must have the {repo_type}, public or open to your account",
            received=received,
            remedy=f"correct the name or path{or_run}; set the environment variable HF_TOKEN if it is private",
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, requests.RequestException, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            raise HubError(
                "the Hub must answer a request",
                received=f"HTTP status {status} for {received}",
                remedy="try again later; set the environment variable HF_TOKEN if the repository needs one",
            ) from error
        raise HubUnreachable(
            "the Hugging Face Hub must be reachable for a name that is no local folder or file",
            received=f"no connection for {received}",
            remedy=f"connect, set HF_ENDPOINT to a mirror, or give the path of a local copy{or_run}",
        ) from error


def source_digests(path: Path) -> dict[str, str]:
    """SHA-256 of a local file, or of every file below a folder, for `Component.sources`.

    Files and folders whose name starts with a dot are left out.

    Returns:
        Digests by name: the file's own name, or names relative to the folder.

    Raises:
        HubError: If nothing is there.
    """
    if path.is_file():
        return {path.name: digest_of_file(path)}
    if not path.is_dir():
        raise HubError("a local source must exist", received=f"no file or folder {path}", remedy="correct the path")
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    visible = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    return {name: digest_of_file(path / name) for name in visible}
