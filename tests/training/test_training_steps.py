"""How many steps, and how many of them the learning rate rises and falls."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.training.params import TrainParams, training_steps
from foundation.errors import ConfigError


def steps(blocks, **params):
    return training_steps(TrainParams(model_type="bert", **params), blocks)


def test_batches_and_steps():
    plain = steps(42, batch_size=4, epochs=2, warmup_ratio=0.2)
    assert (plain.batch_size, plain.blocks_a_step, plain.steps_per_epoch, plain.steps) == (4, 4, 10, 20)
    assert (plain.warmup_steps, plain.decay_steps, plain.epochs) == (4, 16, 2)


def test_accumulated_batches_are_one_step():
    accumulated = steps(42, batch_size=4, gradient_accumulation_steps=3, epochs=2)
    assert (accumulated.batch_size, accumulated.blocks_a_step) == (4, 12)
    assert (accumulated.steps_per_epoch, accumulated.steps) == (3, 6)
    assert steps(42, batch_size=4, gradient_accumulation_steps=3, max_steps=10).epochs == 4


def test_few_blocks_are_one_batch():
    few = steps(3, batch_size=16, epochs=2)
    assert (few.batch_size, few.steps_per_epoch, few.steps) == (3, 1, 2)


def test_more_accumulation_than_an_epoch_has_batches():
    with pytest.raises(ConfigError, match=r"gradient_accumulation_steps 11 with train.batch_size 4, for 42 train"):
        steps(42, batch_size=4, gradient_accumulation_steps=11)
    assert steps(42, batch_size=4, gradient_accumulation_steps=10).steps_per_epoch == 1
    with pytest.raises(ConfigError, match="to 1 or less"):
        steps(3, batch_size=4, gradient_accumulation_steps=2)


STABLE = {"lr_scheduler_type": "warmup_stable_decay"}


def test_warmup_stable_decay():
    stable = steps(40, batch_size=4, epochs=10, warmup_steps=7, decay_ratio=0.29, **STABLE)
    assert (stable.warmup_steps, stable.decay_steps, stable.steps) == (7, 29, 100)
    assert steps(1, epochs=1, **STABLE).decay_steps == 1


def test_a_schedule_longer_than_training():
    with pytest.raises(ConfigError, match=r"train.warmup_steps, 20 for 20 steps"):
        steps(40, batch_size=4, epochs=2, warmup_steps=20)
    with pytest.raises(ConfigError, match=r"train.warmup_steps and train.decay_ratio, 15 \+ 10 for 20 steps"):
        steps(40, batch_size=4, epochs=2, warmup_steps=15, decay_ratio=0.5, **STABLE)


@pytest.mark.parametrize(
    ("params", "rule"),
    [
        ({"warmup_steps": 20, "max_steps": 20}, r"train.warmup_steps, 20 for 20 steps \(train.max_steps"),
        ({"warmup_steps": 15, "max_steps": 20, "decay_ratio": 0.5, **STABLE}, r"warmup_steps and train.decay_ratio"),
        ({"warmup_ratio": 0.6, "decay_ratio": 0.5, **STABLE}, r"train.warmup_ratio 0.6 and train.decay_ratio 0.5"),
    ],
)
def test_refused_before_the_blocks_are_known(params, rule):
    with pytest.raises(ConfigError, match=rule):
        TrainParams(model_type="bert", **params)


@given(
    st.integers(1, 5000), st.integers(1, 64), st.integers(1, 5), st.floats(0, 0.99), st.floats(0.01, 1), st.booleans()
)
@settings(deadline=None)
def test_ratios_that_fit_are_never_refused(blocks, batch_size, epochs, warmup, decay, stable):
    """Whatever rounding does: two steps are enough for both."""
    warmup = min(warmup, 1 - decay) if stable else warmup
    params = {"batch_size": batch_size, "epochs": epochs, "warmup_ratio": warmup, "decay_ratio": decay}
    kind = "warmup_stable_decay" if stable else "linear"
    try:
        planned = steps(blocks, lr_scheduler_type=kind, **params)
    except ConfigError:
        total = max(1, blocks // batch_size) * epochs
        assert total * (1 - warmup) < 1 or total * decay < 1
        return
    assert 0 <= planned.warmup_steps < planned.steps
    assert 1 <= planned.decay_steps <= planned.steps - planned.warmup_steps
    assert planned.steps_per_epoch * planned.blocks_a_step <= blocks
