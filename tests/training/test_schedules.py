"""The learning rate at every step, against the formulas that run_mlm.py's schedules are."""

import math

import numpy as np
import pytest
import tensorflow as tf

from components.training.optimizer import WarmupAndDecay


def rates(*arguments, **options):
    """The rates of all steps, and of one after the last."""
    schedule = WarmupAndDecay(*arguments, **options)
    return [float(schedule(tf.constant(step, tf.int64))) for step in range(schedule.steps + 1)]


def test_linear():
    expected = [0, 0.25, 0.5, 0.75, *(1 - step / 6 for step in range(6)), 0]
    np.testing.assert_allclose(rates(2.0, 10, 4, 6), 2 * np.array(expected), rtol=1e-6, atol=1e-7)


def test_no_warmup_begins_at_the_peak():
    np.testing.assert_allclose(rates(3.0, 4, 0, 4), [3, 2.25, 1.5, 0.75, 0], rtol=1e-6)


def test_cosine():
    expected = [0, 0.5, *(0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)), 0]
    np.testing.assert_allclose(rates(1.0, 10, 2, 8, shape="cosine"), expected, rtol=1e-5, atol=1e-6)


def test_one_less_the_square_root():
    """Hägele et al. 2024, equation 1."""
    expected = [0, 0.5, 1, 1, *(1 - math.sqrt(step / 4) for step in range(1, 5))]
    np.testing.assert_allclose(rates(3.0, 7, 2, 4, shape="1-sqrt"), 3 * np.array(expected), rtol=1e-6, atol=1e-6)


def test_warmup_stable_decay():
    expected = [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]
    np.testing.assert_allclose(rates(1.0, 10, 3, 4), expected, rtol=1e-6, atol=1e-7)


def test_warmup_and_decay_may_meet():
    np.testing.assert_allclose(rates(1.0, 4, 2, 2), [0, 0.5, 1, 0.5, 0], rtol=1e-6)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_floor_is_what_it_falls_to(shape):
    falling = rates(2.0, 12, 2, 6, shape=shape, floor=0.1)
    assert falling[-1] == pytest.approx(0.2)
    assert falling[6] == pytest.approx(2.0)
    assert falling[9] == pytest.approx(0.2 + 0.5 * 1.8)
    assert falling[1] == pytest.approx(1.0)  # the warm-up begins at 0 all the same


def test_steps_beyond_the_last_stay_at_the_floor():
    schedule = WarmupAndDecay(1.0, 5, 1, 2, floor=0.25)
    assert float(schedule(tf.constant(50))) == pytest.approx(0.25)


def test_it_can_be_made_again_from_its_config():
    schedule = WarmupAndDecay(1.0, 10, 3, 4, shape="cosine", floor=0.1)
    again = WarmupAndDecay.from_config(schedule.get_config())
    assert float(again(7)) == float(schedule(7))
