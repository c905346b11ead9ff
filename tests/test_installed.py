"""What `pip install .` installs: everything that the program reads, nothing else, and it runs from anywhere."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.own_environment import EnvironmentMissing, python_with

ROOT = Path(__file__).resolve().parent.parent
INSTALLED = ("components", "configs", "foundation", "masked_lm_pipeline", "pipeline.py", "runners", "serving")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs git's list of files")]


def run(*command, cwd, **options):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def files():
    """Every file of the tree, those aside that git ignores."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def distributions(files, tmp_path_factory):
    """The source distribution, and the wheel that is built from nothing else."""
    try:
        python = python_with("build")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp("distributions")
    for name in files:
        copy = directory / "tree" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    run(python, "-m", "build", "--no-isolation", "--outdir", directory, directory / "tree", cwd=directory)
    [source], [wheel] = directory.glob("*.tar.gz"), directory.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def environment(distributions, tmp_path_factory):
    """Where the commands of an environment lie that has the wheel, and the libraries of the one that runs the tests."""
    directory = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", directory, cwd=directory)
    commands = directory / "bin"
    pip = [sys.executable, "-m", "pip", "--python", commands / "python", "install", "--quiet", "--no-index"]
    run(*pip, "--no-deps", distributions[1], cwd=directory)
    site = run(commands / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=directory)
    # Only the folder is added: the .pth files in it, which lead to this tree, don't count then.
    libraries = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (Path(site.stdout.strip()) / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n")
    return commands


def test_the_wheel_has_every_file_of_its_packages_and_no_other(distributions, files):
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in files if name.split("/")[0] in INSTALLED}


def test_the_source_distribution_has_every_file(distributions, files):
    source, _ = distributions
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    # What stands at the top with a dot before it is for the repository.
    assert {name for name in files if not name.startswith(".")} <= names
    assert not [name for name in names if name.endswith(".pyc") or name.startswith(".venv")]


def test_the_license_is_named_and_travels(distributions):
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        metadata = message_from_bytes(archive.read(name))
        text = archive.read(name.replace("METADATA", "licenses/LICENSE")).decode()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert "Version 2.0, January 2004" in text


def test_what_runs_is_what_was_installed(environment, tmp_path):
    code = f"import {', '.join(name.removesuffix('.py') for name in INSTALLED)}\n"
    code += f"print({', '.join(name.removesuffix('.py') + '.__file__' for name in INSTALLED)})"
    places = run(environment / "python", "-c", code, cwd=tmp_path).stdout.split()
    assert len(places) == len(INSTALLED)
    assert all(Path(place).is_relative_to(environment.parent) for place in places)


@pytest.mark.parametrize("program", [["python", "-m", "pipeline"], ["masked-lm-pipeline"]])
def test_the_pipeline_runs_from_any_directory(environment, tmp_path, program):
    command = [environment / program[0], *program[1:], "--runner", "local", "--config", "quickstart"]
    assert "model_type: modernbert" in run(*command, "--print_config", cwd=tmp_path).stdout
    assert "preprocess  run" in run(*command, "--plan", cwd=tmp_path).stdout
    (tmp_path / "notes.csv").write_text("body\n" + "A note that says something.\n" * 50)
    more = ["--ingest.path", "notes.csv", "--preprocess.text_column", "body", "--tokenizer.vocab_size", "300"]
    done = run(*command, *more, "--until", "preprocess", cwd=tmp_path)
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:4]] == [
        [step, "ran"] for step in ("ingest", "tokenizer", "preprocess")
    ]
    assert (tmp_path / "pipeline_root/runs/latest/report.html").is_file()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (["masked-lm-pipeline"], "usage: masked-lm-pipeline"),
        (["masked-lm-serve"], "--model-dir"),
        (["python", "-m", "serving"], "--model-dir"),
        (["masked-lm-ask"], "--top-k"),
        (["python", "-m", "serving.client"], "--top-k"),
    ],
)
def test_commands_have_help(environment, tmp_path, program, said):
    assert said in run(environment / program[0], *program[1:], "--help", cwd=tmp_path).stdout


def test_files_that_the_code_reads_are_found(environment, tmp_path):
    code = (
        "import pathlib, components, evaluate, serving\n"
        "from serving.server.playground import Playground\n"
        "assert Playground({}).answer('GET', '/script.js').body\n"
        "here = pathlib.Path(serving.__file__).parent\n"
        "assert (here / 'graph/batching_params.pbtxt').is_file()\n"
        "assert (here / 'deployment/.env').is_file()\n"
        "metrics = pathlib.Path(components.__file__).parent / 'metrics'\n"
        "print(evaluate.load(str(metrics / 'masked_perplexity')).compute(predictions=[0.0])['perplexity'])"
    )
    cache = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    assert run(environment / "python", "-c", code, cwd=tmp_path, env=cache).stdout == "1.0\n"
