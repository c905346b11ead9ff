"""When a training loss has gone wrong, and when it only looks so."""

import json
import math

import numpy as np
import pytest

from components.training.loss_watch import DIVERGED_STEPS, BadLoss, LossWatch


def see(losses, factor=2.0):
    """The step at which a watch finds fault; None if it doesn't."""
    watch = LossWatch(factor)
    for step, loss in enumerate(losses, 1):
        try:
            watch.see(step, float(loss))
        except BadLoss as bad:
            return bad.step
        # Through JSON, as a checkpoint takes it.
        restored = LossWatch(factor)
        restored.restore(json.loads(json.dumps(watch.state(), allow_nan=False)))
        assert restored == watch
        watch = restored
    return None


def noisy(mean, steps, deviation=0.3):
    return np.random.default_rng(0).normal(mean, deviation, steps)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number(value):
    assert see([3.0, 3.0, value, 3.0]) == 3


def test_divergence_names_where_it_begins():
    step = see([*noisy(3, 300), *noisy(9, 300)])
    assert 300 < step < 350


@pytest.mark.parametrize(
    "losses",
    [
        [*noisy(10, 50), *noisy(7, 500), *noisy(3, 500)],  # learning
        [*noisy(6, 300), *noisy(7.5, 500)],  # back to the plateau
        [*noisy(3, 300), *[40.0] * 3, *noisy(3, 300)],  # a few odd batches
        [*noisy(3, 300), *noisy(9, DIVERGED_STEPS // 2), *noisy(3, 300)],  # it finds back
        [*noisy(0.01, 300, 0), *noisy(0.5, 300, 0)],  # all but 0, and a bit more
        [*noisy(12, 20), *noisy(40, 20), *noisy(9, 300)],  # a rough start
    ],
)
def test_what_is_no_divergence(losses):
    assert see(losses) is None


def test_divergence_is_not_looked_for_at_factor_0():
    assert see([*noisy(3, 300), *noisy(30, 300)], factor=0) is None
