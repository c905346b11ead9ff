"""A training that goes on from a finished one ends as the one that all its epochs at once would be."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.artifacts import Blocks, Checkpoint, Tokenizer
from components.training.params import training_steps
from components.training.step_checkpoints import StepCheckpoints
from foundation.errors import ArtifactError, ConfigError
from tests.training.tiny_training import equal, history_of, small_step, weights_of, write_blocks, write_tokenizer

SETTINGS = {
    "lr_scheduler_type": "constant",
    "warmup_steps": 3,
    "checkpoint_every_steps": None,
    "load_best_model_at_end": True,
    "ema_decay": 0.9,
    "max_grad_norm": 1.0,
}
STEPS_PER_EPOCH = 10


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Blocks and a tokenizer, and the place of the artifacts of trainings."""
    directory = tmp_path_factory.mktemp("root")
    write_blocks(directory / "blocks", train=42, test=9)
    write_tokenizer(directory / "tokenizer")
    (directory / "train").mkdir()
    return directory


def step_of(root: Path, **settings):
    step = small_step(Blocks(root / "blocks"), Tokenizer(root / "tokenizer"), **{**SETTINGS, **settings})
    return dataclasses.replace(step, trainings=root / "train")


def make(root: Path, step, where: Path | None = None) -> Checkpoint:
    """Runs a step, as a runner does, into the artifact of its key, or elsewhere."""
    sources = step.sources()
    directory = where or root / "train" / step.key(sources)[:16]
    directory.mkdir(exist_ok=True, parents=True)
    step.run(directory)
    facts = {"type": "Checkpoint", "component": "train", "version": step.version, "key": step.key(sources)}
    settings = {"params": step.training.params, "sources": dict(sources)}
    inputs = {name: artifact.digest for name, artifact in step.inputs.items()}
    shutil.rmtree(directory / step.scratch, ignore_errors=True)
    manifest.write(directory, {**facts, **settings, "inputs": inputs}, varying=step.varying)
    return Checkpoint(directory)


@pytest.fixture(scope="module")
def two_epochs(root):
    return make(root, step_of(root, epochs=2))


@pytest.fixture(scope="module")
def at_once(root, tmp_path_factory):
    return make(root, step_of(root, epochs=4), tmp_path_factory.mktemp("at_once"))


def check_equal(one: Checkpoint, other: Checkpoint) -> None:
    assert equal(weights_of(one.model_directory), weights_of(other.model_directory))
    assert equal(weights_of(one.initial_directory), weights_of(other.initial_directory))
    assert history_of(one.directory) == history_of(other.directory)


def test_two_epochs_and_two_more_are_four(root, two_epochs, at_once, tmp_path, capfd):
    step = step_of(root, epochs=4, continue_from="auto")
    assert step.continued.checkpoint == two_epochs
    longer = make(root, step, tmp_path / "longer")
    check_equal(longer, at_once)
    assert f"goes on from step 20 of 40, where the training {two_epochs.directory.name} ended" in capfd.readouterr().out
    report = longer.report
    assert (report.continued_from, report.continued_at_step) == (two_epochs.directory.name, 20)
    assert f"40 steps (20 of them those of the training {two_epochs.directory.name})" in report.summary
    # The longer one is the farthest from now on, for more than four epochs, and no other.
    shutil.copytree(longer.directory, root / "train" / "0123456789abcdef")
    try:
        assert step_of(root, epochs=6, continue_from="auto").continued.step == 40
        assert step_of(root, epochs=4, continue_from="auto").continued.step == 20
    finally:
        shutil.rmtree(root / "train" / "0123456789abcdef")


def test_auto_passes_over_a_damaged_training(root, two_epochs, tmp_path, capfd):
    """The farthest one is damaged: the next one is gone on from, and with none, training starts anew."""
    farther = root / "train" / "0123456789abcdef"
    shutil.copytree(two_epochs.directory, farther)
    try:
        path = farther / "model/config.json"
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        shutil.move(two_epochs.directory, tmp_path / "two_epochs")
        alone = step_of(root, epochs=4, continue_from="auto")
        assert alone.continued is None
        shutil.move(tmp_path / "two_epochs", two_epochs.directory)
        # Of two that came as far, the last by name is the first to be tried.
        farther = farther.rename(root / "train" / "ffffffffffffffff")
        step = step_of(root, epochs=4, continue_from="auto")
        assert step.continued.checkpoint == two_epochs
        step.begin(StepCheckpoints(tmp_path / "checkpoints"), training_steps(step.params, 42))
    finally:
        shutil.rmtree(farther)
    told = " ".join(capfd.readouterr().out.split())
    assert "passes over a shorter training that is damaged: " in told
    assert f"{path.name}, whose SHA-256 is no longer" in told
    assert f"goes on from step 20 of 40, where the training {two_epochs.directory.name} ended" in told


@pytest.mark.slow
def test_a_training_that_ended_within_an_epoch_goes_on_within_it(root, at_once, tmp_path):
    shorter = make(root, step_of(root, max_steps=13), tmp_path / "shorter")
    longer = make(root, step_of(root, epochs=4, continue_from=str(shorter.directory)), tmp_path / "longer")
    check_equal(longer, at_once)


@dataclasses.dataclass(frozen=True)
class Dying:
    """Watches a training, and ends it after an epoch."""

    epoch: int

    def preflight(self):
        pass

    def training_begins(self, training):
        return self

    def epoch_ends(self, epoch, is_last):
        if epoch == self.epoch:
            raise KeyboardInterrupt

    def training_ends(self):
        pass


