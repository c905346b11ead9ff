"""What counts as the time of training, by a clock that the test sets."""

import types

import pytest
import tensorflow as tf

from components.training import telemetry as telemetry_module
from components.training.loss_watch import LossWatch
from components.training.progress import Progress
from components.training.stages import Stage, Stages
from components.training.telemetry import Telemetry

FIRST_STEP, STEP, VALIDATION = 50.0, 2.0, 1000.0


class Clock:
    """Seconds, as the test says."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(telemetry_module, "time", clock)
    return clock


ALIKE = Stages((Stage(0, blocks=4, predictions=2, tokens=100, flops=1e12 * STEP),))


def begun(directory, steps_a_row, peaks=(1e12,), stages=ALIKE):
    telemetry = Telemetry(
        directory / "logs",
        steps_a_row=steps_a_row,
        steps_per_epoch=10,
        stages=stages,
        measure_peak=iter(peaks).__next__,
        watch=LossWatch(2.0),
        progress=Progress(10, 1),
    )
    telemetry.set_model(types.SimpleNamespace(optimizer=tf.keras.optimizers.Adam(0.1)))
    telemetry.on_train_begin()
    return telemetry


def steps(telemetry, clock, count):
    for batch in range(count):
        telemetry.on_train_batch_begin(batch)
        clock.now += FIRST_STEP if batch == 0 else STEP
        telemetry.on_train_batch_end(batch, {"step_loss": tf.constant(1.0), "gradient_norm": tf.constant(1.0)})


def test_the_first_step_is_no_part_of_the_rate(clock, tmp_path):
    """It is traced and compiled."""
    telemetry = begun(tmp_path, steps_a_row=2)
    steps(telemetry, clock, 4)
    assert [row["tokens_per_second"] for row in telemetry.step_rows] == [pytest.approx(100 / STEP)] * 2
    telemetry.on_epoch_end(0, {"loss": 1.0})
    row = telemetry.rows[0]
    assert row["tokens_per_second"] == pytest.approx(100 / STEP)
    assert row["seconds"] == pytest.approx(FIRST_STEP + 3 * STEP)


def test_an_epoch_without_validation_tells_the_perplexity_of_training(clock, tmp_path, capsys):
    telemetry = begun(tmp_path, steps_a_row=20)
    steps(telemetry, clock, 3)
    telemetry.on_epoch_end(0, {"loss": 1.0})
    assert "epoch 1/1: loss 1.000, perplexity 2.718, learning rate" in capsys.readouterr().out
    steps(telemetry, clock, 3)
    telemetry.on_epoch_end(1, {"loss": 1.0, "val_loss": 2.0})
    assert "loss 1.000, validation 2.000, perplexity 7.389, learning rate" in capsys.readouterr().out
    steps(telemetry, clock, 3)
    telemetry.on_epoch_end(2, {"loss": 1.0, "val_loss": 701.0})
    assert "validation 701.0, perplexity above 1e300, learning rate" in capsys.readouterr().out


def test_a_row_of_the_first_step_alone_has_its_rate(clock, tmp_path):
    telemetry = begun(tmp_path, steps_a_row=1)
    steps(telemetry, clock, 2)
    rates = [row["tokens_per_second"] for row in telemetry.step_rows]
    assert rates == [pytest.approx(100 / FIRST_STEP), pytest.approx(100 / STEP)]


def test_validation_after_an_epoch_that_ends_early_is_no_part_of_it(clock, tmp_path):
    telemetry = begun(tmp_path, steps_a_row=20)
    steps(telemetry, clock, 3)
    telemetry.on_test_begin()
    clock.now += VALIDATION
    telemetry.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    assert telemetry.rows[0]["seconds"] == pytest.approx(FIRST_STEP + 2 * STEP)


def test_a_stage_of_larger_steps_has_their_tokens_and_is_traced_by_itself(clock, tmp_path):
    stages = Stages((Stage(0, 2, 2, tokens=50, flops=1e12), Stage(3, 4, 2, tokens=100, flops=4e12)))
    telemetry = begun(tmp_path, steps_a_row=2, stages=stages)
    for batch, seconds in enumerate((FIRST_STEP, 1.0, 1.0, FIRST_STEP, 4.0, 4.0)):
        telemetry.on_train_batch_begin(batch)
        clock.now += seconds
        telemetry.on_train_batch_end(batch, {"step_loss": tf.constant(1.0), "gradient_norm": tf.constant(1.0)})
    assert [row["tokens_per_second"] for row in telemetry.step_rows] == pytest.approx([50, 50, 25])
    assert [row["tflops_per_second"] for row in telemetry.step_rows] == pytest.approx([1, 1, 1])
    telemetry.on_epoch_end(0, {"loss": 1.0})
    assert telemetry.rows[0]["tokens_per_second"] == pytest.approx((2 * 50 + 2 * 100) / 10)


@pytest.mark.parametrize(
    ("peaks", "measured", "told"),
    [
        ((4e12,), 4.0, "MFU 25.0%"),
        ((3e10, 2e12), 2.0, "MFU 50.0%"),  # something else kept the devices busy when it was first measured
        ((3e10, 2e10), 0.03, None),  # and still does
    ],
)
def test_no_utilization_is_above_the_peak(clock, tmp_path, capsys, peaks, measured, told):
    telemetry = begun(tmp_path, steps_a_row=2, peaks=peaks)
    steps(telemetry, clock, 4)  # 1 teraflop a second
    telemetry.on_epoch_end(0, {"loss": 1.0})
    assert telemetry.measured_peak_tflops == measured
    said = capsys.readouterr().out
    assert told in said if told else "MFU" not in said
