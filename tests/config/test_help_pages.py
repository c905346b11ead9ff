"""What --help says, on a page, of a step, of everything; how fast; and what shells complete."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from components.config.completion import PROGRAMS, SHELLS, script_for
from components.config.config_files import described_configs
from components.config.help_pages import COMMONEST, help_text, topic_of
from components.config.sections import KEYS, SECTIONS, STEPS
from foundation.errors import ConfigError
from runners.command_line.options import build_parser

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = described_configs()


def text_of(topic, columns=80):
    return help_text(build_parser(), topic, CONFIGS, columns)


@pytest.mark.parametrize("columns", [30, 40, 80, 200])
@pytest.mark.parametrize("topic", ["", "train", "all", "train.epochs"])
def test_it_fits_the_width(topic, columns):
    for line in text_of(topic, columns).split("\n"):
        # A name that is longer than a line can't be broken.
        assert cell_len(line) <= columns or len(line.split()) <= 3


def test_a_page_has_the_steps_the_commonest_settings_and_the_configurations():
    page = text_of("")
    assert len(COMMONEST) == 10
    assert page.count("\n") < 100
    for name in (*SECTIONS, *CONFIGS):
        assert f"\n  {name} " in page
    assert {key for key in KEYS if f"--{key} " in page} == set(COMMONEST)


def test_a_step_has_all_of_its_settings_and_no_others():
    for step in SECTIONS:
        text = text_of(step)
        assert [line.split()[0] for line in text.split("\n") if line.startswith("  --")] == [
            f"--{key}" for key in KEYS if key.startswith(f"{step}.")
        ]
    assert "default: 1" in text_of("train")


def test_everything_has_every_option():
    text = text_of("all")
    for action in build_parser()._actions:
        assert all(f"  {name}" in text or f", {name}" in text for name in action.option_strings)


@pytest.mark.parametrize(
    ("arguments", "topic"),
    [
        (["--help"], ""),
        (["-h", "train"], "train"),
        (["--help=push"], "push"),
        (["--until", "train", "--help"], ""),
        (["--help", "--plan"], ""),
        (["--plan"], None),
        (["--", "--help"], None),
    ],
)
def test_topics(arguments, topic):
    assert topic_of(arguments) == topic


def test_a_topic_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"--help trian\. .*\(nearest: train"):
        text_of("trian")


def test_it_is_quick():
    """Half a second of a processor, of which there is none to spare while tests run: so twice as much is allowed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "pipeline.py", "--help"]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def completed(tmp_path, *words):
    """What bash offers for the last of some words."""
    script = tmp_path / "completion.bash"
    script.write_text(script_for("bash", build_parser(), CONFIGS))
    code = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; };'
        ' _masked_lm_pipeline; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-euc", code, "bash", script, PROGRAMS[0], *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_options_steps_configurations_and_choices(tmp_path):
    (tmp_path / "quiet.yaml").touch()
    assert completed(tmp_path, "--unt") == ["--until"]
    assert completed(tmp_path, "--train.ep") == ["--train.epochs"]
    assert completed(tmp_path, "--until", "tr") == ["train"]
    assert completed(tmp_path, "--until", "=", "tr") == ["train"]
    assert completed(tmp_path, "--until", "=") == list(STEPS)
    assert completed(tmp_path, "--force", "train", "ev") == ["evaluate"]
    assert completed(tmp_path, "--force", "train", "--pl") == ["--plan"]
    assert completed(tmp_path, "--config", "qui") == ["quickstart", "quiet.yaml"]
    assert completed(tmp_path, "--preprocess.packing", "") == ["concatenate", "documents", "packed"]
    assert completed(tmp_path, "--train.model_type", "rob") == ["roberta", "roberta-prelayernorm"]
    assert completed(tmp_path, "--train.epochs", "") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_every_script_has_every_option(shell):
    script = script_for(shell, build_parser(), CONFIGS)
    for key in KEYS:
        assert key in script
    assert all(program in script for program in PROGRAMS)


def test_the_command_prints_a_script_and_refuses_another_shell():
    def run(*arguments):
        command = [sys.executable, "pipeline.py", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    done = run("--completion", "fish")
    assert done.returncode == 0
    assert done.stdout.rstrip("\n") == script_for("fish", build_parser(), CONFIGS)
    refused = run("--completion", "tcsh")
    assert refused.returncode == 2
    assert "--completion tcsh" in refused.stderr