@pytest.mark.slow
def test_one_that_was_cut_off_goes_on_again(root, two_epochs, at_once, tmp_path):
    """Before its first checkpoint, from the finished training again; after it, from there."""
    longer = tmp_path / "longer"
    for every, died_at, goes_on in ((None, 3, 20), (4, 4, 40)):
        step = step_of(root, epochs=4, continue_from=str(two_epochs.directory), checkpoint_every_steps=every)
        with pytest.raises(KeyboardInterrupt):
            make(root, dataclasses.replace(step, observer=Dying(died_at)), longer)
        assert step.resumes(longer) == f"step {goes_on} of 40"
    check_equal(make(root, step, longer), at_once)


@pytest.mark.slow
def test_under_a_decay_each_step_has_the_rate_of_the_longer_training(root, tmp_path):
    settings = {"lr_scheduler_type": "linear", "warmup_steps": 0, "ema_decay": 0.0, "load_best_model_at_end": False}
    shorter = make(root, step_of(root, epochs=1, **settings), tmp_path / "shorter")
    whole = make(root, step_of(root, epochs=2, **settings), tmp_path / "whole")
    again = step_of(root, epochs=2, continue_from=str(shorter.directory), **settings)
    longer = make(root, again, tmp_path / "longer")
    rates = [[row.learning_rate for row in made.history] for made in (shorter, longer, whole)]
    assert rates[1] == [rates[0][0], rates[2][1]]
    assert not equal(weights_of(longer.model_directory), weights_of(whole.model_directory))


def test_what_is_found_is_in_the_key_and_the_place_is_not(root, two_epochs, tmp_path):
    anew, auto = step_of(root, epochs=4), step_of(root, epochs=4, continue_from="auto")
    moved = shutil.copytree(two_epochs.directory, tmp_path / "moved")
    named = step_of(root, epochs=4, continue_from=str(moved))
    assert auto.key(auto.sources()) == named.key(named.sources()) != anew.key(anew.sources())
    nothing = dataclasses.replace(auto, trainings=tmp_path / "nowhere")
    assert nothing.continued is None
    assert nothing.key(nothing.sources()) == anew.key(anew.sources())
    # Before there are blocks nobody can say.
    assert dataclasses.replace(auto, blocks=Blocks(None)).sources() == {}


def test_who_starts_anew_is_told_of_what_could_be_gone_on_from(root, two_epochs, tmp_path, capfd):
    from components.training.params import training_steps

    step = step_of(root, epochs=4)
    step.begin(StepCheckpoints(tmp_path), training_steps(step.params, 42))
    assert "--train.continue_from auto goes on from there" in " ".join(capfd.readouterr().out.split())
    other = step_of(root, epochs=4, seed=1, continue_from="auto")
    other.begin(StepCheckpoints(tmp_path), training_steps(other.params, 42))
    assert "there is no shorter training of the same settings and data" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize(
    ("settings", "received"),
    [
        ({"seed": 1}, "was trained with train.seed 42"),
        ({"batch_size": 2}, "was trained with train.batch_size 4"),
        ({"epochs": 2}, "20 steps, and .* ended at step 20"),
        ({"epochs": 1}, "10 steps, and .* ended at step 20"),
    ],
)
def test_another_training_is_refused(root, two_epochs, settings, received):
    step = step_of(root, **{"epochs": 4, "continue_from": str(two_epochs.directory), **settings})
    with pytest.raises(ConfigError, match=received):
        step.sources()


def test_other_blocks_are_refused(root, two_epochs, tmp_path):
    write_blocks(tmp_path / "blocks", train=41, test=9)
    step = step_of(root, epochs=4, continue_from=str(two_epochs.directory))
    with pytest.raises(ConfigError, match="was trained with other blocks"):
        dataclasses.replace(step, blocks=Blocks(tmp_path / "blocks")).sources()


def test_what_is_no_finished_training_is_refused_before_anything_runs(root, two_epochs, tmp_path):
    with pytest.raises(ConfigError, match="doesn't exist"):
        step_of(root, continue_from=str(tmp_path / "none")).preflight()
    with pytest.raises(ConfigError, match="which is none"):
        step_of(root, continue_from=str(root / "blocks")).preflight()


@pytest.mark.slow
def test_a_model_alone_is_kept_where_that_is_wanted(root, tmp_path):
    alone = make(root, step_of(root, epochs=1, save_only_model=True), tmp_path / "alone")
    assert not alone.state_directory.exists()
    with pytest.raises(ConfigError, match=r"no state of its optimizer.*--train\.pretrained"):
        step_of(root, continue_from=str(alone.directory)).preflight()


def test_a_damaged_state_is_refused(root, two_epochs, tmp_path):
    copy = shutil.copytree(two_epochs.directory, tmp_path / "copy")
    [data] = copy.glob("state/step-20/variables.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    step = step_of(root, epochs=4, continue_from=str(copy))
    step.preflight()
    (tmp_path / "out").mkdir()
    with pytest.raises(ArtifactError, match="must be as it was written") as raised:
        step.run(tmp_path / "out")
    assert not hasattr(raised.value, "directory")  # else a runner would set it aside
    data.unlink()
    with pytest.raises(ArtifactError, match=r"variables\.data.* is missing"):
        step_of(root, epochs=4, continue_from=str(copy)).preflight()
