"""Uploads a model to the Hub while it trains, in the place of transformers' `PushToHubCallback`.

That callback can lose the final model: while an upload runs it saves and pushes nothing, and at the end of
training it waits for that upload, and pushes nothing after it (huggingface/transformers#21116, #16409). It has
no way to make a private repository, and leaves weights that PyTorch can't load. Here

- an epoch's weights are copied aside and uploaded by a thread, so that no training step waits;
- an epoch that ends during an upload is left out; the final weights never are;
- an upload that fails is reported, tried again with the next epoch or at the end, and never ends the training.
"""

import dataclasses
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from components.hub.access import HubTarget
from components.training.observer import ObservedTraining
from foundation.errors import PipelineError

if TYPE_CHECKING:
    from components.hub.repository import HubCommit, HubRepository

logger = logging.getLogger(__name__)

FINAL_TRIES = 3
FINAL_MESSAGE = "Trained, not evaluated yet"
"""Only the push step, after the evaluation, ends a training on the Hub."""


@dataclasses.dataclass(frozen=True)
class UploadsDuringTraining:
    """The observer of a training that uploads its weights: after each epoch, and whatever happened before, at the end.

    Attributes:
        target: Where the model goes.
        license: The Hub's identifier of the model's license.
        languages: ISO 639 codes, for the model's card.
        license_name: The name of a license that the Hub has no identifier of.
        license_link: Its address.

    Example:
        >>> uploads = UploadsDuringTraining(HubTarget("me/model"), "apache-2.0", ("en",))
        >>> step = Train(blocks, tokenizer, params, observer=uploads)
    """

    target: HubTarget
    license: str
    languages: tuple[str, ...] = ()
    license_name: str | None = None
    license_link: str | None = None

    def preflight(self) -> None:
        """Refuses uploads that are bound to fail.

        Raises:
            HubError: If the token is missing or may not write, or the repository is another's.
        """
        from components.hub.repository import PREFLIGHT_ATTEMPTS, HubRepository

        HubRepository(self.target, attempts=PREFLIGHT_ATTEMPTS).check()

    def training_begins(self, training: ObservedTraining) -> "Uploading":
        """Begins to watch a training. Nothing is sent before the end of an epoch."""
        from components.hub.repository import HubRepository

        return Uploading(self, training, HubRepository(self.target))

    def training_is_cached(self) -> str:
        """Says that there was nothing to upload."""
        return (
            "nothing was uploaded while training: it is cached from an earlier run (--force train trains again); push "
            "uploads the final model"
        )


class Uploading:
    """The uploads of one training.

    Args:
        settings: Where to, and what the card says.
        training: The training to watch.
        repository: The repository of `settings.target`.

    Attributes:
        commits: What the Hub held after each upload that succeeded, in order.
        failures: Why uploads failed.
    """

    def __init__(
        self, settings: UploadsDuringTraining, training: ObservedTraining, repository: "HubRepository"
    ) -> None:
        from components.publishing.model_card import progress_card

        self.training = training
        self.repository = repository
        self.card, self.final_card = (
            progress_card(
                settings.target.repo_id,
                settings.license,
                settings.languages,
                trained,
                settings.license_name,
                settings.license_link,
            )
            for trained in (False, True)
        )
        self.commits: list[HubCommit] = []
        self.failures: list[str] = []
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="hub-upload")
        self._running: Future[None] | None = None
        self._epoch = training.epochs_seen

    def epoch_ends(self, epoch: int, is_last: bool) -> None:
        """Starts the upload of the epoch's weights, unless another runs or the final one is next."""
        self._epoch = epoch
        if is_last or (self._running is not None and not self._running.done()):
            return
        folder = self._save(self.card)
        if folder is not None:
            self._running = self._thread.submit(self._upload, folder, f"Training in progress, epoch {epoch}")

    def training_ends(self) -> None:
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
        """A copy of the weights as they are, with a card; None, and a warning, if the disk doesn't take it."""
        from components.publishing.hub_folder import write_training_folder

        folder = self.training.scratch / "folder"
        try:
            with self.training.averaged_weights():
                write_training_folder(folder, self.training.model, self.training.tokenizer, card, self._epoch)
        except OSError as error:
            self._note(
                f"the weights of epoch {self._epoch} can't be copied aside: {error.strerror or 'no reason given'}"
            )
            return None
        return folder

    def _upload(self, folder: Path, message: str) -> None:
        """Uploads a folder; a failure is reported and noted."""
        try:
            self.commits.append(self.repository.upload(folder, message))
        except PipelineError as error:
            self._note(str(error))
        except Exception as error:  # an upload must not end a training, whatever the reason
            self._note(type(error).__name__)

    def _note(self, reason: str) -> None:
        self.failures.append(reason)
        logger.warning("An upload to the Hub failed; training goes on. %s", reason)
