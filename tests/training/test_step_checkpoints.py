"""Checkpoints on disk: whole or set aside, those kept that may be needed, and a full disk told."""

import json
import resource
import shutil
from pathlib import Path

import pytest
import tensorflow as tf

from components.contract import manifest
from components.training.loss_watch import DIVERGED_STEPS
from components.training.optimizer import AdamW, create_slots
from components.training.resuming import require_same_precision
from components.training.step_checkpoints import StepCheckpoints, restore_variables, save_variables
from components.training.training_model import MaskedLMTraining
from foundation.errors import ConfigError, PipelineError
from tests.modeling.tiny_models import all_slow_but, random_model

FACTS = {"epoch": 0, "step_in_epoch": 1, "steps": 2000, "params": {}, "machine": {}, "parts": {}}


def write(checkpoints, step, best=None, content=b"weights"):
    facts = {**FACTS, "step": step, "best": best}
    checkpoints.write(f"step-{step}", facts, lambda path: Path(f"{path}.data").write_bytes(content * 100))


def names(checkpoints):
    return sorted(path.name for path in checkpoints.directory.iterdir())


@pytest.fixture
def checkpoints(tmp_path):
    return StepCheckpoints(tmp_path / "checkpoints")


def test_the_newest_two_are_kept(checkpoints):
    assert checkpoints.newest() is None
    for step in (90, 100, 1000):
        write(checkpoints, step)
    assert names(checkpoints) == ["step-100", "step-1000"]
    assert checkpoints.newest().step == 1000
    assert checkpoints.before(1000).step == 100
    assert checkpoints.before(100) is None


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 7, 20, 50, 60, 99, 100, 130])
def test_one_is_kept_from_before_a_divergence(checkpoints, every):
    """Which is known late: at the step of a checkpoint, or just before the next."""
    for step in range(every, 700, every):
        write(checkpoints, step)
        assert len(names(checkpoints)) <= 4
        assert {f"step-{step}", f"step-{max(step - every, every)}"} <= set(names(checkpoints))
        for known in (step, step + every - 1):
            begins = known - DIVERGED_STEPS + 1
            good = checkpoints.before(begins)
            assert (good is not None) == (every < begins)
            # The checkpoint is no older than it has to be to take the place of another.
            assert good is None or good.step > begins - 2 * DIVERGED_STEPS - 2 * every


def test_the_best_epochs_that_belong_to_them_are_kept(checkpoints):
    def best(epoch):
        checkpoints.write(
            f"best-{epoch}", {"epoch": epoch, "val_loss": 1.0}, lambda path: Path(path).write_bytes(b"best")
        )

    best(1)
    write(checkpoints, 100, "best-1")
    best(2)
    write(checkpoints, 200, "best-2")
    best(3)
    assert names(checkpoints) == ["best-1", "best-2", "best-3", "step-100", "step-200"]
    write(checkpoints, 300, "best-3")
    assert names(checkpoints) == ["best-2", "best-3", "step-200", "step-300"]


def truncate(directory):
    (directory / "variables.data").write_bytes(b"weigh")


def flip(directory):
    content = bytearray((directory / "variables.data").read_bytes())
    content[350] ^= 1
    (directory / "variables.data").write_bytes(content)


def lose(directory):
    (directory / "variables.data").unlink()


def unfinish(directory):
    directory.rename(directory.with_name(f"{directory.name}.partial"))


def add(directory):
    (directory / "variables.more").write_bytes(b"weights")


def manifest_of(content):
    """A way to damage a checkpoint: its manifest has other bytes."""
    return lambda directory: (directory / "manifest.json").write_bytes(content)


def cut_off(directory):
    (directory / "manifest.json").write_text((directory / "manifest.json").read_text()[:50])


