"""One step that another process tells of: run into a directory, found in a root, gone on with."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import manifest
from components.contract.component_json import as_json
from components.contract.workers import ThisProcess
from components.publishing.params import PushParams
from foundation.errors import ArtifactError, ConfigError, DamagedArtifact, DataError, PipelineError
from runners.one_step import run_step
from runners.storage import LocalStorage
from tests.runners.kubeflow.parts import pushed_to
from tests.runners.small_steps import Double, Failing, FirstLetter, Stoppable, Text, WordParams, Write, graph, quiet

ROOT = Path(__file__).resolve().parents[2]


def run(component, out, **options):
    return run_step(component, out, show=lambda line: None, **options)


def test_a_step_makes_the_artifact_that_a_local_run_makes(tmp_path):
    text, _ = run(Write(WordParams("sky")), tmp_path / "deep/text")
    first, _ = run(FirstLetter(text), tmp_path / "first")
    double, status = run(Double(first), tmp_path / "double")
    assert status == "ran"
    artifacts = quiet(tmp_path / "root").execute(graph("sky"), {}).artifacts
    made = {"write": text, "first": first, "double": double}
    assert {name: Text(path).digest for name, path in artifacts.items()} == {
        name: artifact.digest for name, artifact in made.items()
    }
    for name, artifact in made.items():
        key = Text(artifacts[name]).manifest["key"]
        assert artifact.manifest["key"] == key


def test_a_damaged_or_missing_input_is_refused_before_any_work(tmp_path):
    run(Write(), tmp_path / "text")
    (tmp_path / "text/text").write_text("sea")
    with pytest.raises(DamagedArtifact, match="SHA-256"):
        run(FirstLetter(Text(tmp_path / "text")), tmp_path / "first")
    with pytest.raises(ArtifactError, match="must have a manifest"):
        run(FirstLetter(Text(tmp_path / "nothing")), tmp_path / "first")
    assert not (tmp_path / "first").exists()


def test_what_an_earlier_attempt_left_is_removed(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text/half").write_text("written")
    run(Write(), tmp_path / "text")
    assert {path.name for path in (tmp_path / "text").iterdir()} == {"text", manifest.NAME}


def test_a_step_that_fails_makes_no_artifact(tmp_path):
    with pytest.raises(DataError):
        run(Failing("data"), tmp_path / "out")
    assert not (tmp_path / "out" / manifest.NAME).exists()
    with pytest.raises(PipelineError, match="must have room"):
        run(Failing("disk"), tmp_path / "out")


def test_a_file_where_the_directory_should_be_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PipelineError, match="let the user that the step runs as write there"):
        run(Write(), tmp_path / "file/out")


def test_a_root_keeps_what_was_made(tmp_path):
    root = tmp_path / "root"
    made, status = run(Write(), tmp_path / "one", storage=LocalStorage(root))
    again, status_again = run(Write(), tmp_path / "two", storage=LocalStorage(root))
    assert (status, status_again) == ("ran", "cached")
    assert made.digest == again.digest
    manifest.verify(again.directory, again.manifest, {})
    assert run(Write(WordParams("sea")), tmp_path / "two", storage=LocalStorage(root))[1] == "ran"
    assert Text(tmp_path / "two").text == "sea"


def test_a_root_is_the_local_runners(tmp_path):
    root = tmp_path / "root"
    artifacts = quiet(root).execute(graph("sky"), {}).artifacts
    assert run(Write(WordParams("sky")), tmp_path / "one", storage=LocalStorage(root))[1] == "cached"
    assert run(FirstLetter(Text(artifacts["write"])), tmp_path / "two", storage=LocalStorage(root))[1] == "cached"


def test_a_damaged_artifact_of_a_root_is_set_aside_and_made_anew(tmp_path):
    lines = []
    run(Write(), tmp_path / "one", storage=LocalStorage(tmp_path / "root"))
    (kept,) = (tmp_path / "root/artifacts/write").glob("[0-9a-f]*")
    (kept / "text").write_text("sea")
    made, status = run_step(Write(), tmp_path / "two", storage=LocalStorage(tmp_path / "root"), show=lines.append)
    assert (status, made.text) == ("ran", "sky")
    assert "set aside as" in lines[0]
    assert (kept.with_name(kept.name + ".damaged") / "text").read_text() == "sea"


def test_with_a_root_a_step_goes_on_where_it_was_cut_off(tmp_path):
    lines = []
    with pytest.raises(KeyboardInterrupt):
        run(Stoppable(stop_at=4), tmp_path / "one", storage=LocalStorage(tmp_path / "root"))
    made, _ = run_step(Stoppable(), tmp_path / "one", storage=LocalStorage(tmp_path / "root"), show=lines.append)
    assert made.text == "from 4"
    assert "goes on from 4" in lines[0]
    with pytest.raises(KeyboardInterrupt):
        run(Stoppable(stop_at=4), tmp_path / "without")
    assert run(Stoppable(), tmp_path / "without")[0].text == "from 0"


@dataclasses.dataclass(frozen=True)
class Shared(FirstLetter):
    """Says where it reads."""

    name = "shared"

    def run_with(self, out, workers):
        (out / "text").write_text(str(self.text.directory))


def test_workers_get_the_inputs_that_they_see(tmp_path):
    workers, root = ThisProcess(), tmp_path / "root"
    text, _ = run(Write(), tmp_path / "text", storage=LocalStorage(root))
    shared, _ = run(Shared(text), tmp_path / "shared", storage=LocalStorage(root), workers=workers)
    assert Path(shared.text).is_relative_to(root)
    with pytest.raises(ConfigError, match="must have a root"):
        run(Shared(text), tmp_path / "shared", workers=workers)
    elsewhere, _ = run(Write(WordParams("sea")), tmp_path / "elsewhere")
    with pytest.raises(ArtifactError):
        run(Shared(elsewhere), tmp_path / "other", storage=LocalStorage(root), workers=workers)


def program(*arguments, **environment):
    command = [sys.executable, "-m", "runners.kubeflow.step", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )


def test_the_program_runs_a_step_and_says_what_came_of_it(tmp_path):
    executor_input = {
        "outputs": {
            "artifacts": {"text": {"artifacts": [{"name": "7", "uri": "gs://bucket/text", "metadata": {}}]}},
            "outputFile": str(tmp_path / "output/executor_output.json"),
        }
    }
    done = program(
        f"--component={as_json(Write(WordParams('sky')))}",
        f"--out={tmp_path / 'text'}",
        f"--executor_input={json.dumps(executor_input)}",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["write", "ran"]
    assert done.stdout.endswith("s  sky\n")
    output = json.loads((tmp_path / "output/executor_output.json").read_text())
    told = {
        "name": "7",
        "uri": "gs://bucket/text",
        "metadata": {"digest": Text(tmp_path / "text").digest, "summary": "sky"},
    }
    assert output == {"artifacts": {"text": {"artifacts": [told]}}}


@pytest.mark.parametrize(
    ("component", "code", "message"),
    [
        (as_json(Failing("data")), 1, "step: a rule must hold. Received: nothing. Way out: give something."),
        (as_json(Failing("fault")), 1, "ZeroDivisionError: a fault"),
        (as_json(FirstLetter(Text(Path("/nowhere")))), 1, "an artifact must have a manifest"),
        ('{"$class":"components.train:Trane"}', 1, "by building the image anew"),
    ],
)
def test_the_program_says_why_a_step_fails(tmp_path, component, code, message):
    done = program(f"--component={component}", f"--out={tmp_path / 'out'}")
    assert done.returncode == code
    assert message in " ".join(done.stderr.split())


def test_another_version_of_the_step_is_refused(tmp_path):
    told = [f"--component={as_json(Write())}", f"--out={tmp_path / 'text'}"]
    done = program(*told, "--step_version=2")
    assert done.returncode == 1
    assert "version 2 of write, and here it is 1" in done.stderr
    assert not (tmp_path / "text").exists()
    assert program(*told, "--step_version=1").returncode == 0


def test_a_later_step_is_asked_before_the_first_runs(tmp_path):
    (tmp_path / "file").write_text("")
    push = pushed_to(PushParams(serving_dir=str(tmp_path / "file")))
    done = program(f"--component={as_json(Write())}", f"--out={tmp_path / 'text'}", f"--preflight={as_json(push)}")
    assert done.returncode == 2
    assert "push.serving_dir must be a directory" in done.stderr
    assert not (tmp_path / "text").exists()
