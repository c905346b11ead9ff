"""A source or a model on the command line, over a configuration that names another with its own settings."""

from pathlib import Path

import pytest
import yaml

from components.config.command_line import config_of
from components.config.command_line import parse as parse_options
from components.config.config_files import config_path
from components.config.pipeline_config import Config
from foundation.errors import ConfigError
from pipeline import main
from runners.command_line.options import build_parser

HUB = "ingest: {dataset: some/data, config: en, split: 'train[:50]', revision: v1}\npreprocess: {text_column: body}\n"
NEW = "train: {model_type: bert, model_config: {num_hidden_layers: 1}, learning_rate: 1e-3}\n"
OLD = (
    "tokenizer: {pretrained: some/model, revision: v1}\n"
    "train: {pretrained: some/model, revision: v1, learning_rate: 2e-5}\n"
)
MODEL = "train: {model_type: bert}\n"


def parse(path: Path, *arguments: str) -> tuple[Config, list[str]]:
    parser = build_parser()
    options = parse_options(parser, arguments, path)
    return config_of(options), options.notes


@pytest.fixture
def job(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return path

    return write


def test_what_belongs_to_a_hub_dataset_is_not_applied_to_a_path(job):
    config, notes = parse(job(HUB + MODEL), "--ingest.path", "my.jsonl")

    ingest = config.ingest
    assert (ingest.path, ingest.config, ingest.split, ingest.revision) == ("my.jsonl", None, None, None)
    assert config.preprocess.text_column == "body?"
    assert notes == [
        "ingest.config en of the configuration belongs to some/data, and isn't applied to my.jsonl",
        "ingest.split train[:50] of the configuration belongs to some/data, and isn't applied to my.jsonl",
        "ingest.revision v1 of the configuration belongs to some/data, and isn't applied to my.jsonl",
    ]


def test_eli5_reads_all_of_a_path():
    config, notes = parse(config_path("eli5"), "--ingest.path", "my.jsonl")
    assert config.ingest.split is None
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        # What is typed counts for what is typed.
        (HUB, ["--ingest.path=a", "--ingest.split", "train[:9]"], {"path": "a", "split": "train[:9]"}),
        (HUB, ["--ingest.path", "a", "--preprocess.text_column", "t"], {"path": "a", "text_column": "t"}),
        # A path gives way to a dataset, with what is the path's.
        (
            "ingest: {path: a, split: 'train[:9]', encoding: latin-1}\npreprocess: {text_column: body}\n",
            ["--ingest.dataset", "some/data"],
            {"path": None, "split": None, "encoding": None, "dataset": "some/data", "text_column": "body?"},
        ),
        (HUB, ["--ingest.dataset", "python-docs"], {"split": None, "config": None, "revision": None}),
        # The same kind of source: a mirror, next year's file.
        (HUB, ["--ingest.dataset", "other/data"], {"split": "train[:50]", "config": "en", "text_column": "body?"}),
        (
            "ingest: {path: a, split: 'train[:9]'}\npreprocess: {text_column: body}\n",
            ["--ingest.path", "b"],
            {"path": "b", "split": "train[:9]", "text_column": "body?"},
        ),
        # The source is not another.
        (HUB, ["--ingest.dataset", "some/data"], {"split": "train[:50]", "text_column": "body"}),
        (HUB, ["--ingest.seed", "3"], {"split": "train[:50]", "revision": "v1", "text_column": "body"}),
        (HUB, ["--ingest.path", "null"], {"split": "train[:50]", "dataset": "some/data", "text_column": "body"}),
        # A file that names no source speaks of whatever is read.
        (
            "ingest: {split: 'train[:9]'}\npreprocess: {text_column: body}\n",
            ["--ingest.path", "a"],
            {"split": "train[:9]", "text_column": "body"},
        ),
        (
            "ingest: {path: a, split: 'train[:9]'}\n",
            [],
            {"path": "a", "split": "train[:9]", "text_column": "answers.text?"},
        ),
        ("ingest: {path: a, dataset: some/data}\n", [], {"path": "a", "split": None}),
        (
            "ingest: {path: a, dataset: some/data, split: 'train[:9]'}\n",
            ["--ingest.split", "train[:5]"],
            {"path": "a", "split": "train[:5]"},
        ),
    ],
)
def test_sources_meet(job, text, arguments, expected):
    config, _ = parse(job(text + MODEL), *arguments)
    values = {**config.as_plain()["ingest"], "text_column": config.preprocess.text_column}
    assert {key: values[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("ingest: {path: a, dataset: some/data, split: 'train[:9]'}\n", []),
        ("", ["--ingest.path", "a", "--ingest.dataset", "some/data", "--ingest.split", "train[:9]"]),
    ],
)
def test_a_split_beside_two_sources_is_refused(job, text, arguments):
    with pytest.raises(
        ConfigError, match=r"with one source alone.*path a and dataset some/data.*leave out ingest\.dataset"
    ):
        parse(job(text + MODEL), *arguments)


