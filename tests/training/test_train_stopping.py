"""What ends a training early, what it keeps then, and what it tells of itself on the way."""

import json
import math
import random
import re

import numpy as np
import pytest
import tensorflow as tf

from components.hub.access import HubTarget
from components.masking.masking import MaskingCollator, max_predictions
from components.modeling.checkpoint import load_masked_lm
from components.publishing.uploads_during_training import FINAL_MESSAGE, UploadsDuringTraining
from components.training.batches import batches, in_training_order
from components.training.training_model import MaskedLMTraining
from foundation.errors import DataError, ModelError
from tests.loopback_hub.fixtures import running_hub  # noqa: F401 (a fixture)
from tests.training.tiny_training import (
    BLOCK_SIZE,
    equal,
    history_of,
    small_step,
    train,
    weights_of,
    write_blocks,
    write_tokenizer,
)

FLAUBERT = {"emb_dim": 16, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 32}
OVERFITTING = {
    "epochs": 40,
    "learning_rate": 1e-2,
    "early_stopping_patience": 2,
    "load_best_model_at_end": True,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), train=42, test=9)


@pytest.fixture(scope="module")
def stopped(blocks, tokenizer, tmp_path_factory):
    """The few tokens of the train blocks are learnt by heart, and those of the test blocks get less likely."""
    return train(blocks, tokenizer, tmp_path_factory.mktemp("stopped") / "out", **OVERFITTING)


def validation_loss(directory, blocks, tokenizer):
    model = load_masked_lm(directory)
    training = MaskedLMTraining(model, max_predictions(BLOCK_SIZE, 0.15))
    training.compile()
    frozen = MaskingCollator(tokenizer.load(), 0.15, 42, frozen=True)
    return training.evaluate(batches(model, blocks.split("test"), 4, frozen), verbose=0)


def test_early_stopping_keeps_the_best_epoch(stopped, blocks, tokenizer):
    rows, report = stopped.read_json("history.json"), stopped.read_json("report.json")
    losses = [row["val_loss"] for row in rows]
    best = int(np.argmin(losses))
    assert len(rows) == best + 1 + OVERFITTING["early_stopping_patience"] < OVERFITTING["epochs"]
    assert (report["best_epoch"], report["saved_epoch"]) == (best + 1, best + 1)
    assert (report["steps"], report["planned_steps"]) == (10 * len(rows), 400)
    assert f"kept: epoch {best + 1}" in stopped.summary
    loss = validation_loss(stopped.model_directory, blocks, tokenizer)
    assert loss == pytest.approx(losses[best], rel=1e-5)
    assert loss < losses[-1]


def test_validation_needs_a_test_split(tokenizer, tmp_path):
    few = write_blocks(tmp_path / "blocks", train=8, test=0)
    with pytest.raises(DataError, match=r"with train\.load_best_model_at_end, .* must have.*ingest\.test_size"):
        train(few, tokenizer, tmp_path / "out", load_best_model_at_end=True)


