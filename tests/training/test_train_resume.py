"""A training that is killed, wherever that is, and started again ends as one that was left alone."""

import multiprocessing
import os
import random
import re
import shutil
import signal
from pathlib import Path

import pytest

from components.contract.artifacts import Blocks, Tokenizer
from tests.training.tiny_training import equal, history_of, small_step, weights_of, write_blocks, write_tokenizer

# Each training is a process of its own, forked from one that has imported what takes long.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    ["components", "tensorflow", "datasets", "transformers.models.roformer.modeling_tf_roformer", "tiny_training"]
)

STEPS, EVERY = 30, 4
SETTINGS = {
    "epochs": 3,
    "checkpoint_every_steps": EVERY,
    "load_best_model_at_end": True,
    "ema_decay": 0.9,
    "warmup_ratio": 0.2,
    "max_grad_norm": 1.0,
}


def run(inputs: Path, out: Path, settings: dict, death: tuple[str, int] | None) -> None:
    """Trains in this process, and dies by SIGKILL at a place and step, if told to."""
    import components.train as train
    import components.training.fit as fit
    import components.training.step_checkpoints as step_checkpoints
    import components.training.stopping as stopping

    fit.steps_a_row = lambda steps: 3  # so that a checkpoint falls between two rows

    def die_at(owner, name, place, step_of):
        called = getattr(owner, name)

        def dying(*arguments, **keywords):
            if death == (place, step_of(*arguments)):
                os.kill(os.getpid(), signal.SIGKILL)
            return called(*arguments, **keywords)

        setattr(owner, name, dying)

    die_at(stopping.StopAt, "on_train_batch_end", "step", lambda callback, *_: callback.step + 1)
    die_at(step_checkpoints.manifest, "write", "write", lambda directory, facts: facts.get("step"))
    die_at(step_checkpoints.os, "rename", "rename", lambda source, _: step_in(source))
    die_at(step_checkpoints.StepCheckpoints, "_prune", "prune", lambda _, name: step_in(name))
    die_at(train, "write_rows", "end", lambda *_: 0)
    small_step(Blocks(inputs / "blocks"), Tokenizer(inputs / "tokenizer"), **settings).run(out)


def step_in(name) -> int | None:
    """The step in a checkpoint's name; None for the best epochs'."""
    found = Path(name).name.removesuffix(".partial").removeprefix("step-")
    return int(found) if found.isdecimal() else None


def train_in_a_process(inputs, out, settings=None, death=None):
    """Trains, and returns how the process ended: 0, or minus the signal that killed it."""
    out.mkdir(exist_ok=True, parents=True)
    process = processes.Process(target=run, args=(inputs, out, {**SETTINGS, **(settings or {})}, death))
    process.start()
    process.join()
    return process.exitcode


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_blocks(directory / "blocks", train=42, test=9)
    write_tokenizer(directory / "tokenizer")
    return directory


