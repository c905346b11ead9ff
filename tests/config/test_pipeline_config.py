"""The configuration: one truth for keys, and every mistake named before any work."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from components.config.command_line import config_of
from components.config.command_line import parse as parse_options
from components.config.config_files import config_path, described_configs
from components.config.sections import SECTIONS
from foundation.errors import ConfigError
from pipeline import pipeline
from runners.command_line.options import build_parser

GIVEN = ["--train.model_type", "bert"]


def parse(path, *arguments):
    parser = build_parser()
    return config_of(parse_options(parser, arguments, path))


@pytest.fixture
def job(tmp_path):
    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("name", described_configs())
def test_configs_load_and_print_to_themselves(name, job):
    config = parse(config_path(name), "--ingest.path", "notes.txt")
    assert parse(job(config.as_yaml())) == config
    assert list(yaml.safe_load(config.as_yaml())) == list(SECTIONS)


def test_eli5_is_the_guides_job():
    config = parse(config_path("eli5"))
    assert (config.ingest.dataset, config.ingest.split) == ("dany0407/eli5_category", "train[:5000]")
    assert config.ingest.test_size == 0.2
    assert config.preprocess.text_column == "answers.text"
    assert config.preprocess.block_size == 128
    train = config.train
    assert train.pretrained == config.tokenizer.pretrained == "distilbert/distilroberta-base"
    assert (train.learning_rate, train.weight_decay, train.epochs, train.batch_size) == (2e-5, 0.01, 3, 16)
    assert train.mlm_probability == train.eval_mlm_probability == 0.15


def test_the_command_line_overrides_the_file_which_overrides_the_defaults(job):
    path = job("train:\n  model_type: bert\n  epochs: 7\n  batch_size: 2\n  model_config: {hidden_size: 64}\n")
    config = parse(path, "--train.batch_size", "4", "--train.model_config.num_hidden_layers", "2")
    assert (config.train.epochs, config.train.batch_size, config.train.learning_rate) == (7, 4, 2e-5)
    assert config.train.model_config == {"hidden_size": 64, "num_hidden_layers": 2}


def test_numbers_as_people_write_them(job):
    assert parse(job("train:\n  model_type: bert\n  learning_rate: 2e-5\n")).train.learning_rate == 2e-5


@pytest.mark.parametrize(
    ("text", "arguments", "said"),
    [
        ("trian:\n  epochs: 1\n", [], ["trian", "nearest: train"]),
        ("train:\n  epoch: 1\n", [], ["train.epoch", "train.epochs"]),
        ("train: 5\n", [], ["train: 5"]),
        ("- a\n- b\n", [], ["list"]),
        ("train: {epochs: [\n", [], ["job.yaml"]),
        ("train:\n  epochs: 1\npush: {}\ntrain:\n  seed: 1\n", GIVEN, ["job.yaml, line 4: train once more"]),
        ("train:\n  seed: 1\n  model_config: {a: 1, a: 2}\n", GIVEN, ["job.yaml, line 3: a once more"]),
        ("train:\n  epochs: many\n", GIVEN, ["train.epochs", "many"]),
        ("", [*GIVEN, "--train.epohcs", "1"], ["--train.epohcs", "--train.epochs"]),
        ("", [*GIVEN, "--trian.epochs=1"], ["--trian.epochs", "--train.epochs"]),
        ("", [*GIVEN, "--train.epochs", "many"], ["train.epochs", "many"]),
        ("", [*GIVEN, "--train.epochs", "0"], ["train.epochs", "0"]),
        ("", [*GIVEN, "--train.learning_rate", "nan"], ["train.learning_rate", "nan"]),
        ("", [*GIVEN, "--train.learning_rate", "-1e-5"], ["train.learning_rate"]),
        ("", [*GIVEN, "--preprocess.block_size", "0"], ["preprocess.block_size", "0"]),
        ("", [*GIVEN, "--ingest.test_size", "1.5"], ["ingest.test_size", "1.5"]),
        ("", [*GIVEN, "--train.eval_mlm_probability", "2"], ["train.eval_mlm_probability"]),
        ("", [*GIVEN, "--evaluate.eval_mlm_probability", "0.2"], ["nearest: --train.eval_mlm_probability"]),
        ("evaluate:\n  eval_mlm_probability: 0.2\n", GIVEN, ["nearest: train.eval_mlm_probability"]),
        ("", [*GIVEN, "--until", "nowhere"], ["nowhere", "ingest"]),
        ("", [*GIVEN, "--runner", "cloud"], ["cloud", "local"]),
        ("", [*GIVEN, "stray"], ["stray"]),
        # An item of a list is mended by itself: the option's value as a whole would be a file's name.
        ("tokenizer: {add_tokens: [fever, no]}\n", GIVEN, ['write item 2 as "no" with the quotes']),
        ("", [*GIVEN, "--tokenizer.add_tokens", "[yes]"], ['write item 1 as "yes" with the quotes']),
        ("", [*GIVEN, "--tokenizer.add_tokens", "[a, [b]]"], ["item 2 must be text", "correct item 2"]),
        # Without the option, the configuration's value counts, and not the default.
        ("train: {epochs: 7}\n", [*GIVEN, "--train.epochs", "many"], ["or leave it out."]),
    ],
)
def test_mistakes_are_named(job, text, arguments, said):
    with pytest.raises(ConfigError) as raised:
        parse(job(text), *arguments)
    assert raised.value.exit_code == 2
    for part in said:
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_configuration_names_those_there_are():
    with pytest.raises(
        ConfigError, match=r"a name \(nearest: quickstart\):(\n.*)*\n  eli5  +The masked language modeling guide's job"
    ):
        config_path("quikstart")


def test_the_validation_and_the_evaluation_mask_at_one_rate():
    steps = {}

    def run(component):
        steps[component.name] = component
        return component.at(None)

    config = parse(config_path("quickstart"), "--train.eval_mlm_probability", "0.25")
    pipeline(run, config, Path("root"))
    assert steps["train"].params.eval_mlm_probability == steps["evaluate"].eval_mlm_probability == 0.25


def test_every_key_has_help_text():
    text = build_parser().format_help()
    for section, params in SECTIONS.items():
        for field in dataclasses.fields(params):
            assert f"--{section}.{field.name} " in text
            assert f"{field.name}:" in params.__doc__
