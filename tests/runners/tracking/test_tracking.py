"""A run is told to its trackers while it goes on, and none of them can end it, slow it or change it."""

import json
import time

import pytest

from components.contract.run_names import find_run
from foundation.errors import ConfigError
from runners.housekeeping.commands import collect_garbage
from runners.housekeeping.pipeline_root import PipelineRoot
from runners.tracking import choice
from runners.tracking.event_files import EventReader, checksum
from runners.tracking.tracker import flat
from tests.runners.tracking.trained_steps import STEPS, loss_at, run, wait_until


class Notebook:
    """Writes down what it is told, and fails as often as it is asked to."""

    name = "notebook"

    def __init__(self, failures=0):
        self.failures = failures
        self.start, self.rows_told, self.ended = None, [], None

    def begin(self, run):
        self.start = run
        run.keep({"page": 7})

    def rows(self, rows):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("nobody answers at https://me:secret@host")
        self.rows_told += rows

    def end(self, end):
        self.ended = end

    def steps(self, kind):
        return [row.step for row in self.rows_told if row.kind == kind]


def scalars(directory):
    paths = sorted(directory.glob("*tfevents*"))
    return {(step, tag): value for path in paths for step, tag, value in EventReader(path).scalars()}


def test_rows_are_told_while_the_step_runs(tmp_path):
    notebook, told = Notebook(), []

    def after(step):
        if step == 3:
            told.append(wait_until(lambda: notebook.steps("train") == [1, 2, 3]))

    record = run(tmp_path, notebook, name="first", after=after)
    assert told == [True]
    assert notebook.steps("train") == list(range(1, STEPS + 1))
    assert [row.values["loss"] for row in notebook.rows_told if row.kind == "validation"] == [2.0]
    assert notebook.start.called == "first"
    assert notebook.start.settings == {"train.learning_rate": 1e-3}
    assert notebook.ended.status == "succeeded"
    assert notebook.ended.step == STEPS
    assert notebook.ended.files == [record.directory / "report.html"]
    assert notebook.ended.facts["checkpoint"].startswith(str(tmp_path))


def test_a_training_of_the_cache_is_told_from_its_history(tmp_path):
    run(tmp_path)
    notebook = Notebook()
    record = run(tmp_path, notebook)
    assert record.content["steps"][0]["status"] == "cached"
    assert notebook.steps("train") == list(range(1, STEPS + 1))
    assert notebook.steps("validation") == [STEPS]


def test_a_tracker_that_fails_is_tried_again_and_told_once(tmp_path):
    notebook, lines = Notebook(failures=1), []
    run(tmp_path, notebook, show=lines.append)
    assert notebook.steps("train") == list(range(1, STEPS + 1))
    [line] = [line for line in lines if "notebook" in line]
    assert "ConnectionError" in line
    assert "secret" not in line


def test_a_dead_tracker_neither_ends_the_run_nor_holds_it_up(tmp_path):
    notebook, lines = Notebook(failures=10**6), []
    began = time.monotonic()
    record = run(tmp_path, notebook, show=lines.append)
    assert record.content["status"] == "succeeded"
    assert time.monotonic() - began < 30
    assert sum("out of reach" in line for line in lines) == 1
    assert sum("not everything of this run was delivered" in line for line in lines) == 1


def test_a_run_that_goes_on_finds_what_the_tracker_kept(tmp_path):
    def interrupt(step):
        if step == 3:
            raise KeyboardInterrupt

    first, second, third = Notebook(), Notebook(), Notebook()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first, name="a", after=interrupt)
    assert first.ended.status == "interrupted"
    assert first.steps("train") == [1, 2, 3]
    run(tmp_path, second, name="a")
    assert second.start.earlier == {"page": 7}
    assert second.start.earlier_id == first.start.id
    run(tmp_path, third, name="a")  # the second succeeded, so there is nothing to go on from
    assert third.start.earlier is None


def test_other_settings_or_another_name_go_on_from_nothing(tmp_path):
    def interrupt(step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Notebook(), name="a", after=interrupt)
    for name, config in (("b", None), ("a", {"train": {"learning_rate": 2e-3}})):
        notebook = Notebook()
        run(tmp_path, notebook, name=name, config=config)
        assert notebook.start.earlier is None


def test_tensorboard_gets_the_run_by_its_name_until_it_is_removed(tmp_path):
    record = run(tmp_path, name="small")
    [link] = (tmp_path / "tensorboard").iterdir()
    assert link.name == f"small-{record.id[-4:]}"
    assert scalars(link / "train")[3, "loss"] == loss_at(3)
    assert scalars(link / "validation")[STEPS, "loss"] == 2.0
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert scalars(moved / "tensorboard" / link.name / "train")
    run(moved, name="other")
    assert collect_garbage(PipelineRoot(moved, "root"), ["1"], dry_run=False) == 0
    assert [each.name.partition("-")[0] for each in (moved / "tensorboard").iterdir()] == ["other"]


def test_a_half_written_record_is_read_the_next_time(tmp_path):
    from runners.tracking.event_files import EventWriter

    with EventWriter(tmp_path) as writer:
        writer.scalars(1, {"loss": 0.5})
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    reader = EventReader(path)
    assert list(reader.scalars()) == []
    path.write_bytes(whole)
    assert list(reader.scalars()) == [(1, "loss", 0.5)]
    assert list(reader.scalars()) == []


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["mlflow"], {}, "neither --tracking_uri nor MLFLOW_TRACKING_URI"),
        (["mlflow"], {"uri": "127.0.0.1:5000"}, "must begin with http://"),
        (["wandb"], {}, "WANDB_MODE=offline"),
        ([], {"uri": "http://x"}, "--tracking mlflow"),
        ([], {"project": "x"}, "--tracking"),
    ],
)
def test_what_is_missing_is_refused_before_any_work(names, options, words, monkeypatch, tmp_path):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=words) as raised:
        choice.chosen_trackers(names, **options)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_missing_extra_names_the_line_that_installs_it(name, monkeypatch):
    find = choice.importlib.util.find_spec
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda each: None if each == name else find(each))
    with pytest.raises(ConfigError) as raised:
        choice.chosen_trackers([name], "http://127.0.0.1:5000" if name == "mlflow" else None)
    assert raised.value.remedy == f"python -m pip install -e '.[{name}]'"


def test_credentials_of_addresses_are_left_out():
    found = dict(flat({"ingest": {"path": "https://me:secret@host/x", "paths": ["http://me@host"], "n": 1}}))
    assert found == {"ingest.path": "https://host/x", "ingest.paths": ["http://host"], "ingest.n": 1}


def test_the_trackers_keep_apart_in_the_run_folder(tmp_path):
    record = run(tmp_path, Notebook(), name="x")
    assert json.loads((record.directory / "tracking.json").read_text()) == {"notebook": {"page": 7}}
    assert find_run(tmp_path, "x") == record.directory.resolve()


@pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 3])
def test_records_have_tensorboards_checksum(content):
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    assert int.from_bytes(checksum(content), "little") == masked_crc32c(content)