def change(**facts):
    """A way to damage a checkpoint: its manifest says something else, and is whole in itself."""

    def damage(directory):
        content = {**json.loads((directory / "manifest.json").read_text()), **facts}
        content = {name: value for name, value in content.items() if value is not None}
        described = {name: content[name] for name in content.keys() - {"files", "manifest_digest"}}
        (directory / "manifest.json").unlink()
        manifest.write(directory, described)

    return damage


def forget_digest(directory):
    content = json.loads((directory / "manifest.json").read_text())
    del content["manifest_digest"]
    (directory / "manifest.json").write_text(json.dumps(content))


def replace_by_file(directory):
    shutil.rmtree(directory)
    directory.write_text("no directory")


DAMAGES = {
    "truncated": truncate,
    "flipped": flip,
    "lost": lose,
    "added": add,
    "a file": replace_by_file,
    "manifest cut off": cut_off,
    "manifest lost": lambda directory: (directory / "manifest.json").unlink(),
    "manifest without digest": forget_digest,
    "manifest a list": manifest_of(b"[]"),
    "manifest null": manifest_of(b"null"),
    "manifest empty": manifest_of(b""),
    "manifest no UTF-8": manifest_of(b"\xff\xfe{}"),
    "manifest nested": manifest_of(b"[" * 100_000),
    "manifest without files": manifest_of(b'{"files": null}'),
    "manifest with odd files": manifest_of(b'{"files": {"variables.data": {"bytes": "many"}}}'),
    "without parts": change(parts=None),
    "with odd parts": change(parts=[]),
    "of another step": change(step=19),
    "step a text": change(step="20"),
}


def test_every_bit_of_a_manifest_counts(checkpoints):
    write(checkpoints, 20)
    path = checkpoints.directory / "step-20/manifest.json"
    content = path.read_bytes()
    for number in range(len(content)):
        damaged = bytearray(content)
        damaged[number] ^= 1 << number % 8
        path.write_bytes(damaged)
        found = checkpoints.newest()
        # White space between two values may become other white space, which says the same.
        assert found is None or json.loads(damaged) == json.loads(content), damaged[number - 20 : number + 20]
    path.write_bytes(content)
    assert checkpoints.newest().step == 20


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_leaves_the_one_before_it(checkpoints, damage):
    write(checkpoints, 10)
    write(checkpoints, 20)
    assert not checkpoints.damaged()
    damage(checkpoints.directory / "step-20")
    assert checkpoints.newest().step == 10
    [(name, what)] = checkpoints.damaged().items()
    assert (name, str(checkpoints.directory / name) in what) == ("step-20", True)
    checkpoints.set_aside(name)
    assert not checkpoints.damaged()
    assert checkpoints.has_set_aside()
    write(checkpoints, 20)
    assert checkpoints.newest().step == 20
    assert names(checkpoints) == ["step-10", "step-20", "step-20.damaged"]


@pytest.mark.parametrize("damage", [unfinish, shutil.rmtree])
def test_what_is_no_checkpoint_is_debris(checkpoints, damage):
    write(checkpoints, 10)
    write(checkpoints, 20)
    damage(checkpoints.directory / "step-20")
    assert not checkpoints.damaged()
    assert checkpoints.newest().step == 10
    write(checkpoints, 20)
    assert names(checkpoints) == ["step-10", "step-20"]


def test_damaged_ones_dont_pile_up(checkpoints):
    write(checkpoints, 10)
    for step in (20, 30, 40, 50, 50):
        write(checkpoints, step)
        flip(checkpoints.directory / f"step-{step}")
        checkpoints.set_aside(f"step-{step}")
    write(checkpoints, 60)
    assert names(checkpoints) == ["step-10", "step-40.damaged", "step-50.damaged", "step-60"]


