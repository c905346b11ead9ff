"""Uploads a model to the Hub while it trains, in the place of transformers' `PushToHubCallback`.

That callback can lose the final model: while an upload runs it saves and pushes nothing, and at the end of
training it waits for that upload, and pushes nothing after it (huggingface/transformers#21116, #16409). It has
no way to make a private repository, and leaves weights that PyTorch can't load. Here

- an epoch's weights are copied aside and uploaded by a thread, so that no training step waits;
- an epoch that ends during an upload is left out; the final weights never are;
- an upload that fails is told, tried again with the next epoch or at the end, and never ends the training.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from components.hub.access import TrainingUploads
from components.hub.repository import HubCommit, HubRepository
from components.publishing.git_uploads import GitUploads, has_git_lfs
from components.publishing.hub_folder import write_training_folder
from components.publishing.model_card import progress_card
from foundation.errors import PipelineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TFPreTrainedModel

logger = logging.getLogger(__name__)

FINAL_TRIES = 3
FINAL_MESSAGE = "Trained, not evaluated yet"
"""Only the push step, after the evaluation, ends a training on the Hub."""


class Uploads(Protocol):
    """What brings a folder to the Hub: a `HubRepository` over HTTP, or a `GitUploads`."""

    def upload(self, folder: Path, message: str) -> HubCommit:
        """Makes the repository hold a sealed folder."""


class UploadDuringTraining(tf.keras.callbacks.Callback):
    """A Keras callback that uploads the model after each epoch and, whatever happened before, at the end.

    Args:
        model: The model to upload; Keras may train another that wraps it.
        tokenizer: Its tokenizer.
        settings: Where to, and the card's license.
        scratch: A directory for the copies; the caller removes it.
        uploads: What uploads; None for git where git-lfs is installed, HTTP otherwise.
        epoch: Epochs that the model has seen, where training goes on.
        in_context: Makes the context in which the model has the weights to upload, if those aren't its own.

    Attributes:
        commits: What the Hub held after each upload that succeeded, in order.
        failures: Why uploads failed.
    """

    def __init__(
        self,
        model: "TFPreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        settings: TrainingUploads,
        scratch: Path,
        uploads: Uploads | None = None,
        epoch: int = 0,
        in_context: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        super().__init__()
        self.masked_lm = model
        self.tokenizer = tokenizer
        self.scratch = scratch
        self.in_context = in_context
        self.card, self.final_card = (
            progress_card(settings.target.repo_id, settings.license, settings.languages, trained)
            for trained in (False, True)
        )
        self.http = HubRepository(settings.target)
        self.uploads = uploads or (GitUploads(self.http, scratch / "clone") if has_git_lfs() else self.http)
        self.commits: list[HubCommit] = []
        self.failures: list[str] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hub-upload")
        self._running: Future[None] | None = None
        self._epoch = epoch
        # Without it Keras would wait for the loss at every step.
        self._supports_tf_logs = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts the upload of the epoch's weights, unless another runs or the final one is next."""
        self._epoch = epoch + 1
        is_last = self._epoch == self.params.get("epochs") or self.model.stop_training
        if is_last or (self._running is not None and not self._running.done()):
            return
        folder = self._save(self.card)
        if folder is not None:
            self._running = self._thread.submit(self._upload, folder, f"Training in progress, epoch {self._epoch}")

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Uploads the final weights, after the upload that may be running."""
        if self._running is not None:
            self._running.result()
        folder = self._save(self.final_card)
        for _ in range(FINAL_TRIES):
            failed = len(self.failures)
            if folder is not None:
                self._upload(folder, FINAL_MESSAGE)
            if len(self.failures) == failed:
                break
        self._thread.shutdown()

    def _save(self, card: str) -> Path | None:
        """A copy of the weights as they are, with a card; None, and told, if the disk doesn't take it."""
        folder = self.scratch / "folder"
        try:
            with self.in_context():
                write_training_folder(folder, self.masked_lm, self.tokenizer, card, self._epoch)
        except OSError as error:
            self._note(
                f"the weights of epoch {self._epoch} can't be copied aside: {error.strerror or 'no reason given'}"
            )
            return None
        return folder

    def _upload(self, folder: Path, message: str) -> None:
        """Uploads a folder; a failure is told and noted."""
        try:
            self.commits.append(self.uploads.upload(folder, message))
        except PipelineError as error:
            self._note(str(error))
        except Exception as error:  # an upload must not end a training, whatever the reason
            self._note(type(error).__name__)
        else:
            return
        if self.uploads is not self.http and isinstance(self.uploads, GitUploads):
            logger.warning("Uploads go over HTTP from now on.")
            self.uploads = self.http

    def _note(self, reason: str) -> None:
        self.failures.append(reason)
        logger.warning("An upload to the Hub failed; training goes on. %s", reason)
