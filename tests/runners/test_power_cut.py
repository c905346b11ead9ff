"""What was reported as done is there after a power cut: a copy of a mounted file system's image shows what is."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.component import Component
from runners.local import LocalRunner
from runners.storage import LocalStorage
from runners.store import Store

MEBIBYTES = 24


class Weights(Artifact):
    @property
    def summary(self) -> str:
        return "trained"


@dataclasses.dataclass(frozen=True)
class Training(Component[Weights]):
    """Writes as libraries do, which flush nothing."""

    name = "training"
    version = "1"
    output = Weights
    scratch = "checkpoints"

    def run(self, out: Path) -> None:
        for name in ("checkpoints/step-1", "model/weights", "initial/weights", "logs/events"):
            (out / name).parent.mkdir()
            (out / name).write_bytes(os.urandom(1 << 20))


@contextlib.contextmanager
def mounted(image: Path, directory: Path):
    directory.mkdir()
    subprocess.run(["mount", "-o", "loop", image, directory], check=True, capture_output=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture
def image(tmp_path):
    """An empty ext4 file system that can be mounted here."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(MEBIBYTES << 20)
    try:
        subprocess.run(["mkfs.ext4", "-q", image], check=True, capture_output=True)
        with mounted(image, tmp_path / "trial"):
            pass
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    return image


def run(root: Path) -> list[dict]:
    runner = LocalRunner(root, show=lambda line: None)
    return runner.execute(lambda run: run(Training()), {}).content["steps"]


def test_a_power_cut_takes_nothing_that_was_reported_as_done(image, tmp_path):
    with mounted(image, tmp_path / "disk") as disk:
        [step] = run(disk / "deep" / "root")
        assert step["status"] == "ran"
        shutil.copyfile(image, tmp_path / "copy")
    with mounted(tmp_path / "copy", tmp_path / "after") as disk:
        root = disk / "deep" / "root"
        component = Training()
        found = Store(LocalStorage(root)).find(component, component.key({}))
        assert found is not None
        manifest.verify(found.directory, found.manifest, {})
        assert (root / "runs/latest/run.json").is_file()
        assert [step["status"] for step in run(root)] == ["cached"]
