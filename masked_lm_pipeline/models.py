"""Loads the model that a run trained, whatever of what it left behind is named."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.config.places import checkpoint_of
from components.contract.artifacts import Checkpoint
from components.contract.push_record import RECORD, model_digest, read_record
from components.modeling.fill_mask import BATCH_SIZE, FillMask
from foundation.errors import ArtifactError, DamagedArtifact
from foundation.versions import versions
from masked_lm_pipeline.entering import enter
from masked_lm_pipeline.finished_run import ROOT, FinishedRun
from runners.opened_root import is_remote
from runners.remote.staged import complete, staged_root
from runners.store import ARTIFACTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

Source = str | Path | FinishedRun | Checkpoint
"""What a model may be named by: see `load_masked_lm`."""


class LoadedModel(NamedTuple):
    """A model and its tokenizer.

    Attributes:
        model: A Keras model, one of transformers' `TF…ForMaskedLM` classes.
        tokenizer: Its fast tokenizer.
    """

    model: "TFPreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"


def load_masked_lm(source: Source = "latest", *, root: str | Path = ROOT, revision: str | None = None) -> LoadedModel:
    """Loads a masked language model and its tokenizer.

    Args:
        source: A run (as `run` and `load_run` give it, `latest`, its id or its folder), the artifact of a train step
            or its folder, a version that was pushed for servers or the directory of its versions, a folder as
            `save_pretrained` or a push to the Hub writes it, or a name on the Hub.
        root: The pipeline root, or its address, where runs and pushed versions are looked up.
        revision: Branch, tag or commit of a name on the Hub.

    Raises:
        ConfigError: If the name is that of a run that trained no model.
        ArtifactError: If the checkpoint of a pushed version is gone.
        ModelError: If it names no checkpoint of a masked language model, or a damaged one.
        HubError: If it can't be fetched from the Hub.

    Example:
        model, tokenizer = load_masked_lm("latest", root="pipeline_root")
        print(model.count_params(), len(tokenizer))
    """
    enter()
    from components.hub.checkpoints import checkpoint_directory, tokenizer_directory
    from components.modeling import checkpoint
    from components.tokenizers.loading import load_local

    if is_remote(root):
        root = staged_root(str(root), str(source) if isinstance(source, str) else "latest")
    name = _name_of(source, Path(root))
    complete(Path(name))
    model = checkpoint.load_masked_lm(checkpoint_directory(name, revision), name)
    tokenizer, _ = load_local(tokenizer_directory(name, revision))
    return LoadedModel(model, tokenizer)


def load_fill_mask(
    source: Source = "latest", *, root: str | Path = ROOT, revision: str | None = None, batch_size: int = BATCH_SIZE
) -> FillMask:
    """Loads a model to be asked in this process.

    Args:
        source: As for `load_masked_lm`.
        root: The pipeline root.
        revision: Branch, tag or commit of a name on the Hub.
        batch_size: The most texts that go through the model together.

    Raises:
        PipelineError: As `load_masked_lm` does.

    Example:
        fill_mask = load_fill_mask("latest")
        for candidate in fill_mask("Return a <mask> of all the keys.", top_k=3):
            print(candidate["token_str"], candidate["score"])
    """
    return FillMask(*load_masked_lm(source, root=root, revision=revision), batch_size=batch_size)


def _name_of(source: Source, root: Path) -> str:
    """The folder of a checkpoint, or its name on the Hub."""
    if isinstance(source, FinishedRun):
        source = source.checkpoint
    if isinstance(source, Checkpoint):
        return str(source.model_directory)
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        for version in (folder, *reversed(versions(folder).values())):
            if (version / RECORD).is_file():
                return str(_pushed_from(version, root))
    return checkpoint_of("source", str(folder), root)[0]


def _pushed_from(version: Path, root: Path) -> Path:
    """The checkpoint that a version in a serving directory was made from.

    Raises:
        ArtifactError: If none of the root's is.
    """
    record = read_record(version) or {}
    for directory in sorted((root / ARTIFACTS / "train").glob("*")):
        checkpoint = Checkpoint(directory)
        with contextlib.suppress(ArtifactError, DamagedArtifact, KeyError, OSError):
            if model_digest(checkpoint) == record.get("model_digest"):
                return checkpoint.model_directory
    raise ArtifactError(
        "a pushed version must have its checkpoint among the root's artifacts, since what servers load can't be "
        "trained or changed",
        received=f"{version}, and no such checkpoint below {root}",
        remedy="name the root that it was pushed from, or ask the version through a server",
    )