def test_a_checkpoint_takes_the_place_of_a_new_model(job):
    config, notes = parse(job(NEW), "--train.pretrained", "some/model", "--train.revision", "v2")

    assert (config.train.pretrained, config.train.revision) == ("some/model", "v2")
    assert (config.train.model_type, config.train.model_config) == (None, {})
    assert (config.tokenizer.pretrained, config.tokenizer.revision) == ("some/model", "v2")
    assert notes[0] == (
        "train.pretrained some/model takes the place of the configuration's train.model_type bert and "
        "train.model_config, and brings its own tokenizer (tokenizer.pretrained)"
    )
    assert notes[1].startswith("train.learning_rate 0.001 of the configuration is meant for a new model")
    assert config.train.learning_rate == 2e-5
    assert len(parse(job(NEW), "--train.pretrained", "some/model", "--train.learning_rate", "1e-3")[1]) == 1


def test_a_checkpoint_is_not_trained_by_muon_for_a_new_model(job):
    text = NEW.replace("}\n", ", optimizer: muon}\n")
    config, notes = parse(job(text), "--train.pretrained", "some/model")
    assert config.train.optimizer == "adamw"
    assert notes[-1].startswith("train.optimizer muon of the configuration is meant for a new model")
    config, _ = parse(job(text), "--train.pretrained", "some/model", "--train.optimizer", "muon")
    assert config.train.optimizer == "muon"


@pytest.mark.parametrize(
    ("text", "arguments", "train", "tokenizer"),
    [
        ("train: {pretrained: a/b, revision: r}\n", [], ("a/b", None), ("a/b", "r")),
        ("train: {pretrained: a/b}\ntokenizer: {pretrained: null}\n", [], ("a/b", None), (None, None)),
        (NEW, ["--train.pretrained", "a/b", "--tokenizer.pretrained", "c/d"], ("a/b", None), ("c/d", None)),
        (NEW, ["--train.pretrained", "a/b", "--tokenizer.pretrained", "null"], ("a/b", None), (None, None)),
        (NEW + "tokenizer: {pretrained: null}\n", ["--train.pretrained", "a/b"], ("a/b", None), ("a/b", None)),
        (NEW + "tokenizer: {pretrained: c/d}\n", ["--train.pretrained", "a/b"], ("a/b", None), ("c/d", None)),
        (NEW, ["--train.pretrained", "a/b", "--train.model_type", "null"], ("a/b", None), ("a/b", None)),
        (OLD, ["--train.pretrained", "a/b"], ("a/b", None), ("a/b", None)),
        (OLD, ["--train.pretrained", "some/model"], ("some/model", None), ("some/model", "v1")),
        (OLD, ["--train.model_type", "bert"], (None, "bert"), ("some/model", "v1")),
        (OLD, [], ("some/model", None), ("some/model", "v1")),
        ("train: {pretrained: a/b, model_type: bert}\n", ["--train.pretrained", "a/b"], ("a/b", None), ("a/b", None)),
    ],
)
def test_models_and_tokenizers_meet(job, text, arguments, train, tokenizer):
    config, _ = parse(job(text), *arguments)
    assert (config.train.pretrained, config.train.model_type) == train
    assert (config.tokenizer.pretrained, config.tokenizer.revision) == tokenizer
    assert config.train.revision == (
        "v1" if config.train.pretrained == "some/model" else "r" if "revision: r" in text else None
    )


@pytest.mark.parametrize(
    ("text", "arguments", "rule"),
    [
        ("train: {pretrained: a/b, model_type: bert}\n", [], "both, 'a/b' and 'bert'"),
        ("", ["--train.pretrained", "a/b", "--train.model_type", "bert"], "both, 'a/b' and 'bert'"),
        (NEW, ["--train.pretrained", "a/b", "--train.model_config.x", "1"], r"\{'x': 1\} without train\.model_type"),
        (NEW, ["--train.model_type", "null"], "neither"),
    ],
)
def test_what_one_layer_contradicts_is_refused(job, text, arguments, rule):
    with pytest.raises(ConfigError, match=rule):
        parse(job(text), *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ingest.path", "a", "--ingest.split", "train[:9]"],
        ["--ingest.path", "a", "--train.pretrained", "c/d"],
        ["--train.model_type", "bert"],
    ],
)
def test_the_printed_configuration_is_the_whole_and_stays_so(job, tmp_path, capsys, arguments):
    path = job(HUB + OLD)
    config, notes = parse(path, *arguments)
    main(["--config", str(path), *arguments, "--print_config"])
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith("#")] == [f"# {note}" for note in notes]
    assert yaml.safe_load(printed)["ingest"]["path"] == config.ingest.path

    (tmp_path / "printed.yaml").write_text(printed)
    assert parse(tmp_path / "printed.yaml") == (config, [])


def test_the_quickstart_needs_no_note():
    assert parse(config_path("quickstart"))[1] == []
    assert parse(config_path("quickstart"), "--ingest.path", "a.txt")[1] == []
    assert parse(config_path("eli5"))[1] == []
