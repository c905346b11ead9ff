"""What changes while a model trains: how many blocks a batch has, and how much is masked, by the step.

Needs neither TensorFlow nor NumPy.
"""

import math
from collections.abc import Sequence

from foundation.errors import ConfigError

Changes = tuple[tuple[int, float], ...]
"""Steps, from 0, and the value that holds from each of them on."""


def require_batch_size_warmup(start: int | None, ratio: float, batch_size: int) -> None:
    """Refuses a warm-up of the batch size that contradicts itself or the batch size.

    Args:
        start: `train.batch_size_start`.
        ratio: `train.batch_size_warmup_ratio`.
        batch_size: `train.batch_size`.

    Raises:
        ConfigError: If so.
    """
    if (start is None) != (ratio == 0):
        raise ConfigError(
            "train.batch_size_start and train.batch_size_warmup_ratio must be set together",
            received=f"train.batch_size_start {'null' if start is None else start} and train.batch_size_warmup_ratio "
            f"{ratio}",
            remedy="set both, for example --train.batch_size_warmup_ratio 0.1, or leave out both",
        )
    if start is not None and not 1 <= start < batch_size:
        raise ConfigError(
            "train.batch_size_start must be a whole number from 1 up to, but not, train.batch_size",
            received=f"{start}, and train.batch_size is {batch_size}",
            remedy=f"set --train.batch_size_start to {max(1, batch_size // 4)}, or leave out both it and "
            "train.batch_size_warmup_ratio"
            if batch_size > 1
            else "raise --train.batch_size, or leave out train.batch_size_start and train.batch_size_warmup_ratio",
        )


def require_masking_schedule(schedule: Sequence[Sequence[float]] | None, end: float | None) -> None:
    """Refuses a schedule of the masking rate that isn't one, or stands beside another.

    Args:
        schedule: `train.mlm_probability_schedule`.
        end: `train.mlm_probability_end`.

    Raises:
        ConfigError: If so.
    """
    if schedule is None:
        return
    if end is not None:
        raise ConfigError(
            "only one of train.mlm_probability_end and train.mlm_probability_schedule must be set: the one is a "
            "straight line, the other goes by steps",
            received=f"{end} and {schedule}",
            remedy="leave out --train.mlm_probability_end or --train.mlm_probability_schedule",
        )
    rule = "train.mlm_probability_schedule must be a list of pairs, each a part of training and a masking rate"
    remedy = (
        "correct --train.mlm_probability_schedule, for example '[[0.6, 0.15], [0.9, 0.05]]': 15% after 60% of the "
        "steps, and 5% in the last tenth"
    )
    if not schedule or any(len(pair) != 2 for pair in schedule):
        raise ConfigError(rule, received=repr(schedule), remedy=remedy)
    before = 0.0
    for part, probability in schedule:
        if not before < part < 1:
            raise ConfigError(
                f"{rule}; the parts must rise, each above 0 and below 1 (the first rate is train.mlm_probability)",
                received=f"{part:g} after {before:g}",
                remedy=remedy,
            )
        if not 0 < probability <= 1:
            raise ConfigError(
                f"{rule}; a rate must be above 0 and at most 1", received=f"{probability:g}", remedy=remedy
            )
        before = part


def batch_sizes(start: int | None, ratio: float, batch_size: int, steps: int) -> tuple[tuple[int, int], ...]:
    """How many blocks go through the model at once, from which step on.

    The warm-up doubles the first size until it would reach the last one, and gives each of the smaller sizes equally
    many steps: few sizes, because each is traced, and compiled, by itself. Smith et al. 2018, "Don't Decay the Learning
    Rate, Increase the Batch Size" (https://arxiv.org/abs/1711.00489); as a warm-up in Warner et al. 2024, "Smarter,
    Better, Faster, Longer" (ModernBERT, https://arxiv.org/abs/2412.13663, section 2.2).

    Args:
        start: Blocks of the first batches; None for no warm-up.
        ratio: Part of all steps in which batches are smaller.
        batch_size: The size that holds after the warm-up.
        steps: Optimizer steps in all.

    Returns:
        Pairs of a step, from 0, and the blocks of a batch from there on; the first has step 0.

    Raises:
        ConfigError: If the warm-up is as long as training.
    """
    if start is None or start >= batch_size:
        return ((0, batch_size),)
    # Rounded first, because 0.07 * 100 is 7.000000000000001.
    warmup_steps = math.ceil(round(steps * ratio, 6))
    if warmup_steps >= steps:
        raise ConfigError(
            "the batch size's warm-up must end before training does",
            received=f"train.batch_size_warmup_ratio {ratio}, {warmup_steps} for {steps} "
            "steps (train.max_steps, or train.epochs of the blocks)",
            remedy="lower --train.batch_size_warmup_ratio, or train longer with --train.epochs or --train.max_steps",
        )
    smaller = [start]
    while smaller[-1] * 2 < batch_size:
        smaller.append(smaller[-1] * 2)
    # Where there are fewer steps than sizes, the first sizes have none.
    begins = {warmup_steps * place // len(smaller): size for place, size in enumerate(smaller)}
    return tuple(sorted({**begins, warmup_steps: batch_size}.items()))


def masking_changes(schedule: Sequence[Sequence[float]] | None, steps: int) -> Changes:
    """The masking rates that take the place of `train.mlm_probability`, and from which step on each does.

    Args:
        schedule: Pairs of a part of training and a rate; None for none.
        steps: Optimizer steps in all.
    """
    # Rounded first, because 0.07 * 100 is 7.000000000000001.
    return tuple((math.ceil(round(steps * part, 6)), probability) for part, probability in schedule or ())