def test_rows_of_steps(stopped):
    rows = stopped.read_json("history_steps.json")
    steps = stopped.read_json("report.json")["steps"]
    assert [row["step"] for row in rows] == list(range(4, steps + 1, 4))  # of 400 planned
    epochs = stopped.read_json("history.json")
    for number in range(len(rows) // 5):
        five, pair = rows[5 * number : 5 * number + 5], epochs[2 * number : 2 * number + 2]  # 20 steps each
        for name, tolerance in (("loss", 0.1), ("gradient_norm", 1e-5)):  # an epoch's loss weighs by labels
            assert np.mean([row[name] for row in five]) == pytest.approx(
                np.mean([epoch[name] for epoch in pair]), rel=tolerance
            )
        assert five[-1]["learning_rate"] == pair[1]["learning_rate"]
    report = stopped.read_json("report.json")
    assert report["measured_peak_tflops"] > 0
    for row in (*rows, *epochs):
        assert row["perplexity"] == pytest.approx(math.exp(row["loss"]))
        steps_a_second = row["tokens_per_second"] / (4 * BLOCK_SIZE)
        assert row["tflops_per_second"] == pytest.approx(steps_a_second * report["flops_a_step"] / 1e12)


def events(directory):
    """Scalars by tag, (step, value) each, in the order of the files."""
    found = {}
    for path in sorted(directory.glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def test_tensorboard_has_the_rows(stopped):
    told = events(stopped.directory / "logs" / "train")
    rows = stopped.read_json("history_steps.json")
    assert told.keys() == rows[0].keys() - {"step"}
    for name, values in told.items():
        assert [step for step, _ in values] == [row["step"] for row in rows]
        np.testing.assert_allclose([value for _, value in values], [row[name] for row in rows], rtol=1e-6)
    told = events(stopped.directory / "logs" / "validation")
    rows = stopped.read_json("history.json")
    assert told["loss"] == [(row["step"], pytest.approx(row["val_loss"])) for row in rows]


def test_a_given_peak_is_what_the_terminal_shows_the_utilisation_of(blocks, tokenizer, tmp_path, capsys):
    made = train(blocks, tokenizer, tmp_path / "out", epochs=1, peak_tflops=1e3)
    [row] = made.read_json("history.json")
    assert f"MFU {row['tflops_per_second'] / 1e3:.1%}" in capsys.readouterr().out
    assert made.read_json("report.json")["measured_peak_tflops"] > 1e-3


@pytest.fixture
def broken_at_step_14(monkeypatch):
    """A fault of the arithmetic at one step: no number comes out."""
    total_loss = MaskedLMTraining.total_loss

    def broken(self, batch, training, **keywords):
        total, count = total_loss(self, batch, training, **keywords)
        if training:
            total = tf.where(self.optimizer.iterations == 13, math.nan, total)
        return total, count

    monkeypatch.setattr(MaskedLMTraining, "total_loss", broken)


def test_no_number_names_step_blocks_and_checkpoint(broken_at_step_14, blocks, tokenizer, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ModelError) as raised:
        train(blocks, tokenizer, out, checkpoint_every_steps=5, learning_rate=1e-3)
    message = str(raised.value)
    assert "NaN or infinity, from step 14 of 20 on" in message
    named = re.search(r"the train blocks ([\d, ]+)\.", message).group(1).split(", ")
    assert [int(block) for block in named] == in_training_order(42, 2, 40, 42)[52:56].tolist()
    assert f"of step 10, can be trained further by --train.pretrained {out / 'last_good'}" in message
    # And so it can.
    settings = {"pretrained": str(out / "last_good"), "model_type": None, "model_config": {}, "max_steps": 2}
    further = train(blocks, tokenizer, tmp_path / "further", **settings)
    assert equal(weights_of(further.initial_directory), weights_of(out / "last_good"))
    # What is left is gone on from, to the same end.
    assert small_step(blocks, tokenizer, learning_rate=1e-3).resumes(out).startswith("step 10 of 20")
    with pytest.raises(ModelError, match="step 14 of 20"):
        train(blocks, tokenizer, out, checkpoint_every_steps=5, learning_rate=1e-3)


@pytest.mark.slow
def test_too_little_memory_is_told(monkeypatch, blocks, tokenizer, tmp_path):
    """A step asks for 128 TiB."""
    total_loss = MaskedLMTraining.total_loss

    def greedy(self, batch, training, **keywords):
        total, count = total_loss(self, batch, training, **keywords)
        if training:
            size = 2**45 + self.optimizer.iterations
            total += tf.reduce_sum(tf.random.uniform([size]))
        return total, count

    monkeypatch.setattr(MaskedLMTraining, "total_loss", greedy)
    remedy = r"--train\.batch_size.*--train\.gradient_accumulation_steps.*--train\.gradient_checkpointing true"
    with pytest.raises(ModelError, match=rf"CPU:0 with batches of 4 blocks\. Way out: lower {remedy}") as raised:
        train(blocks, tokenizer, tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_a_damaged_best_epoch_leaves_the_last(blocks, tokenizer, tmp_path, monkeypatch, caplog):
    """The run was cut off at the end of training, so that no other epoch comes."""
    import components.train as module

    step = small_step(blocks, tokenizer, checkpoint_every_steps=10, load_best_model_at_end=True)
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step.run(out)
    for best in (out / "checkpoints").glob("best-*"):
        next(best.glob("variables.data*")).unlink()
    step.run(out)
    assert "is damaged: only the epochs to come count" in caplog.text
    report = json.loads((out / "report.json").read_text())
    assert (report["best_epoch"], report["saved_epoch"]) == (None, 2)
    assert "kept" not in report["summary"]


def test_chance_begins_with_the_first_step(blocks, tokenizer, tmp_path, monkeypatch):
    """What is drawn while the step is traced, Flaubert's LayerDrop, hangs on nothing that was made before."""
    drawn = []

    def fit(self, *_, **__):
        drawn.extend((random.random(), np.random.random()))
        raise KeyboardInterrupt

    monkeypatch.setattr(MaskedLMTraining, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        train(blocks, tokenizer, tmp_path / "out", seed=7, model_type="flaubert", model_config=FLAUBERT)
    assert drawn == [random.Random(7).random(), np.random.RandomState(7).random_sample()]


def test_weights_that_are_no_numbers_make_no_checkpoint(broken_at_step_14, blocks, tokenizer, tmp_path):
    """A checkpoint is due at the very step whose update broke them."""
    with pytest.raises(ModelError, match="step 14 of 20 on"):
        train(blocks, tokenizer, tmp_path / "out", checkpoint_every_steps=7)
    assert [path.name for path in (tmp_path / "out" / "checkpoints").iterdir()] == ["step-7"]


def test_a_final_upload_is_made_once(hub, blocks, tokenizer, tmp_path, monkeypatch):
    """Cut off after it, the run goes on from the end of training, and what is there is not sent again."""
    import dataclasses

    import components.train as module

    uploads = UploadsDuringTraining(HubTarget("resumed"), "mit")
    step = dataclasses.replace(small_step(blocks, tokenizer, checkpoint_every_steps=7), observer=uploads)
    out = tmp_path / "out"
    out.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            step.run(out)
    assert step.resumes(out) == "step 20 of 20"
    commits = [subject for _, subject in hub.repositories["ada/resumed"].log()]
    step.run(out)
    assert [subject for _, subject in hub.repositories["ada/resumed"].log()] == commits
    assert commits.count(FINAL_MESSAGE) == 1
    assert not any("resumed" in path.read_text("utf-8", "replace") for path in out.rglob("*") if path.is_file())
    assert len(history_of(out)) == 2
