"""Every option of every section, given what doesn't fit: one message that names it as typed, and no traceback."""

import dataclasses
import math
import re
from typing import Any, Literal

import pytest

from components.config.command_line import config_of, parse
from components.config.sections import KEYS, SECTIONS, default_of
from components.config.settings import plain
from components.config.values import Unfit, kind_of, members, node_of, origins, value_of
from foundation.errors import ConfigError
from pipeline import main
from runners.command_line.options import build_parser

OF_A_LIBRARY = re.compile(
    r"typing\.|Literal|Union|Optional|NoneType|<class|jsonargparse|argparse|yaml\.\w|Parser key|does not validate|"
    r"ScalarNode|Expected a"
)
WORDS = ["", " ", "null", "true", "no", "yes", "1.5", "3.0", "-1", "1e5", "1e-4x", "012", "1:30", "2026-01-01", "0x10"]
WORDS += ["nowhere", "[1, 2]", "{a: 1}", "[", "inf", "nan", "1e999", "9" * 400, "-", "é", "a b", "%", "&a", "'"]
MODEL = "train: {model_type: bert}\n"
PARSER = build_parser()


def read(path, *arguments):
    return config_of(parse(PARSER, arguments, path))


@pytest.fixture
def job(tmp_path):
    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def sections_with(key, text):
    """YAML in which one key has a value, and the model is a new one: its third line has the key."""
    section, _, name = key.partition(".")
    if section == "train":
        model = "  learning_rate: 1e-3\n" if name == "model_type" else "  model_type: bert\n"
        return f"train:\n{model}  {name}: {text}\n"
    return f"{MODEL}{section}:\n  {name}: {text}\n"


def require_good(error, key, path=None):
    message = str(error)
    assert error.exit_code == 2
    assert "\n" not in message
    assert not OF_A_LIBRARY.search(message), message
    assert error.rule
    assert error.remedy
    # A repository on the Hub is refused for the license that it needs.
    named = "push.license" if key == "push.hub_model_id" and "license" in error.rule else key
    assert named in message or (path is not None and "must be YAML" in error.rule), message
    if path is not None and named == key and "must be YAML" not in error.rule:
        assert f"{path}, line 3" in message, message


@pytest.mark.parametrize("key", KEYS)
def test_an_option_takes_a_word_or_says_why_not(key, job):
    base = job(MODEL)
    for word in WORDS:
        for arguments in ([f"--{key}", word], [f"--{key}={word}"]):
            try:
                read(base, *arguments)
            except ConfigError as error:
                require_good(error, key)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_takes_a_word_or_says_why_not_and_where(key, job):
    for word in WORDS:
        for written in (word, f"'{word}'") if word in ("", "no", "1.5") else (word,):
            path = job(sections_with(key, written))
            try:
                read(path)
            except ConfigError as error:
                require_good(error, key, path)


@pytest.mark.parametrize("key", KEYS)
def test_an_option_needs_a_value(key, job):
    for arguments in ([f"--{key}"], [f"--{key}", "--until", "ingest"]):
        with pytest.raises(ConfigError, match=rf"^{re.escape(key)} must be .*--{re.escape(key)} without a value"):
            read(job(MODEL), *arguments)


@pytest.mark.parametrize("key", [key for key in KEYS if not origins(KEYS[key]) & {str, dict, tuple, list}])
def test_a_wrong_type_is_refused_by_its_kind(key, job):
    for arguments, text in (([f"--{key}", "nowhere"], MODEL), ([], sections_with(key, "nowhere"))):
        with pytest.raises(ConfigError) as raised:
            read(job(text), *arguments)
        assert raised.value.rule == f"{key} must be {kind_of(KEYS[key])}"
        assert "nowhere" in raised.value.received


@pytest.mark.parametrize(
    "key", [key for key in KEYS if Literal in {getattr(m, "__origin__", m) for m in members(KEYS[key])}]
)
def test_the_nearest_choice_is_proposed(key, job):
    for member in members(KEYS[key]):
        for choice in getattr(member, "__args__", ()):
            for wrong in (f"{choice}x", str(choice).upper()):
                with pytest.raises(ConfigError) as raised:
                    read(job(MODEL), f"--{key}", wrong)
                assert raised.value.remedy == f"write --{key} {choice}"
                with pytest.raises(ConfigError) as raised:
                    read(job(sections_with(key, wrong)))
                assert raised.value.remedy == f"write {key.partition('.')[2]}: {choice}"


@pytest.mark.parametrize("key", [key for key in KEYS if key != "train.model_type" and dict not in origins(KEYS[key])])
def test_a_default_is_read_back_as_it_is_shown(key, job):
    section, _, name = key.partition(".")
    for arguments in ([], [f"--{key}", plain(default_of(key))]):
        assert getattr(getattr(read(job(MODEL), *arguments), section), name) == default_of(key)


