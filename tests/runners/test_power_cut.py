"""What was reported as done is there after a power cut: a copy of a mounted file system's image shows what is."""

import dataclasses
import os
import shutil
from pathlib import Path

from components.contract import manifest
from components.contract.artifacts import Artifact
from components.contract.component import Component
from runners.local import LocalRunner
from runners.storage import LocalStorage
from runners.store import Store
from tests.ext4_image import empty_image, mounted

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


def run(root: Path) -> list[dict]:
    runner = LocalRunner(root, show=lambda line: None)
    return runner.execute(lambda run: run(Training()), {}).content["steps"]


def test_a_power_cut_takes_nothing_that_was_reported_as_done(tmp_path):
    image = empty_image(tmp_path, MEBIBYTES)
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
