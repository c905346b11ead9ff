"""A disk that fills up ends a run with one message: nothing crashes, and with room the same command goes on."""

import contextlib
import re
import subprocess

import pytest
from test_pipeline import pipeline, write_job

from components.training.params import TrainParams
from foundation import disk
from foundation.errors import PipelineError
from tests.training.tiny_training import SIZES, write_tokenizer


@contextlib.contextmanager
def small_disk(directory, kibibytes):
    """A file system of its own in memory; the test is skipped where none can be mounted."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", directory]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def test_room_is_taken_for_real_and_given_back(tmp_path):
    with small_disk(tmp_path / "disk", 1024) as directory:
        disk.require_room(directory, 1 << 19, "a model")
        assert disk.free_bytes(directory) == 1 << 20
        with pytest.raises(PipelineError, match=r"a model, which takes 2,097,152 bytes; 1,048,576 bytes are free on"):
            disk.require_room(directory, 1 << 21, "a model")
        assert not list(directory.iterdir())


def test_a_model_that_has_no_room_is_refused_before_hdf5_crashes(tmp_path):
    from components.modeling.checkpoint import build_masked_lm, save_masked_lm

    tokenizer = write_tokenizer(tmp_path / "tokenizer").load()
    model = build_masked_lm("roformer", SIZES, tokenizer, seed=0)
    with small_disk(tmp_path / "disk", 100) as directory:
        with pytest.raises(
            PipelineError, match=r"must have room.*model, which takes [\d,]+ bytes; [\d,]+ bytes are free"
        ):
            save_masked_lm(model, tokenizer, directory / "model")
        assert not (directory / "model/tf_model.h5").exists()


@pytest.mark.parametrize(
    ("every", "left", "copies"), [(None, 0, 5), ("auto", 0, 5), (100, 0, 8), (10, 0, 13), (10, 3, 10), (10, 30, 2)]
)
def test_a_training_without_room_for_its_checkpoints_is_refused_before_its_first_step(tmp_path, every, left, copies):
    from components.modeling.checkpoint import build_masked_lm
    from components.training.room import require_room_to_train

    tokenizer = write_tokenizer(tmp_path / "tokenizer").load()
    model = build_masked_lm("roformer", SIZES, tokenizer, seed=0)
    size = sum(weight.numpy().nbytes for weight in model.weights)
    params = TrainParams(model_type="roformer", checkpoint_every_steps=every)
    with small_disk(tmp_path / "disk", ((left + copies) * size + 16_384) // 1024) as directory:
        (directory / "checkpoint").write_bytes(bytes(left * size))
        require_room_to_train(model, params, 100, directory)
    with small_disk(tmp_path / "smaller", ((left + copies) * size - size // 2) // 1024) as directory:
        (directory / "checkpoint").write_bytes(bytes(left * size))
        with pytest.raises(PipelineError, match=rf"takes {copies * size:,} bytes; [\d,]+ bytes are free"):
            require_room_to_train(model, params, 100, directory)


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(122, "Disk quota exceeded"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(13, "Permission denied"), False),
        (ValueError("a fault"), False),
    ],
)
def test_full_disks_are_told_from_other_errors_whoever_tells_of_them(error, is_full):
    assert disk.is_full(error) == is_full
    wrapped = RuntimeError("can't save")
    wrapped.__cause__ = error
    assert disk.is_full(wrapped) == is_full


@pytest.mark.long
@pytest.mark.slow
def test_the_pipeline_on_ever_larger_disks(tmp_path):
    """Wherever it fills up, there is one message and exit code 1; with room for all, the same command ends well."""
    arguments = [*write_job(tmp_path), "--root", "disk/root", "--push.allow_unblessed", "true"]
    reached = []
    with small_disk(tmp_path / "disk", 20) as small:
        for kibibytes in (20, 220, 450, 1900, 2500, 3200, 30_000):
            subprocess.run(["mount", "-o", f"remount,size={kibibytes}k", small], check=True)
            done = pipeline(*arguments, cwd=tmp_path)
            assert "Traceback" not in done.stdout + done.stderr
            steps = re.findall(r"^  (\w+) +ran ", done.stdout, re.MULTILINE)
            reached.append(steps[-1] if steps else None)
            if kibibytes < 30_000:
                assert done.returncode == 1, done.stdout
                assert "must have room" in done.stderr, done.stderr
                assert done.stderr.count("\n") == 1
    assert done.returncode == 0, done.stderr
    assert reached[-1] == "push"
    assert len(set(reached)) > 3, reached
