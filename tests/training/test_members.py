"""Processes that train together make what one would make, whichever of them dies."""

import dataclasses
import functools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from components.modeling.checkpoint import load_masked_lm
from foundation.errors import ConfigError, ModelError
from tests.finished import finish
from tests.training.gang import Gang, GangFailed
from tests.training.tiny_training import (
    SIZES,
    equal,
    history_of,
    small_step,
    weights_of,
    write_blocks,
    write_documents,
    write_tokenizer,
)

pytestmark = pytest.mark.timeout(900)

TRAIN_BLOCKS, TEST_BLOCKS = 42, 9
EVERY = 4
SETTINGS = {
    "epochs": 3,
    "max_grad_norm": 0.1,
    "ema_decay": 0.5,
    "load_best_model_at_end": True,
    # Where the gradient is next to nothing, rounding would decide about the sign of Adam's step.
    "adam_epsilon": 1e-4,
    "warmup_ratio": 0.2,
    "precision": "float32",
}
ONE_AND_TWO = {
    **SETTINGS,
    "epochs": 2,
    "batch_size": 8,
    "gradient_accumulation_steps": 2,
    "model_config": {**SIZES, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
}
OFTEN = {**SETTINGS, "checkpoint_every_steps": EVERY}
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    return write_blocks(tmp_path_factory.mktemp("blocks"), TRAIN_BLOCKS, TEST_BLOCKS)


@dataclasses.dataclass(frozen=True)
class Watching:
    """An observer that leaves the number of each process that calls it."""

    place: Path

    def preflight(self):
        pass

    def training_begins(self, training):
        return self

    def epoch_ends(self, epoch, is_last):
        self.training_ends()

    def training_ends(self):
        with open(self.place, "a") as file:
            file.write(f"{json.loads(os.environ['TF_CONFIG'])['task']['index']}\n")


def train_together(step, out, **how):
    """Trains in two processes."""
    out.mkdir(exist_ok=True)
    gang = Gang(2, **how)
    step.run_with(out, gang)
    return gang


def files_of(out):
    """What an artifact has, but for what has a time or the machine in its name."""
    paths = {path.relative_to(out) for path in out.rglob("*") if path.is_file() and "checkpoints" not in path.parts}
    return {path if "tfevents" not in path.name else path.parent / "events" for path in paths}


def assert_close(out, expected, **tolerance):
    tolerance = tolerance or TOLERANCE
    for one, other in zip(weights_of(out / "model"), weights_of(expected / "model"), strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    for name in ("history.json", "history_steps.json"):
        for one, other in zip(history_of(out, name), history_of(expected, name), strict=True):
            assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_blocks, write_documents])
def test_two_processes_train_as_one(write, tokenizer, tmp_path):
    """With dropout, in parts, clipped, averaged; the last batch of the validation is one block, which one has.

    Batches of documents are as long in both processes, whichever has the longest.
    """
    blocks = write(tmp_path / "blocks", TRAIN_BLOCKS, TEST_BLOCKS)
    one, two, seen = tmp_path / "one", tmp_path / "two", tmp_path / "seen"
    step = small_step(blocks, tokenizer, **ONE_AND_TWO)
    one.mkdir()
    step.run(one)
    gang = train_together(dataclasses.replace(step, observer=Watching(seen)), two)
    assert gang.codes == [[0, 0]]
    assert_close(two, one)
    assert equal(weights_of(two / "initial"), weights_of(one / "initial"))
    moved = zip(weights_of(one / "model"), weights_of(one / "initial"), strict=True)
    assert max(np.abs(after - before).max() for after, before in moved) > 500 * TOLERANCE["atol"]
    assert files_of(two) == files_of(one)
    # The chief alone shows how it goes, and tells the observer: of each epoch, and of the end.
    assert "2 replicas on 2 workers" in gang.outputs[0]
    assert "epoch 2/2" in gang.outputs[0]
    assert "epoch" not in gang.outputs[1]
    assert seen.read_text().split() == ["0", "0", "0"]
    reports = [finish(out, step.output).report for out in (one, two)]
    assert [(each.execution.workers, each.execution.replicas) for each in reports] == [(1, 1), (2, 2)]
    assert reports[1].execution.devices == ("worker 0 CPU:0", "worker 1 CPU:0")
    assert reports[0].tokens_seen == reports[1].tokens_seen
    assert reports[0].flops_a_step == reports[1].flops_a_step
    # 4 bytes of each weight that has a gradient.
    assert {each.execution.gradient_bytes for each in reports} == {4 * reports[0].trained_parameters}


@pytest.fixture(scope="module")
def left_alone(blocks, tokenizer, tmp_path_factory):
    """What two processes make that nobody disturbs."""
    out = tmp_path_factory.mktemp("alone") / "out"
    assert train_together(small_step(blocks, tokenizer, **OFTEN), out).codes == [[0, 0]]
    return out


def dying(deaths, start, member):
    """Has a process die by SIGKILL at a step, or while it writes a checkpoint, as `deaths` says for each start."""
    import components.training.step_checkpoints as step_checkpoints
    import components.training.stopping as stopping

    rank, place, at = deaths.get(start, (None, None, None))
    if member.rank != rank:
        return
    counted, written = stopping.StopAt.on_train_batch_end, step_checkpoints.manifest.write

    def count(callback, *arguments):
        if place == "step" and callback.step + 1 == at:
            os.kill(os.getpid(), signal.SIGKILL)
        counted(callback, *arguments)

    def write(directory, facts, **options):
        if place == "write" and facts.get("step") == at:
            os.kill(os.getpid(), signal.SIGKILL)
        written(directory, facts, **options)

    stopping.StopAt.on_train_batch_end = count
    step_checkpoints.manifest.write = write


