"""Every architecture in every precision, as on a GPU and in a graph that is rewritten for a CPU."""

import contextlib

import pytest
import tensorflow as tf

from components.modeling.architectures.records import architecture_of
from components.training.devices import Devices
from components.training.execution import why_not_in
from tests.modeling.tiny_models import EVERY_MODEL, SHORT_BATTERY, SHORTEST_BATTERY, random_model
from tests.training.test_training import train_in

IN_FLOAT16 = REWRITTEN = SHORT_BATTERY if EVERY_MODEL else ["deberta-v2", "modernbert"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "compiled", "name"),
    [
        *(pytest.param("mixed_bfloat16", True, name, id=f"{name} as on a GPU") for name in SHORTEST_BATTERY),
        *(pytest.param("mixed_float16", False, name, id=f"{name} in float16") for name in IN_FLOAT16),
    ],
)
def test_it_trains_in_every_precision_or_is_refused(precision, compiled, name):
    """A refusal of what works after all is to go."""
    config = random_model(name).config
    cannot = (compiled and architecture_of(config).why_not_compiled(config)) or why_not_in(precision, config)
    # A loss that is NaN fails the assertion that it falls.
    failure = pytest.raises((TypeError, ValueError, AssertionError, tf.errors.OpError))
    with failure if cannot else contextlib.nullcontext():
        losses = train_in(precision, compiled, 2, name, {})
        # Some learn the few blocks by heart in the first epoch.
        assert losses[1] < max(losses[0], 0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Devices.visible().bfloat16, reason="no CPU that multiplies bfloat16")
@pytest.mark.parametrize("name", REWRITTEN)
def test_it_trains_in_a_rewritten_graph(name):
    """The loss of the first steps is that in float32, but for what bfloat16 rounds."""
    plain = train_in("float32", False, 1, name, {}, learning_rate=1e-3)
    rewritten = train_in("mixed_bfloat16", False, 1, name, {}, in_graph=True, learning_rate=1e-3)
    assert rewritten != plain
    assert rewritten[0] == pytest.approx(plain[0], rel=0.05, abs=1e-3)
