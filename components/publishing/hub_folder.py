"""The folder that is pushed to the Hub: weights for everyone, tokenizer, curves, SavedModel, card."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract.artifacts import HISTORY, LOGS, Artifact
from components.contract.push_record import facts_of
from components.hub.seal import CARD, seal
from components.modeling.weights import TENSORFLOW
from components.publishing.model_card import hides_example, model_card
from components.publishing.model_card_sections import CardArtifacts, CardSettings, why_not_blessed
from components.publishing.serving_directory import copy_file
from foundation.versions import EXAMPLE, WARM_UP_REQUESTS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TFPreTrainedModel

SAVED_MODEL_VERSION = "1"
SHOWS_EXAMPLE = ("MODEL.md", EXAMPLE, WARM_UP_REQUESTS)
"""The files of a SavedModel that hold the text to try it on. It serves without them."""


def write_folder(folder: Path, artifacts: CardArtifacts, settings: CardSettings) -> dict[str, str]:
    """Fills a folder with everything that a push sends, and seals it. Equal artifacts give equal bytes.

    Args:
        folder: The folder to make.
        artifacts: The artifacts of the model.
        settings: What the card says besides, and which files go along.

    Returns:
        The SHA-256 of the files by path.

    Raises:
        ArtifactError: If a file isn't what its artifact's manifest says.
        HubError: If the card isn't valid.
    """
    from components.modeling.checkpoint import load_masked_lm
    from components.modeling.pytorch_weights import save_pytorch_weights

    folder.mkdir(parents=True)
    card = model_card(artifacts, settings)
    checkpoint = artifacts.checkpoint
    copy_part(checkpoint, "model/", folder, lambda name: name != TENSORFLOW or settings.include_tf_weights)
    copy_part(checkpoint, f"{LOGS}/", folder / LOGS)
    copy_part(artifacts.evaluation, "metrics.json", folder / "metrics.json")
    if settings.include_saved_model:
        prefix = artifacts.model.saved_model_directory.relative_to(artifacts.model.directory).as_posix() + "/"
        hidden = SHOWS_EXAMPLE if hides_example(artifacts.model, settings) else ()
        target = folder / "saved_model" / SAVED_MODEL_VERSION
        copy_part(artifacts.model, prefix, target, lambda name: name not in hidden)
    # Over the Keras model's config.json: this one belongs to the weights beside it, and to both.
    save_pytorch_weights(load_masked_lm(checkpoint.model_directory), folder)
    copy_part(checkpoint, f"{HISTORY}.csv", folder / f"{HISTORY}.csv")
    (folder / CARD).write_text(card, encoding="utf-8")
    blessed = why_not_blessed(artifacts, settings) is None
    facts = {"stage": "trained", "checkpoint": checkpoint.digest, **facts_of(checkpoint, blessed)}
    return seal(folder, facts)


def write_training_folder(
    folder: Path, model: "TFPreTrainedModel", tokenizer: "PreTrainedTokenizerBase", card: str, epoch: int
) -> dict[str, str]:
    """Fills a folder with a model as it stands in training, and seals it.

    Args:
        folder: Emptied first.
        model: The model.
        tokenizer: Its tokenizer.
        card: The text of README.md.
        epoch: Epochs that the model has seen.

    Returns:
        SHA-256 by path.
    """
    from components.modeling.pytorch_weights import save_pytorch_weights

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    save_pytorch_weights(model, folder)
    (folder / CARD).write_text(card, encoding="utf-8")
    return seal(folder, {"stage": "training", "epoch": epoch})


def copy_part(artifact: Artifact, prefix: str, target: Path, wanted: Callable[[str], bool] = lambda name: True) -> None:
    """Copies the files of an artifact whose path starts with a prefix, and compares them with its manifest.

    Args:
        artifact: A finished artifact.
        prefix: Of the paths; taken off below the target.
        target: A directory, or the copy itself where the prefix is a whole path.
        wanted: Which of the names without prefix to copy.

    Raises:
        ArtifactError: If a file was changed since it was made.
    """
    for name, file in artifact.manifest["files"].items():
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and wanted(rest):
            copy_file(artifact.directory / name, target / rest if rest else target, file["sha256"])
