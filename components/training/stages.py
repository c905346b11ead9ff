"""The stages of a training: steps whose batches have one shape, so that each stage is traced, and compiled, once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from components.masking.masking import MaskingRate, max_predictions
from components.training.training_model import MaskedLMTraining


@dataclasses.dataclass(frozen=True)
class Stage:
    """Steps of one shape.

    Attributes:
        first_step: The first one, from 0.
        blocks: Blocks that each learns from.
        predictions: The most labels of a block: the head has no more places than the masking rate asks for.
        tokens: Tokens that each sees, masked or not.
        flops: Floating-point operations of each.
    """

    first_step: int
    blocks: int
    predictions: int
    tokens: int = 0
    flops: float = 0.0


@dataclasses.dataclass(frozen=True)
class Stages:
    """All stages of a training, in order; the first one begins with step 0."""

    stages: tuple[Stage, ...]

    def at(self, step: int) -> Stage:
        """The stage of a step, counted from 0."""
        return next(stage for stage in reversed(self.stages) if stage.first_step <= step)

    def begins(self, step: int) -> bool:
        """Whether a stage begins with a step, counted from 0."""
        return self.at(step).first_step == step

    def flops_before(self, step: int) -> float:
        """Floating-point operations of all steps before one, counted from 0."""
        ends = [*(stage.first_step for stage in self.stages[1:]), step]
        spans = zip(self.stages, ends, strict=True)
        return sum(stage.flops * max(min(end, step) - stage.first_step, 0) for stage, end in spans)


def plan_stages(blocks: Sequence[tuple[int, int]], rate: MaskingRate, steps: int, block_size: int) -> Stages:
    """The stages of a training.

    Args:
        blocks: Pairs of a step, from 0, and the blocks that each step learns from, from there on.
        rate: The masking rate by the step.
        steps: Optimizer steps in all.
        block_size: Tokens a block.
    """
    begins = sorted({step for step, _ in (*blocks, *rate.changes) if step < steps})
    stages: list[Stage] = []
    for first, end in zip(begins, [*begins[1:], steps], strict=True):
        # Between two changes the rate is constant, or on a straight line.
        highest = max(rate.at(first), rate.at(end - 1))
        size = next(size for step, size in reversed(blocks) if step <= first)
        stage = Stage(first, size, max_predictions(block_size, highest))
        if not stages or dataclasses.replace(stages[-1], first_step=first) != stage:
            stages.append(stage)
    return Stages(tuple(stages))


class StageBegins(tf.keras.callbacks.Callback):
    """Tells the model that is trained when a stage begins.

    Args:
        stages: Those of the training.
        seed: Of what is drawn while a later stage is traced, as when training goes on in it: Flaubert's LayerDrop.
        first_step: Steps made before, where training goes on.
    """

    def __init__(self, stages: Stages, seed: int, first_step: int = 0) -> None:
        super().__init__()
        self.stages = stages
        self.seed = seed
        self.step = first_step
        # Without it Keras would wait for the loss at every step.
        self._supports_tf_logs = True

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The stage that training begins, or goes on, in."""
        self.enter(self.stages.at(self.step))

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The stage of the next step, if it begins with it."""
        if self.step and self.stages.begins(self.step):
            self.enter(self.stages.at(self.step))
            tf.keras.utils.set_random_seed(self.seed)
        self.step += 1

    def enter(self, stage: Stage) -> None:
        """Has the steps from here on traced for the stage's batches."""
        training: MaskedLMTraining = self.model
        training.begin_stage(stage.blocks, stage.predictions)
