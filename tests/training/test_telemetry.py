"""What counts as the time of training, by a clock that the test sets."""

import types

import pytest
import tensorflow as tf

from components.training import telemetry as telemetry_module
from components.training.loss_watch import LossWatch
from components.training.progress import Progress
from components.training.telemetry import Telemetry, Window

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


def begun(directory, steps_a_row):
    telemetry = Telemetry(
        directory / "logs",
        steps_a_row=steps_a_row,
        steps_per_epoch=10,
        tokens_a_step=100,
        flops_a_step=1.0,
        measured_peak_tflops=1.0,
        watch=LossWatch(2.0),
        progress=Progress(10, 1, 1.0),
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


def test_a_state_from_before_there_were_untimed_steps(tmp_path):
    old = Window(steps=3, finite=3, loss=3.0, gradient_norm=3.0, seconds=6.0)
    assert Window(**{name: value for name, value in vars(old).items() if "untimed" not in name}).steps_a_second() == 0.5