@pytest.mark.slow
def test_killed_again_and_again(blocks, tokenizer, left_alone, tmp_path):
    """Whoever is left ends by itself, and soon; all then start anew, and what they make is what it would have been."""
    deaths = {1: (1, "step", 6), 2: (0, "write", 12)}
    step = small_step(blocks, tokenizer, **OFTEN)
    gang = train_together(step, tmp_path / "out", most_starts=3, prepare=functools.partial(dying, deaths))
    assert gang.codes == [[1, -signal.SIGKILL], [-signal.SIGKILL, 1], [0, 0]]
    assert equal(weights_of(tmp_path / "out" / "model"), weights_of(left_alone / "model"))
    for name in ("history.json", "history_steps.json"):
        assert history_of(tmp_path / "out", name) == history_of(left_alone, name)
    assert files_of(tmp_path / "out") == files_of(left_alone)


def terminating(step, start, member):
    """Has the chief be asked to end, as a machine that is taken away does it, at a step."""
    import components.training.stopping as stopping
    from foundation.termination import TERMINATION

    TERMINATION.interrupt("ended at once")
    counted = stopping.StopAt.on_train_batch_end

    def count(callback, *arguments):
        counted(callback, *arguments)
        if callback.step == step and member.is_chief:
            os.kill(os.getpid(), signal.SIGTERM)

    stopping.StopAt.on_train_batch_end = count


@pytest.mark.slow
def test_an_interrupted_chief_writes_a_checkpoint_and_one_process_goes_on(blocks, tokenizer, left_alone, tmp_path):
    """The chief decides by its own clock; another number of processes goes on within tolerance."""
    step = small_step(blocks, tokenizer, **SETTINGS)
    with pytest.raises(GangFailed, match="MemberLost"):
        train_together(step, tmp_path / "out", most_starts=1, prepare=functools.partial(terminating, 7))
    assert step.resumes(tmp_path / "out") == "step 7 of 30"
    step.run(tmp_path / "out")
    assert_close(tmp_path / "out", left_alone)


def due_and_bad(bad_step, start, member):
    """Checkpoints are due all the time by the chief's clock alone; and a loss is none, which all see."""
    import components.training.loss_watch as loss_watch
    import components.training.resuming as resuming

    seen = loss_watch.LossWatch.see
    resuming.Schedule.is_due = lambda schedule, now: member.is_chief
    loss_watch.LossWatch.see = lambda watch, step, loss: seen(watch, step, loss if step < bad_step else np.nan)


@pytest.mark.slow
def test_the_chief_alone_decides_about_checkpoints_and_a_loss_that_goes_wrong(blocks, tokenizer, tmp_path):
    step = small_step(blocks, tokenizer, **SETTINGS)
    with pytest.raises(ModelError, match=r"the training loss must.*NaN.*from step 9 .*checkpoint, of step 8,"):
        train_together(step, tmp_path / "out", prepare=functools.partial(due_and_bad, 9))
    assert len(list((tmp_path / "out" / "checkpoints").glob("step-*"))) > 1
    assert weights_of(tmp_path / "out" / "last_good")


def unlike(start, member):
    """One of the processes has other libraries than the chief."""
    from components.contract import manifest

    versions = manifest.library_versions()
    if not member.is_chief:
        manifest.library_versions = lambda: {**versions, "tensorflow": "2.0"}


@pytest.mark.slow
def test_processes_that_are_not_alike_are_refused(blocks, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=r"be alike.*: tensorflow '2\.\d+.*' of worker 0 and '2\.0' of worker 1\."):
        train_together(small_step(blocks, tokenizer), tmp_path / "out", prepare=unlike)


def any_table(start, member):
    """Also a small table's rows travel in its place."""
    import components.training.replicas as replicas

    replicas.SMALL_TABLE_BYTES = 0


@pytest.mark.slow
def test_rows_of_a_table_travel_in_its_place(blocks, tokenizer, tmp_path):
    """Of word embeddings that the output layer doesn't share, where a step has fewer tokens than the vocabulary."""
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32,
        "vocab_size": 100,
    }
    how = {"model_type": "eurobert", "model_config": sizes, "batch_size": 4, "epochs": 1}
    step = small_step(blocks, tokenizer, **{**SETTINGS, **how})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    step.run(tmp_path / "one")
    train_together(step, tmp_path / "two", prepare=any_table)
    # Stock transformers has no EuroBERT.
    trained, expected = (load_masked_lm(tmp_path / name / "model").get_weights() for name in ("two", "one"))
    for weight, other in zip(trained, expected, strict=True):
        np.testing.assert_allclose(weight, other, **TOLERANCE)
    one, two = (finish(tmp_path / name, step.output).report for name in ("one", "two"))
    # Half of 4 x 16 tokens, with the number of each beside its 16 values.
    assert two.execution.gradient_bytes == one.execution.gradient_bytes - 100 * 16 * 4 + 64 // 2 * (16 * 4 + 8)
