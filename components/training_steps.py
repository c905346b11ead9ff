"""How many steps training has, and over how many of them the learning rate rises and falls. Needs no TensorFlow."""

import dataclasses
import math
from typing import TYPE_CHECKING

from components.errors import ConfigError

if TYPE_CHECKING:
    from components.train_params import TrainParams


@dataclasses.dataclass(frozen=True)
class TrainingSteps:
    """Training in optimizer steps.

    Attributes:
        batch_size: Blocks that go through the model at once.
        blocks_a_step: Blocks that one optimizer step learns from: all its batches'.
        steps_per_epoch: Optimizer steps an epoch; blocks that don't fill one are left out.
        steps: Optimizer steps in all.
        warmup_steps: The first ones, over which the learning rate rises.
        decay_steps: The last ones, over which it falls.
    """

    batch_size: int
    blocks_a_step: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    decay_steps: int

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return math.ceil(self.steps / self.steps_per_epoch)


def training_steps(params: "TrainParams", blocks: int) -> TrainingSteps:
    """The steps of training on a number of blocks, at least 1.

    Raises:
        ConfigError: If the blocks don't fill a step, or the learning rate's schedule is longer than training.
    """
    # Fewer blocks than a batch are one batch: a first try on a handful of records is to work.
    batch_size = min(params.batch_size, blocks)
    blocks_a_step = batch_size * params.gradient_accumulation_steps
    if blocks_a_step > blocks:
        raise ConfigError(
            "an epoch has the batches of at least one optimizer step",
            received=f"train.gradient_accumulation_steps {params.gradient_accumulation_steps} with train.batch_size "
            f"{params.batch_size}, for {blocks:,} train blocks",
            remedy=f"set --train.gradient_accumulation_steps to {blocks // batch_size} or less, lower "
            "--train.batch_size, or ingest more text",
        )
    steps_per_epoch = blocks // blocks_a_step
    steps = params.max_steps or steps_per_epoch * params.epochs
    return TrainingSteps(batch_size, blocks_a_step, steps_per_epoch, steps, *schedule_steps(params, steps))


def schedule_steps(params: "TrainParams", steps: int) -> tuple[int, int]:
    """Over how many steps the learning rate rises, and over how many it falls.

    Raises:
        ConfigError: If that is longer than training.
    """
    warmup_steps = params.warmup_steps or math.ceil(steps * params.warmup_ratio)
    warmup = f"train.warmup_{'steps' if params.warmup_steps else 'ratio'}"
    if warmup_steps >= steps:
        raise ConfigError(
            "the warm-up ends before training does",
            received=f"{warmup}, {warmup_steps} for {steps} steps (train.max_steps, or train.epochs of the blocks)",
            remedy=f"lower --{warmup}, or train longer with --train.epochs or --train.max_steps",
        )
    if params.lr_scheduler_type != "warmup_stable_decay":
        return warmup_steps, steps - warmup_steps
    # Rounded first, because 0.29 * 100 is 28.999999999999996.
    decay_steps = max(1, math.floor(round(steps * params.decay_ratio, 6)))
    if warmup_steps + decay_steps > steps:
        raise ConfigError(
            "the learning rate's warm-up and decay are no longer than training together",
            received=f"{warmup} and train.decay_ratio, {warmup_steps} + {decay_steps} for {steps} steps",
            remedy=f"lower --{warmup} or --train.decay_ratio, or train longer",
        )
    return warmup_steps, decay_steps
