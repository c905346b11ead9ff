"""Asks before a training whether the disk has room for all that it is sure to write."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.training.params import TrainParams
from components.training.step_checkpoints import KEPT
from foundation.disk import require_room

if TYPE_CHECKING:
    import tensorflow as tf
    from transformers import TFPreTrainedModel


def require_room_to_train(model: "TFPreTrainedModel", params: TrainParams, steps: int, directory: Path) -> None:
    """Refuses a training that is sure to run out of space, before its first step.

    Sure are the model before and after training, the state at its end (without `train.save_only_model`) and, with a
    number of steps from one to the next, the step checkpoints that exist at once: those that are kept, and the one
    being written. What an earlier run left to go on from is there.

    Args:
        model: The model before the first step.
        params: The settings.
        steps: Optimizer steps in all.
        directory: Where the training writes.

    Raises:
        PipelineError: If the disk has no room for so much; the message has the bytes needed and free.
    """
    size, state = bytes_of(model.weights), state_bytes(model, params)
    state_at_end = 0 if params.save_only_model else state
    needed, what = 2 * size + state_at_end, f"the model before and after training in {directory}"
    every = params.checkpoint_every_steps
    if isinstance(every, int):
        at_once = min(-(-steps // every), KEPT + 1)
        needed = state_at_end + max(2 * size + state * min(at_once, KEPT), size + state * at_once)
        what = f"the model before and after training and its step checkpoints in {directory}"
    there = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    require_room(directory, max(needed - there, 2 * size), what)


def state_bytes(model: "TFPreTrainedModel", params: TrainParams) -> int:
    """What a step checkpoint holds: the weights and the optimizer's two moments of each, of which Muon needs but one.

    Args:
        model: The model before the first step.
        params: The settings.
    """
    from components.modeling.layer_matrices import layer_matrices

    size = 3 * bytes_of(model.weights)
    return size - bytes_of(layer_matrices(model)) if params.optimizer == "muon" else size


def bytes_of(weights: "Sequence[tf.Variable]") -> int:
    """The size of some weights."""
    return sum(weight.shape.num_elements() * weight.dtype.size for weight in weights)
