"""How many steps training has, and over how many of them the learning rate rises and falls. Needs no TensorFlow."""

import dataclasses
import math

from components.training.params import TrainParams, schedule_steps
from foundation.errors import ConfigError


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


def training_steps(params: TrainParams, blocks: int) -> TrainingSteps:
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