@pytest.fixture(scope="module")
def left_alone(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out"
    assert train_in_a_process(inputs, out) == 0
    return out


def check_equal(left_alone, out):
    assert equal(weights_of(left_alone / "model"), weights_of(out / "model"))
    assert equal(weights_of(left_alone / "initial"), weights_of(out / "initial"))
    for name in ("history.json", "history_steps.json"):
        assert history_of(left_alone, name) == history_of(out, name)
    # Which checkpoints are left depends on where the training began: the runner removes them.
    files, others = (
        {path.relative_to(made) for path in made.rglob("*") if not re.search("events|checkpoints", str(path))}
        for made in (left_alone, out)
    )
    assert files == others


@pytest.mark.slow
def test_killed_again_and_again(inputs, left_alone, tmp_path):
    """At a step, while a checkpoint is written, and at the end; the newest checkpoint is damaged on the way."""
    out = tmp_path / "out"

    def die(place, step):
        assert train_in_a_process(inputs, out, death=(place, step)) == -signal.SIGKILL

    die("step", 7)
    die("write", 12)
    check_what_is_told(inputs, out)
    # As by a disk that lost power: the newest checkpoint is cut short, and the one before it is there.
    data = out / "checkpoints" / "step-8" / "variables.data-00000-of-00001"
    os.truncate(data, data.stat().st_size // 2)
    assert this_step(inputs).resumes(out) == "step 4 of 30, because step-8 can't be used"
    die("end", 0)
    assert (out / "checkpoints" / "step-8.damaged").is_dir()
    # With none to come: how often is no part of what is trained.
    assert train_in_a_process(inputs, out, {"checkpoint_every_steps": None}) == 0
    check_equal(left_alone, out)


def this_step(inputs, **settings):
    return small_step(Blocks(inputs / "blocks"), Tokenizer(inputs / "tokenizer"), **{**SETTINGS, **settings})


def check_what_is_told(inputs, out):
    """How far it came, for the same settings and for others."""
    same, other = this_step(inputs), this_step(inputs, learning_rate=1e-4, seed=1)
    assert same.resumes(out) == "step 8 of 30"
    assert other.resumes(out) == "step 8 of 30 with train.learning_rate 0.001, train.seed 42"
    assert same.resumes(out.parent) is None
    # What changes nothing in the model is no part of the key; what does is.
    oftener = this_step(inputs, checkpoint_every_steps=2)
    assert oftener.resumes(out) == same.resumes(out)
    assert oftener.key({}) == same.key({}) != other.key({})


@pytest.mark.slow
def test_muon_goes_on_exactly(inputs, tmp_path):
    """Its matrices have other moments than the rest of the weights."""
    muon = {"optimizer": "muon", "gradient_accumulation_steps": 2, "epochs": 5}
    assert train_in_a_process(inputs, tmp_path / "alone", muon) == 0
    assert train_in_a_process(inputs, tmp_path / "out", muon, ("step", 7)) == -signal.SIGKILL
    assert train_in_a_process(inputs, tmp_path / "out", muon) == 0
    check_equal(tmp_path / "alone", tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random(inputs, left_alone, tmp_path, seed):
    chance = random.Random(seed)
    steps = sorted(chance.sample(range(1, STEPS + 1), 5))
    written = [step for step in range(1, STEPS + 1) if step % EVERY == 0 or step == STEPS]
    reached = 0
    for step in (step for step in steps if step > reached):
        later = [place for place in written if place >= step]
        death = chance.choice([("step", step), *((what, later[0]) for what in ("write", "rename", "prune"))])
        assert train_in_a_process(inputs, tmp_path / "out", death=death) == -signal.SIGKILL, death
        reached = death[1]  # an earlier step may not come again
    assert train_in_a_process(inputs, tmp_path / "out") == 0
    check_equal(left_alone, tmp_path / "out")


def test_killed_between_the_report_and_the_manifest(inputs, left_alone, tmp_path):
    """Nothing is left to do but to write the manifest."""
    out = tmp_path / "out"
    shutil.copytree(left_alone, out)
    weights = (out / "model" / "tf_model.h5").stat()
    step = this_step(inputs)
    assert step.resumes(out) == "its end"
    step.run(out)
    assert (out / "model" / "tf_model.h5").stat() == weights


def interrupted(inputs, out, settings, number, at_step):
    """Trains in this process, which a signal is sent to after a step."""
    import components.training.stopping as stopping
    from foundation.errors import PipelineError
    from foundation.termination import TERMINATION, number_of

    TERMINATION.interrupt("ended at once")
    counted = stopping.StopAt.on_train_batch_end

    def counting(callback, *arguments):
        counted(callback, *arguments)
        if callback.step == at_step:
            os.kill(os.getpid(), number)

    stopping.StopAt.on_train_batch_end = counting
    step = small_step(Blocks(inputs / "blocks"), Tokenizer(inputs / "tokenizer"), **settings)
    try:
        step.run(out)
    except KeyboardInterrupt as interrupt:
        os._exit(128 + number_of(interrupt))
    except PipelineError:
        os._exit(1)


@pytest.mark.parametrize(
    ("number", "at_step"),
    [pytest.param(signal.SIGTERM, 7, marks=pytest.mark.slow), pytest.param(signal.SIGINT, 10, marks=pytest.mark.slow)],
)
def test_an_interrupt_writes_a_checkpoint_to_go_on_from(inputs, left_alone, tmp_path, number, at_step):
    """Within an epoch, and at its last step, whose validation comes first."""
    out, seldom = tmp_path / "out", {**SETTINGS, "checkpoint_every_steps": "auto"}
    out.mkdir()
    process = processes.Process(target=interrupted, args=(inputs, out, seldom, number, at_step))
    process.start()
    process.join()
    assert process.exitcode == 128 + number
    assert this_step(inputs).resumes(out) == f"step {at_step} of 30"
    assert train_in_a_process(inputs, out) == 0
    assert equal(weights_of(left_alone / "model"), weights_of(out / "model"))
    assert history_of(left_alone) == history_of(out)


@pytest.mark.slow
def test_whoever_wants_no_checkpoints_gets_none_at_an_interrupt(inputs, tmp_path):
    never = {**SETTINGS, "checkpoint_every_steps": None}
    process = processes.Process(target=interrupted, args=(inputs, tmp_path, never, signal.SIGTERM, 3))
    process.start()
    process.join()
    assert process.exitcode == 143
    assert this_step(inputs).resumes(tmp_path) is None


def damage(directory):
    """Changes one bit of a checkpoint's weights."""
    [data] = directory.glob("variables.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damaged", "goes_on"),
    [
        (["step-8"], "step 4 of 30, because step-8 can't be used"),
        (["step-4", "step-8"], "its start, because step-8 and step-4 can't be used"),
    ],
)
def test_what_is_damaged_is_named_and_set_aside(inputs, left_alone, tmp_path, damaged, goes_on):
    """Training goes on from the one before, or from the start, as was said; and it ends as one that was left alone."""
    out = tmp_path / "out"
    assert train_in_a_process(inputs, out, death=("step", 10)) == -signal.SIGKILL
    for name in damaged:
        damage(out / "checkpoints" / name)
    assert this_step(inputs).resumes(out) == goes_on
    assert train_in_a_process(inputs, out, {"checkpoint_every_steps": None}, death=("end", 0)) == -signal.SIGKILL
    assert sorted(path.name for path in (out / "checkpoints").glob("step-*.damaged")) == [
        f"{name}.damaged" for name in damaged
    ]
    # What was set aside stays until the training is finished, even where it began at its start.
    assert this_step(inputs).resumes(out) in ("step 4 of 30", "its start")
    assert train_in_a_process(inputs, out) == 0
    check_equal(left_alone, out)
