"""A checkpoint by its name: a local folder, or what is fetched from the Hub of it and no more than that."""

import contextlib
from pathlib import Path

from components.hub.reading import HubUnreachable, cached_snapshot, describe_repository, download, resolve_revision
from components.modeling import weights
from components.modeling.own_tokenizer import BESIDE, VOCABULARIES
from foundation.errors import ModelError


def checkpoint_directory(directory_or_name: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint; a Hub id is downloaded into the Hub's cache if it isn't there.

    Raises:
        ModelError: If the Hub repository is no checkpoint.
        HubError: If it can't be fetched.
    """
    directory = Path(directory_or_name)
    if directory.is_dir():
        return directory
    repo_id = str(directory_or_name)
    commit = resolve_revision(repo_id, "model", revision)
    snapshot = cached_snapshot(repo_id, "model", commit)
    chosen = weights_to_download(repo_id, commit)
    if chosen is None:
        return snapshot
    download(repo_id, "model", commit, [weights.CONFIG_NAME, chosen])
    if chosen.endswith(weights.INDEX_SUFFIX):
        download(repo_id, "model", commit, weights.shard_names(snapshot / chosen))
    return snapshot


def require_checkpoint(directory_or_name: str | Path, revision: str | None = None) -> None:
    """Refuses what holds no weights, before they are downloaded or read.

    Raises:
        ModelError: If so.
        HubError: If a Hub id can't be asked for.
    """
    if Path(directory_or_name).is_dir():
        weights.checkpoint_files(Path(directory_or_name))
    else:
        weights_to_download(str(directory_or_name), resolve_revision(str(directory_or_name), "model", revision))


def weights_to_download(repo_id: str, commit: str) -> str | None:
    """The weight file, or index of shards, of a Hub repository; None if the Hub's cache has the checkpoint.

    Raises:
        ModelError: If the repository is no checkpoint.
        HubError: If it can't be asked for.
    """
    with contextlib.suppress(ModelError):
        weights.checkpoint_files(cached_snapshot(repo_id, "model", commit))
        return None
    _, names = describe_repository(repo_id, "model", commit)
    chosen = weights.choose_weights(names)
    if chosen is None or weights.CONFIG_NAME not in names:
        raise ModelError(
            f"a checkpoint must be a {weights.CONFIG_NAME} with weights as one of {', '.join(weights.FORMATS)}",
            received=f"Hub model {repo_id!r}, which lacks one of the two",
            remedy="name a repository that holds a transformers model",
        )
    return chosen


def config_directory(directory_or_name: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint that has its configuration, whether its weights are there or not.

    Raises:
        HubError: If a Hub id can't be fetched.
    """
    directory = Path(directory_or_name)
    if directory.is_dir():
        return directory
    repo_id = str(directory_or_name)
    commit = resolve_revision(repo_id, "model", revision)
    snapshot = cached_snapshot(repo_id, "model", commit)
    if (snapshot / weights.CONFIG_NAME).is_file():
        return snapshot
    return download(repo_id, "model", commit, [weights.CONFIG_NAME])


def tokenizer_directory(directory_or_name: str | Path, revision: str | None = None) -> Path:
    """The local folder of a checkpoint that has its tokenizer, if it has one; the folder need not exist.

    Where the Hub is out of reach, what its cache holds counts.

    Raises:
        HubError: If the Hub refuses, or is out of reach and the cache doesn't know the revision.
    """
    directory = Path(directory_or_name)
    if directory.is_dir():
        return directory
    repo_id = str(directory_or_name)
    commit = resolve_revision(repo_id, "model", revision)
    try:
        _, names = describe_repository(repo_id, "model", commit)
        return download(repo_id, "model", commit, sorted(names & (VOCABULARIES | BESIDE)))
    except HubUnreachable:
        return cached_snapshot(repo_id, "model", commit)