def test_every_setting_has_a_kind_in_words():
    for key, annotation in KEYS.items():
        assert "any value" not in kind_of(annotation), key


@pytest.mark.parametrize(
    ("arguments", "rule", "remedy"),
    [
        (["--until", "trian"], "--until must be one of ingest, tokenizer", "write --until train"),
        (["--force", "ingest", "evalute"], "--force must be one of ingest, tokenizer", "write --force evaluate"),
        (["--runner", "locl"], "--runner must be one of local, ray, kubeflow", "write --runner local"),
        (["--compare"], "--compare must have", "see --help"),
        (["--until"], "--until must be one of", "write --until ingest, say"),
        (["notes.txt"], "the command line must be options with their values", "write the option before each value"),
        (["README.md"], "the command line must be options with their values", "write --ingest.path README.md if"),
        (["--ingest.path", "a", "b", "c"], "Received: b c, behind no option", "or a glob, in quotes"),
        (["-train.epochs", "1"], "the options must be known", "(nearest: --train.epochs"),
        (["--path", "a"], "the options must be known", "(nearest: --ingest.path"),
        (["--learning-rate", "1"], "the options must be known", "(nearest: --train.learning_rate"),
        (["--ingest", "a"], "the options must be known", "--ingest.path"),
        (["--root"], "--root must have its value", "see --help"),
        (["--train.pretrained", "x" * 300], "train.pretrained must be a name", "correct --train.pretrained"),
        (["--ingest.path", "a/" + "é" * 200], "ingest.path must be a name", "correct --ingest.path"),
        (["--ingest.path", "--until", "ingest"], "ingest.path must be text or null", "write a value behind it"),
        (["--train.model_config.hidden_size", "[1"], "train.model_config.hidden_size must be any value", "write"),
        (["--train.model_config", "{hidden_size 1"], "train.model_config must be keys with values", "see --help"),
    ],
)
def test_other_options_are_refused_in_the_same_way(arguments, rule, remedy, capsys):
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    [message] = said.err.splitlines()
    assert rule in message
    assert remedy in message
    assert not OF_A_LIBRARY.search(message.removeprefix("pipeline.py")), message


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("train.learning_rate", "2e-5", 2e-5),
        ("train.learning_rate", '"2e-5"', 2e-5),
        ("train.learning_rate", "1", 1.0),
        ("train.epochs", "1_000", 1000),
        ("train.epochs", "+3", 3),
        ("train.deterministic", "Yes", True),
        ("train.deterministic", "auto", "auto"),
        ("train.checkpoint_every_steps", "~", None),
        ("train.checkpoint_every_steps", "", None),
        ("push.language", '"no"', "no"),
        ("push.language", "'null'", "null"),
        ("push.model_name", "012", "012"),
        ("push.model_name", "1e5", "1e5"),
        ("push.model_name", "2026-01-01", "2026-01-01"),
        ("ingest.split", "'train[:5000]'", "train[:5000]"),
        ("evaluate.slice_column", "1:30", "1:30"),
        ("validate.texts", "A <mask>.", ("A <mask>.",)),
        (
            "train.model_config",
            "{a: 012, b: 1:30, c: 2026-01-01, d: 1_000}",
            {"a": "012", "b": "1:30", "c": "2026-01-01", "d": 1000},
        ),
        (
            "train.model_config",
            "{a: '5', b: '2e-5', c: 'no', d: 5, e: 2e-5, f: -.inf}",
            {"a": "5", "b": "2e-5", "c": "no", "d": 5, "e": 2e-5, "f": -math.inf},
        ),
        (
            "train.model_config",
            "{layer_norm_eps: 1e-12, hidden_act: gelu}",
            {"layer_norm_eps": 1e-12, "hidden_act": "gelu"},
        ),
    ],
)
def test_the_type_decides_what_a_word_means(key, written, value, job):
    config = read(job(sections_with(key, written)))
    found = getattr(getattr(config, key.partition(".")[0]), key.partition(".")[2])
    assert (found, type(found)) == (value, type(value))
    assert read(job(config.as_yaml())) == config


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "True"])
def test_a_word_that_yaml_reads_as_true_or_false_is_no_text(word, job):
    meaning = "true" if word.lower() in ("on", "yes", "true") else "false"
    with pytest.raises(ConfigError) as raised:
        read(job(sections_with("push.language", word)))
    assert f"line 3: language: {word} (YAML reads {word} without quotes as {meaning})" in raised.value.received
    assert raised.value.remedy == f'write language: "{word}" with the quotes, or null for none'
    assert read(job(MODEL), "--push.language", word).push.language == word


