"""A run's name, and where it stands for the run."""

import json
from pathlib import Path

import pytest

import pipeline
from components.config.command_line import config_of, parse
from components.config.config_files import config_path
from components.contract.run_names import find_run, named, require_name
from foundation.errors import ConfigError
from runners.command_line.options import build_parser
from runners.housekeeping.commands import collect_garbage
from runners.housekeeping.pipeline_root import PipelineRoot
from tests.runners.housekeeping.many_runs import write_record
from tests.runners.small_steps import graph, quiet


@pytest.mark.parametrize("name", ["a", "bert-base_2.1", "A" * 64, "3e-4"])
def test_names_that_are_taken(name):
    assert require_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".hidden", "-x", "a b", "a/b", "é", "A" * 65, "latest", "42", "20260101T000000Z-0a1b", "a\n"]
)
def test_names_that_are_refused(name):
    with pytest.raises(ConfigError, match="must"):
        require_name(name)


def test_a_name_stands_for_the_newest_run_that_has_it(tmp_path):
    first = quiet(tmp_path, name="small").execute(graph("sky"), {})
    second = quiet(tmp_path, name="small").execute(graph("sky"), {})
    other = quiet(tmp_path).execute(graph("sky"), {})
    assert first.content["name"] == "small"
    assert [each.name for each in named(tmp_path, "small")] in ([second.id, first.id], [first.id, second.id])
    assert find_run(tmp_path, "small").name == named(tmp_path, "small")[0].name
    assert find_run(tmp_path, first.id).name == first.id
    assert find_run(tmp_path, "latest").name == other.id
    assert find_run(tmp_path, str(first.directory)).name == first.id
    assert find_run(tmp_path, "smal") is None


def test_the_newest_counts_and_a_damaged_record_has_no_name(tmp_path):
    old, new = write_record(tmp_path, 1, name="x"), write_record(tmp_path, 2, name="x")
    assert named(tmp_path, "x") == [new, old]
    (new / "run.json").write_text('{"name": "x"')
    assert named(tmp_path, "x") == [old]


def test_a_checkpoint_is_named_by_the_newest_run_of_that_name_that_trained(tmp_path):
    step = {"name": "train", "status": "ran", "seconds": 1.0, "artifact": "artifacts/train/0123456789abcdef"}
    write_record(tmp_path, 1, name="small", steps=[step])
    write_record(tmp_path, 2, name="small")
    write_record(tmp_path, 3, name="failed")
    model = tmp_path / "artifacts/train/0123456789abcdef/model"
    model.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (model / name).write_text("{}")

    def pretrained(name):
        arguments = ["--root", str(tmp_path), "--ingest.path", "notes.txt", "--train.pretrained", name]
        return config_of(parse(build_parser(), arguments, config_path("quickstart"))).train.pretrained

    assert Path(pretrained("small")) == model
    with pytest.raises(ConfigError, match="trained no model"):
        pretrained("failed")
    assert pretrained("no-such-run") == "no-such-run"  # may be on the Hub


def test_a_name_that_its_own_settings_use_is_refused(capsys):
    arguments = ["--name", "bert", "--train.pretrained", "bert", "--ingest.path", "x.txt", "--plan"]
    assert pipeline.main(arguments) == 2
    assert "--name must differ from train.pretrained" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--list", "--name", "x"], "--list must be given alone, or with --root or --json: it runs nothing"),
        (
            ["--compare", "a", "b", "--tracking", "mlflow"],
            "--compare must be given alone, or with --root: it runs nothing. Received: --tracking",
        ),
        (
            ["--verify", "--until=train", "--train.epochs=2"],
            "--until and --train.epochs beside it. Way out: leave them out",
        ),
        (["--gc", "--keep", "2", "--config", "quickstart"], "--gc must be given alone, or with --root or --keep or"),
        (["--plan", "--print_config"], "at most one of --plan, --print_config"),
        (["--json"], "--json must be given together with --list"),
        (["--name", "a b"], "must have at most 64 letters"),
        (["--compare", "latest"], "--compare must name two different runs or more"),
        (["--compare", *["20260101T000100Z-0001"] * 2], "must name two different runs or more"),
        (["--gc", "--keep", "five"], "--keep must be a whole number, or the ids or names"),
        (["--gc", "--keep", "1", "2"], "--keep must have one number"),
        (["--tracking_project", "x"], "--tracking_project must be given together with --tracking"),
    ],
)
def test_wrong_usage_is_told_with_the_way_out(arguments, words, tmp_path, capsys):
    write_record(tmp_path, 1)
    assert pipeline.main(["--root", str(tmp_path), *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Way out" in said


def test_gc_keeps_runs_by_name(tmp_path):
    for number in range(1, 6):
        write_record(tmp_path, number, name="good" if number == 2 else None)
    assert collect_garbage(PipelineRoot(tmp_path, "root"), ["1", "good"], dry_run=False) == 0
    left = {json.loads((each / "run.json").read_text())["name"] for each in (tmp_path / "runs").glob("2*")}
    assert len(list((tmp_path / "runs").glob("2*"))) == 2
    assert left == {"good", None}
