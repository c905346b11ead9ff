"""The commands in the documents can be typed: every program, option, setting and file that they name is there.

Commands that need the Hub for a checkpoint say so in a comment above their block, `<!-- needs: the Hub -->`. Others
show it themselves: those of docker, say, and those with `--ingest.dataset` or `--push.hub_model_id`.
"""

import configparser
import os
import re
import subprocess

import pytest

import pipeline
from components.config.sections import KEYS, SECTIONS
from runners.command_line.options import BESIDE, build_parser
from serving.client.__main__ import make_parser as client_parser
from serving.server.options import make_parser as server_parser
from serving.server.tensorflow_serving_flags import translate
from tests.documents.pages import DOCUMENTS, ROOT, Command, commands

OURS = {
    "pipeline.py": "pipeline",
    "pipeline": "pipeline",
    "masked-lm-pipeline": "pipeline",
    "serving": "serving",
    "masked-lm-serve": "serving",
    "serving.client": "client",
    "masked-lm-ask": "client",
}
NOT_EVERYWHERE = (
    "apt-get",
    "aws",
    "docker",
    "hf",
    "huggingface-cli",
    "kubectl",
    "pip",
    "tensorboard",
    "tensorflow_model_server",
)
"""Programs that need a network, or more than this program installs; and such as don't end."""
IN_A_ROOT = re.compile(
    r"--root must be a directory in which a pipeline has run|must (name|be) (a|an|the|two) .*run"
    r"|a remote root must have credentials"
)
"""What is refused only because nothing has run where the test types the command, or nobody has a bucket there."""
WITHOUT_CREDENTIALS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}
HOUSES = ("foundation", "components", "serving", "runners", "tests", "configs", "benchmarks", "docs")
COMMANDS = commands()


def of(kind: str) -> list[Command]:
    return [command for command in COMMANDS if OURS.get(command.program) == kind]


@pytest.mark.parametrize("command", of("pipeline"), ids=str)
def test_the_pipeline_takes_the_command(command, tmp_path, monkeypatch, capfd):
    """With `--print_config`, all is read and checked, and nothing runs; what looks at runs finds none here."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in WITHOUT_CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "words.txt").write_text("perplexity\n")
    looks_at_runs = {f"--{task}" for task in BESIDE} & set(command.arguments)
    arguments = [word for word in command.arguments if word != "--plan"]
    code = pipeline.main([*arguments, *([] if looks_at_runs else ["--print_config"])])
    said = capfd.readouterr().err
    assert code == 0 or IN_A_ROOT.search(said), said


@pytest.mark.parametrize("command", of("serving"), ids=str)
def test_the_server_takes_the_command(command):
    server_parser().parse_args(translate(command.arguments))


@pytest.mark.parametrize("command", of("client"), ids=str)
def test_the_client_takes_the_command(command):
    client_parser().parse_args(command.arguments)


@pytest.mark.parametrize("command", of("pipeline") + of("serving") + of("client"), ids=str)
def test_commands_are_typed_as_the_installation_has_them(command):
    """In a checkout no other Python has the program; where it was installed as a package, its commands have names."""
    assert command.words[0] == ".venv/bin/python" or command.words[0].startswith("masked-lm-")


def test_there_are_commands_of_each_kind():
    assert min(len(of("pipeline")), len(of("serving")), len(of("client"))) > 2


def test_settings_in_prose_exist():
    """`--train.epochs` and `train.epochs`, also those of a setting that has keys; blocks may show what is refused."""
    unknown = {}
    for path in DOCUMENTS:
        prose = re.sub(r"^ *```.*?^ *```", "", path.read_text("utf-8"), flags=re.M | re.S)
        named = set(re.findall(rf"(?:--|`)((?:{'|'.join(SECTIONS)})\.[a-z_0-9]+)(?![\w(])", prose)) - KEYS.keys()
        files = {name for name in named if name.endswith((".py", ".md", ".csv", ".json", ".jsonl", ".txt"))}
        unknown |= {path.name: named - files} if named - files else {}
    assert unknown == {}


def test_scripts_and_their_options_exist():
    for command in COMMANDS:
        if command.program.endswith(".py") and command.program not in (*OURS, "run_mlm.py"):
            text = (ROOT / command.program).read_text("utf-8")
            assert [word for word in command.arguments if word.startswith("--") and word not in text] == [], command


def test_targets_and_extras_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        assert set(re.findall(r"(?:`|\$ )make ([a-z][\w-]*)", text)) - targets == set(), path.name
        extras = {extra for found in re.findall(r"'\.\[([\w,]+)\]'", text) for extra in found.split(",")}
        assert extras - set(setup["options.extras_require"]) == set(), path.name


def test_files_of_the_repository_that_commands_name_exist():
    for command in COMMANDS:
        named = [word for word in command.words if re.match(rf"(?:{'|'.join(HOUSES)})/[\w./-]+$", word)]
        assert [name for name in named if not (ROOT / name).exists()] == [], command


def needs_more(command: Command) -> bool:
    """Whether a command of the pipeline needs the Hub for a checkpoint."""
    if OURS.get(command.program) != "pipeline" or {"--plan", "--print_config"} & set(command.words):
        return False
    settings = dict(zip(command.words, command.words[1:], strict=False))
    start = settings.get("--train.pretrained", "")
    config = ROOT / f"configs/{settings.get('--config', 'quickstart')}.yaml"
    downloads = "# Needs:     a network" in config.read_text("utf-8") if config.exists() and not start else False
    on_the_hub = "/" in start and not start.startswith(("pipeline_root", ".", "/"))
    return downloads or on_the_hub


def test_commands_that_need_more_say_so():
    """Both ways: what needs more is marked, and of our commands only that."""
    unmarked = [str(command) for command in COMMANDS if needs_more(command) and not command.needs]
    assert unmarked == []
    assert len([command for command in COMMANDS if command.needs]) > 5


def test_configurations_that_a_page_serves_are_there_or_written_by_the_command_before():
    """With the directory of a run of one's own for the models."""
    for command in of("serving"):
        given = [word.partition("=")[2] for word in command.arguments if "_file=" in word]
        page = next(path for path in DOCUMENTS if path.name == command.page).read_text("utf-8")
        for name in given:
            [before] = re.findall(rf"^\$ (.*) > {re.escape(name)}$", page, re.M) or [f"cat {name}"]
            shown = subprocess.run(
                before, shell=True, cwd=ROOT, env={"PATH": os.defpath, "PWD": str(ROOT)}, capture_output=True, text=True
            )
            assert shown.returncode == 0, shown.stderr
            [base_path] = re.findall(r'base_path: "(.*)"', shown.stdout)
            assert base_path == str(ROOT / build_parser().get_default("root") / "serving/fill_mask")
