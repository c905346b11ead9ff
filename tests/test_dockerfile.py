"""The training image: what its steps do, as far as that shows without a container."""

import configparser
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent
Step = tuple[str, str]


def steps() -> list[Step]:
    """The Dockerfile's instructions with their arguments, on one line each, without comments."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text("utf-8"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def stage(number: int) -> list[Step]:
    """The steps of one stage, the first of which is its FROM."""
    starts = [index for index, (word, _) in enumerate(steps()) if word == "FROM"]
    return steps()[starts[number] : [*starts, None][number + 1]]


def setup(section: str, key: str) -> list[str]:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", "utf-8")
    return settings[section][key].split("\n")


def copied() -> list[str]:
    return [name for word, rest in stage(1) if word == "COPY" for name in shlex.split(rest)[:-1]]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path reach the builder: the last line that fits has the say."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            names = [path, *map(str, Path(path).parents)][:-1] if "/" in path else [path]
            anywhere = pattern.startswith("**/") and any(fnmatch.fnmatch(part, pattern[3:]) for part in path.split("/"))
            if anywhere or any(fnmatch.fnmatch(name, pattern) for name in names):
                sent = line.startswith("!")
    return sent


def test_all_that_is_installed_is_copied_and_sent_and_nothing_else() -> None:
    packages = {name.partition(".")[0] for name in setup("options.packages.find", "include") if name}
    assert set(copied()) == packages | {
        "setup.cfg",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "pipeline.py",
    }
    for name in copied():
        assert (ROOT / name).exists()
        assert is_sent(name), name
    assert is_sent("serving/deployment/.env")
    for path in (".env", ".git/config", ".venv/bin/python", "pipeline_root/x", "tests/conftest.py", ".netrc"):
        assert not is_sent(path), path
    assert not is_sent("serving/__pycache__/x.pyc")


def test_libraries_are_installed_before_the_code_is_copied() -> None:
    words = [f"{word} {rest}" for word, rest in stage(1)]
    libraries = next(index for index, step in enumerate(words) if "pip install" in step)
    assert {"pipeline.py", "components", "serving"}.isdisjoint(
        " ".join(words[:libraries]).replace("touch pipeline.py", "").split()
    )
    installs = [step for step in words if "pip install" in step]
    assert all("--constraint constraints.txt" in step for step in installs)
    assert "--no-deps" not in installs[0]
    assert "--no-deps" in installs[1]


def test_it_runs_the_pipeline_as_a_user_of_a_fixed_number() -> None:
    last = dict(stage(2))
    [command] = json.loads(last["ENTRYPOINT"])
    assert any(line.startswith(f"{command} =") for line in setup("options.entry_points", "console_scripts"))
    assert last["USER"] == "10001:10001"
    assert "--uid 10001" in " ".join(rest for _, rest in stage(2))
    places = json.loads(last["VOLUME"])
    assert last["WORKDIR"] in places
    home = re.search(r"HF_HOME=(\S+)", " ".join(rest for _, rest in stage(2)))
    assert home
    assert str(Path(home[1]).parent) in places


def test_nothing_secret_is_part_of_it() -> None:
    for word, rest in steps():
        if word in ("ARG", "ENV"):
            assert not re.search("token|secret|password|key", rest, re.IGNORECASE), rest
    assert not any(word == "ADD" for word, _ in steps())


def test_both_bases_and_both_sets_of_libraries() -> None:
    first = steps()[0]
    assert first[0] == "ARG"
    assert re.fullmatch(r"BASE_IMAGE=nvidia/cuda:[\d.]+-base-ubuntu24\.04", first[1])
    assert stage(0)[0] == ("FROM", "${BASE_IMAGE} AS base")
    install = next(rest for word, rest in stage(1) if "pip install" in rest)
    for extras, expected in (("gpu", ".[gpu]"), ("gpu,test", ".[gpu,test]"), ("", ".")):
        words = f"EXTRAS={shlex.quote(extras)}; printf %s {install.split()[-1]}"
        assert subprocess.run(["sh", "-c", words], capture_output=True, text=True).stdout == expected
    assert setup("options.extras_require", "gpu")


@pytest.mark.slow
def test_the_steps_of_the_build_install_the_program(tmp_path: Path) -> None:
    """Each COPY and each `pip install` in turn, but for the libraries, which this environment has already."""
    source, target = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    environment = {
        **os.environ,
        "EXTRAS": "",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_TARGET": str(target),
    }
    environment |= {"PIP_UPGRADE": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for word, rest in stage(1):
        if word == "COPY":
            *names, place = shlex.split(rest)
            for name in names:
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, source / (place if copy is shutil.copytree else name))
        elif word == "RUN" and "pip install" in rest:
            command = re.sub(r"--mount=\S+", "", rest).replace("/opt/venv/bin/python", shlex.quote(sys.executable))
            done = subprocess.run(["sh", "-c", command], cwd=source, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    for file in (
        "pipeline.py",
        "configs/quickstart.yaml",
        "serving/deployment/.env",
        "serving/server/playground/script.js",
    ):
        assert (target / file).stat().st_size, file
    run = subprocess.run(
        [sys.executable, "-m", "pipeline", "--runner", "local", "--print_config"],
        cwd=target,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(target)},
    )
    assert run.returncode == 0, run.stderr
    assert "ingest:" in run.stdout