@pytest.mark.parametrize(
    ("key", "word", "nearest"),
    [
        ("train.learning_rate", "1e-4x", "0.0001"),
        ("train.learning_rate", "0,5", "0.5"),
        ("ingest.test_size", "20%", "0.2"),
        ("train.epochs", "3.0", "3"),
        ("train.epochs", "1e5", "100000"),
        ("train.epochs", "012", "12"),
        ("train.whole_word_mask", "1", "true"),
        ("train.whole_word_mask", "ture", "true"),
        ("train.max_steps", "none", "null"),
        ("evaluate.max_perplexity", "off", "null"),
    ],
)
def test_what_was_probably_meant_is_proposed(key, word, nearest, job):
    with pytest.raises(ConfigError) as raised:
        read(job(MODEL), f"--{key}", word)
    assert raised.value.remedy == f"write --{key} {nearest}"
    assert read(job(MODEL), f"--{key}", nearest)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--train.learning_rate", "-1e-5"], "-1e-05"),
        (["--train.weight_decay", "-.5"], "-0.5"),
        (["--preprocess.block_size", "-8"], "-8"),
    ],
)
def test_a_value_may_begin_with_a_dash(arguments, value, job):
    with pytest.raises(ConfigError) as raised:
        read(job(MODEL), *arguments)
    assert value in raised.value.received
    assert read(job(MODEL), "--export.example", "- a <mask>, --until it").export.example == "- a <mask>, --until it"


def test_a_broken_rule_names_the_line_of_the_file_that_broke_it(job):
    path = job("train:\n  model_type: bert\n  epochs: 0\n")
    with pytest.raises(ConfigError, match=rf"Received: 0 \({re.escape(str(path))}, line 3\)\."):
        read(path)
    with pytest.raises(ConfigError) as raised:
        read(path, "--train.epochs", "-3")
    assert raised.value.received == "-3"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train:\n\tepochs: 1\n", "line 2: found character"),
        ("train: {epochs: [\n", "line 2: "),
        ("train:\n  epochs: 1\n epochs: 2\n", "line 3: "),
        ("on:\n  a: 1\n", "line 1, has the section on"),
        ("train: &a {model_config: *a, model_config: 1}\n", "line 1: model_config once more"),
        ("5\n", "a single value"),
        ("train:\n  - epochs: 1\n", "line 1: train: - epochs: 1"),
    ],
)
def test_a_file_that_is_no_configuration_is_named_with_its_line(text, said, job):
    with pytest.raises(ConfigError) as raised:
        read(job(text))
    assert said in raised.value.received
    assert not OF_A_LIBRARY.search(str(raised.value))


def test_files_as_editors_write_them(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.yaml"
        path.write_text("train:\r\n  model_type: bert\r\n  epochs: 7\r\n", encoding)
        assert read(path).train.epochs == 7
    path.write_bytes(b"train: {model_type: b\xe9rt}\n")
    with pytest.raises(ConfigError, match="save the file as UTF-8"):
        read(path)


def test_anchors_and_merged_mappings(job):
    text = "train: {model_type: bert, model_config: &small {hidden_size: 32}}\n"
    assert read(job(text + "validate: {<<: {tolerance: 0.1}, timeout_seconds: 9}\n")).validate.tolerance == 0.1


def test_types_that_a_setting_may_have_one_day(job):
    @dataclasses.dataclass(frozen=True)
    class Source:
        path: str
        weight: float = 1.0

    kinds: list[tuple[Any, str, Any]] = [
        (tuple[Source, ...], "[{path: a, weight: 2}, {path: 1e5}]", (Source("a", 2.0), Source("1e5"))),
        (dict[str, float] | None, "{a.txt: 2e-1}", {"a.txt": 0.2}),
        (list[int], "[1, 2]", [1, 2]),
        (str | tuple[str, ...] | None, "[a, b]", ("a", "b")),
        (str | tuple[str, ...] | None, "a, b", "a, b"),
    ]
    for annotation, text, value in kinds:
        assert value_of(node_of(text, annotation), annotation) == value
    for annotation, text, why in (
        (tuple[Source, ...], "[{pth: a}]", "pth is none of the keys path, weight"),
        (tuple[Source, ...], "[{path: a, weight: x}]", "weight must be a number"),
        (tuple[Source, ...], "[{weight: 1}]", "path is missing"),
    ):
        with pytest.raises(Unfit, match=why):
            value_of(node_of(text, annotation), annotation)
    assert set(SECTIONS) == {key.partition(".")[0] for key in KEYS}