@pytest.mark.parametrize("damage", [truncate, flip, lose, cut_off])
@pytest.mark.parametrize("step", [15, 25])
def test_a_damaged_checkpoint_takes_no_place(checkpoints, damage, step):
    """Training goes on from the one before it, with checkpoints at the same steps or at others."""
    write(checkpoints, 10)
    write(checkpoints, 20)
    damage(checkpoints.directory / "step-20")
    checkpoints = StepCheckpoints(checkpoints.directory)
    checkpoints.set_aside("step-20")
    write(checkpoints, step)
    assert names(checkpoints) == sorted(["step-10", "step-20.damaged", f"step-{step}"])


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(checkpoints):
    """The limit on a file's size stands for the disk's: the system refuses a write in the same way."""
    variable = tf.Variable(tf.zeros(100_000))
    tracked = tf.Module()
    tracked.variable = variable
    checkpoints.write("step-10", {**FACTS, "step": 10}, lambda path: save_variables(tracked, path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(PipelineError, match=r"step-20.*checkpoint_every_steps null.*goes on from step 10"):
            checkpoints.write("step-20", {**FACTS, "step": 20}, lambda path: save_variables(tracked, path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(checkpoints) == ["step-10"]
    assert json.loads((checkpoints.directory / "step-10/manifest.json").read_text())["step"] == 10


@pytest.mark.parametrize("architecture", all_slow_but({"albert", "esm", "funnel", "roberta", "xlm"}))
def test_every_variable_comes_back(architecture, tmp_path):
    """Weights, averages, the optimizer's moments and step, and running metrics, of each architecture."""
    training = MaskedLMTraining(random_model(architecture), 4, ema_decay=0.9)
    training.compile(optimizer=AdamW(1e-3))
    create_slots(training.optimizer, training.masked_lm.trainable_variables)
    variables = [
        *training.masked_lm.weights,
        *training.average.averages,
        *training.optimizer.variables(),
        *training.mean_loss.variables,
    ]
    assert len(training.optimizer.variables()) == 1 + 2 * len(training.masked_lm.trainable_variables)
    for number, variable in enumerate(variables):
        variable.assign(tf.cast(tf.fill(variable.shape, number), variable.dtype))
    save_variables(training, str(tmp_path / "variables"))
    for variable in variables:
        variable.assign(tf.zeros_like(variable))
    restore_variables(training, str(tmp_path / "variables"))
    for number, variable in enumerate(variables):
        assert (variable.numpy() == number).all(), variable.name


def test_a_loss_scale_comes_back(tmp_path):
    """Of `mixed_float16`, whose optimizer is wrapped."""
    model = random_model("bert")
    training = MaskedLMTraining(model, 4)
    training.compile(optimizer=tf.keras.mixed_precision.LossScaleOptimizer(AdamW(1e-3)))
    create_slots(training.optimizer, model.trainable_variables)
    variables = training.optimizer.variables()
    assert len(variables) >= 1 + 2 * len(model.trainable_variables)
    scale = training.optimizer.loss_scale.numpy()
    save_variables(training, str(tmp_path / "variables"))
    for variable in variables:
        variable.assign(tf.ones_like(variable))
    restore_variables(training, str(tmp_path / "variables"))
    assert training.optimizer.loss_scale.numpy() == scale
    assert not any(variable.numpy().any() for variable in variables if variable.shape.rank)


def test_another_precision_is_refused_and_another_machine_told(caplog):
    machine = {"precision": "float32", "devices": ["CPU:0"], "cpu_cores": 2}
    there = {"step": 7, "machine": machine, "library_versions": manifest.library_versions()}
    require_same_precision(there, machine)
    assert not caplog.records
    require_same_precision({**there, "library_versions": {"tensorflow": "1.0"}}, {**machine, "cpu_cores": 4})
    assert "made with cpu_cores 2, tensorflow 1.0: the weights won't be" in caplog.text
    with pytest.raises(ConfigError, match=r"mixed_bfloat16 on GPU:0, after float32 on CPU:0 up to step 7"):
        require_same_precision(there, {**machine, "precision": "mixed_bfloat16", "devices": ["GPU:0"]})
