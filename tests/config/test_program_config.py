"""A configuration that a program makes: the checks and results of the same settings on the command line."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from components.config.command_line import config_of
from components.config.command_line import parse as parse_options
from components.config.config_files import config_path
from components.config.pipeline_config import Config
from foundation.errors import ConfigError
from runners.command_line.options import build_parser


def typed(name, *arguments):
    """What the command line makes of options, and its notes."""
    options = parse_options(build_parser(), arguments, config_path(name))
    return config_of(options), tuple(options.notes)


def test_without_anything_it_is_the_quickstart():
    assert Config() == Config.load() == Config.load("quickstart") == typed("quickstart")[0]
    changed = dataclasses.replace(Config().train, epochs=2)
    assert Config(train=changed).preprocess == Config().preprocess
    Config().train.model_config["hidden_size"] = 1
    assert Config().train.model_config["hidden_size"] == 128


@pytest.mark.parametrize(
    ("name", "sections", "arguments"),
    [
        ("quickstart", {"train": {"epochs": 2, "learning_rate": 1e-05}}, "--train.epochs 2 --train.learning_rate 1e-5"),
        ("eli5", {"ingest": {"path": Path("notes.txt")}}, "--ingest.path notes.txt"),
        ("eli5", {"preprocess": {"text_column": ("title", "body")}}, "--preprocess.text_column title,body"),
        ("quickstart", {"train": {"pretrained": "some/model"}}, "--train.pretrained some/model"),
        ("eli5", {"train": {"model_type": "bert"}}, "--train.model_type bert"),
        ("quickstart", {"train": {"model_config.hidden_size": 64}}, "--train.model_config.hidden_size 64"),
        ("quickstart", {"train": {"epochs": np.int64(3)}, "ingest": {"test_size": np.float64(0.5)}},
         "--train.epochs 3 --ingest.test_size 0.5"),
        ("quickstart", {"train": {"epochs": "3"}, "push": {"dry_run": True}}, "--train.epochs 3 --push.dry_run true"),
        ("eli5", {"ingest": {"split": None, "revision": 12}}, "--ingest.split null --ingest.revision 12"),
    ],
)  # fmt: skip
def test_settings_mean_what_they_mean_on_the_command_line(name, sections, arguments):
    expected, notes = typed(name, *arguments.split())
    loaded = Config.load(name, **sections)
    if "text_column" in sections.get("preprocess", {}):
        loaded = loaded.replace(preprocess={"text_column": "title,body"})
    assert loaded == expected
    assert loaded.notes == notes
    assert Config.load(name).replace(**sections).as_plain()["train"] == loaded.as_plain()["train"]
    assert loaded.configuration == name


def test_what_is_replaced_step_by_step_stays(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("tokenizer: {pretrained: null}\ntrain: {pretrained: some/model}\n")
    config = Config.load(path, train={"epochs": 5}).replace(push={"dry_run": True}).replace(train={"seed": 7})
    assert (config.train.epochs, config.train.seed, config.push.dry_run) == (5, 7, True)
    # The file wants a new tokenizer, and goes on to.
    assert config.tokenizer.pretrained is None
    assert config.configuration == str(path)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"trian": {"epochs": 1}}, ["trian", "nearest: train"]),
        ({"train": {"epohcs": 1}}, ["train.epohcs", "nearest: train.epochs"]),
        ({"train": {"epochs": 0}}, ["train.epochs must be a whole number from 1", "Received: 0"]),
        ({"train": {"epochs": "many"}}, ["train.epochs must be a whole number", "train={'epochs': 'many'}"]),
        ({"train": {"epochs": True}}, ["train.epochs must be a whole number", "True"]),
        ({"train": {"epochs": None}}, ["train.epochs", "null can't be set here"]),
        ({"train": {"learning_rate": object()}}, ["train.learning_rate must be a number", "object is no type"]),
        ({"push": {"dry_run": "ture"}}, ["push.dry_run must be true or false", "write true"]),
        ({"train": 5}, ["train=5", "train={'epochs': 1}"]),
    ],
)
def test_mistakes_are_named(sections, said):
    with pytest.raises(ConfigError) as raised:
        Config.load("quickstart", **sections)
    for part in said:
        assert part in str(raised.value)
    with pytest.raises(ConfigError):
        Config().replace(**sections)


def test_an_unknown_configuration_is_named():
    with pytest.raises(ConfigError, match="nearest: quickstart"):
        Config.load("quikstart")


def test_runs_are_looked_up_below_the_root(tmp_path):
    config = Config.load("quickstart", train={"pretrained": "latest"})
    assert config.train.pretrained == "latest"
    with pytest.raises(ConfigError, match="runs/latest does not exist"):
        config.at(tmp_path)
