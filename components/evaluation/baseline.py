"""Which model a new one is held against: the last blessed one where models are pushed to, or one named."""

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contract.manifest import digest_of
from components.contract.push_record import RECORD, PushedTo, read_record
from foundation.errors import HubError, ModelError, PipelineError
from foundation.versions import versions

LAST_BLESSED = "last_blessed"
MOST_COMMITS = 50
"""Of a Hub repository that are looked through, from the newest; those made during a training don't count."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A model to be held against.

    Attributes:
        name: What it is called in a sentence.
        identity: A digest or commit: equal ones are the same model.
        saved_model: The directory of a version in the serving directory; None for a checkpoint.
        checkpoint: A local folder or a Hub id; None for a version.
        revision: The commit of a Hub id.
        language: That a checkpoint with parts for each language is asked in, where it names none itself.
    """

    name: str
    identity: str
    saved_model: Path | None = None
    checkpoint: str | None = None
    revision: str | None = None
    language: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether no push has removed the version, as far as it is one."""
        return self.saved_model is None or self.saved_model.exists()


def find_baseline(wanted: str | None, places: PushedTo, own_digest: str) -> Baseline | None:
    """The model to be held against; None where there is none yet, or none is wanted.

    The model itself, pushed by an earlier run, doesn't count: what it was held against then counts again.

    Args:
        wanted: `last_blessed`, or a checkpoint's local folder or Hub id, or None.
        places: Where the last blessed one is looked for, the serving directory first.
        own_digest: The `model_digest` of the model in question.

    Raises:
        HubError: If the Hub can't be reached, or has no such checkpoint.
        ModelError: If a local folder holds no checkpoint that can answer.
    """
    if wanted is None:
        return None
    try:
        if wanted == LAST_BLESSED:
            served = _in_serving_directory(Path(places.base_path), own_digest)
            return served or _on_hub(places.hub_model_id, own_digest)
        return _named(wanted)
    except HubError as error:
        remedy = f"{error.remedy}; or set --evaluate.baseline null to compare with none"
        raise type(error)(error.rule, received=error.received, remedy=remedy) from error


def _named(wanted: str) -> Baseline:
    from components.hub.reading import resolve_revision, source_digests

    if Path(wanted).is_dir():
        _require_answers(Path(wanted))
        return Baseline(wanted, digest_of(source_digests(Path(wanted))), checkpoint=wanted)
    commit = resolve_revision(wanted, "model")
    return Baseline(wanted, commit, checkpoint=wanted, revision=commit)


def _require_answers(folder: Path) -> None:
    """Refuses a folder without weights or without a tokenizer, which would show only after training.

    Raises:
        ModelError: If one of them isn't there.
    """
    from components.hub.checkpoints import require_checkpoint
    from components.modeling.own_tokenizer import has_vocabulary

    try:
        require_checkpoint(folder)
        received = None if has_vocabulary(folder) else f"{folder} has no tokenizer"
    except ModelError as error:
        received = error.received
    if received is not None:
        raise ModelError(
            "evaluate.baseline must be last_blessed, or a checkpoint with its weights and its tokenizer",
            received=received,
            remedy="name a folder that `save_pretrained` wrote, or a Hub id, with --evaluate.baseline; null compares "
            "with none",
        )


def _is_blessed_other(facts: Mapping[str, Any], own_digest: str) -> bool:
    return facts.get("blessed") is True and facts.get("model_digest") != own_digest


def _in_serving_directory(base_path: Path, own_digest: str) -> Baseline | None:
    try:
        found = versions(base_path)
    except FileNotFoundError:  # nothing was ever pushed there
        return None
    except OSError as error:
        raise PipelineError(
            "the serving directory must be readable, to find the last blessed model",
            received=f"{error.strerror or error} ({base_path})",
            remedy="give the permission, or set --evaluate.baseline null to compare with none",
        ) from error
    for version, path in reversed(found.items()):
        facts = read_record(path)
        if facts is None and (path / RECORD).exists():
            _warn_once(f"version {version} in {base_path} is incomplete or has a damaged record: it counts as no model")
        if facts is not None and _is_blessed_other(facts, own_digest):
            name = f"the last blessed model (version {version} in {base_path.name})"
            return Baseline(name, str(facts["model_digest"]), saved_model=path)
    return None


# The last blessed model is looked for several times a run.
@functools.cache
def _warn_once(message: str) -> None:
    logging.getLogger(__name__).warning(message)


def _on_hub(repo_id: str | None, own_digest: str) -> Baseline | None:
    if repo_id is None:
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    from components.hub.access import client_with_token
    from components.hub.reading import hub_errors
    from components.hub.seal import SEAL

    # Only a bare name needs the token, which tells whose it is.
    api = HfApi() if "/" in repo_id else client_with_token(repo_id)
    looked_at = 0
    with hub_errors(repo_id, "model", None):
        if "/" not in repo_id:
            repo_id = f"{api.whoami()['name']}/{repo_id}"
        if not api.repo_exists(repo_id):
            return None
        for commit in api.list_repo_commits(repo_id):
            try:
                facts = json.loads(Path(api.hf_hub_download(repo_id, SEAL, revision=commit.commit_id)).read_bytes())
            except LocalEntryNotFoundError:  # the Hub didn't answer, which is no answer of no
                raise
            except (EntryNotFoundError, ValueError):
                facts = {}
            if isinstance(facts, dict) and facts.get("stage") == "training":
                continue
            if isinstance(facts, dict) and _is_blessed_other(facts, own_digest):
                name = f"the last blessed model (commit {commit.commit_id[:8]} of {repo_id})"
                return Baseline(name, str(facts["model_digest"]), checkpoint=repo_id, revision=commit.commit_id)
            looked_at += 1
            if looked_at == MOST_COMMITS:
                break
    return None
