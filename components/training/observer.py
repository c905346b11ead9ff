"""Who may watch a training, and what an observer sees of it. Needs no TensorFlow.

The pipeline gives the train step an observer, such as the one that uploads each epoch's weights. The step calls it
and knows nothing more of it.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TFPreTrainedModel


@dataclasses.dataclass(frozen=True)
class ObservedTraining:
    """A training that is under way.

    Attributes:
        model: The model, whose weights change with every step.
        tokenizer: Its tokenizer.
        scratch: A directory for the observer's own files, not made yet. It is removed when training is over.
        epochs_seen: Epochs that the model had seen when training began, or went on after an interrupt.
        averaged_weights: Makes a context in which the model has the weights that would be kept if training ended now.
    """

    model: "TFPreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    scratch: Path
    epochs_seen: int = 0
    averaged_weights: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext


class Observation(Protocol):
    """What an observer does during one training. Training waits while a method runs."""

    def epoch_ends(self, epoch: int, is_last: bool) -> None:
        """An epoch is over, with its validation.

        Args:
            epoch: Epochs that the model has seen by now.
            is_last: Whether training ends with it.
        """

    def training_ends(self) -> None:
        """Training is over: the model has the weights of the last epoch, or of the best where those are kept."""


class TrainingObserver(Protocol):
    """Watches trainings and changes nothing in them.

    An observer is a value, as a frozen dataclass is one: a step is the same step with an equal observer.
    """

    def preflight(self) -> None:
        """Refuses, before the first step of the pipeline runs, what the observer is bound to fail at.

        Raises:
            PipelineError: With the rule, what was received and the way out.
        """

    def training_begins(self, training: ObservedTraining) -> Observation:
        """Begins to watch a training."""

    def training_is_cached(self) -> str:
        """What the user is to know where there is nothing to watch, because an earlier run has trained the model."""
