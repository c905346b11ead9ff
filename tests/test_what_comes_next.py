"""Every command that a run prints works as it is printed, and so does every example of the page on Python.

One run goes on from command to command, each in a shell of its own; the page's examples find its steps cached.
"""

import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from components.modeling.pytorch_weights import save_pytorch_weights
from masked_lm_pipeline import ArtifactError, ConfigError, FinishedRun, load_masked_lm, load_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
NOTES = "Ann's notes.txt"
PAGE = ROOT / "docs/python_api.md"
DOCUMENTED = (FinishedRun, load_masked_lm)
"""What shows an example in its docstring that the page doesn't."""


def shell(command, directory):
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        command, shell=True, cwd=directory, env=environment, capture_output=True, text=True, timeout=600
    )


def printed(done):
    """What a run printed at its end, by what it is for."""
    lines = (re.fullmatch(r"([A-Z][\w ]{,9}\w) {1,9}(\S.*)", line) for line in done.stdout.splitlines())
    return {found[1]: found[2] for found in lines if found}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    directory = tmp_path_factory.mktemp("here")
    texts = (
        f"The sky is blue because air scatters light, says book {n}. Others say: it is the sea." for n in range(200)
    )
    (directory / NOTES).write_text("\n\n".join(texts))
    return directory


@pytest.fixture(scope="module")
def pushed(here):
    """The last run, to which the printed commands lead."""
    first = [sys.executable, str(ROOT / "pipeline.py"), "--ingest.path", NOTES, "--train.epochs", "1"]
    done = subprocess.run([*first, "--until", "train"], cwd=here, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    train = printed(done)
    assert (here / train["Checkpoint"] / "config.json").is_file()

    loaded = shell(f"{sys.executable} -c \"$LINE; print(type(model).__name__, len(tokenizer) > 0)\"".replace(
        "$LINE", train["In Python"]), here)  # fmt: skip
    assert loaded.stdout == "EncoderForMaskedLM True\n", loaded.stderr

    evaluated = shell(train["Next step"], here)
    assert evaluated.returncode == 1, evaluated.stderr
    assert evaluated.stdout.count(" cached ") == 4
    assert "not blessed" in evaluated.stderr

    done = shell(printed(evaluated)["Push it"], here)
    assert done.returncode == 0, done.stderr
    return printed(done)


def test_the_printed_commands_lead_to_an_answer(here, pushed):
    with subprocess.Popen(
        f"exec {pushed['Serve it']} --port 0", shell=True, cwd=here, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            url = re.search(r"http://127.0.0.1:\d+", server.stdout.readline())[0]
            own = server.stdout.readline().removeprefix("Ask it:")
            asked = shell(f"{pushed['Ask it']} --url {url}", here)
            assert asked.returncode == 0, asked.stderr
            assert len(json.loads(asked.stdout)) == 3
            assert json.loads(shell(own, here).stdout)["predictions"][0]["status"] == "ok"
        finally:
            server.terminate()


@pytest.mark.long
def test_the_examples_of_the_page_work_one_after_the_other(here, pushed):
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(examples) > 8
    examples.append("from masked_lm_pipeline import *")
    examples += [textwrap.dedent(inspect.getdoc(each).split("Example:\n")[1]) for each in DOCUMENTED]
    (here / "page.py").write_text("\n".join(examples).replace("notes.txt", NOTES))
    done = subprocess.run([sys.executable, "page.py"], cwd=here, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "nearest: train.epochs" in done.stdout
    assert "(tokenizer.pretrained)" in done.stdout
    assert done.stdout.count("A model must be blessed".lower()) == 1
    assert re.search(r"measure +ran|measure +cached", done.stdout)
    ran = re.findall(r"^  (\w+) +ran ", done.stdout, re.MULTILINE)
    assert set(ran) <= {"export", "validate", "measure", "push"}


def test_the_model_loads_whatever_names_it(here, pushed, tmp_path):
    root = here / "pipeline_root"
    done = load_run(root=root)
    model, tokenizer = load_masked_lm(done)
    # A folder as people with PyTorch have it.
    save_pytorch_weights(model, tmp_path)
    tokenizer.save_pretrained(tmp_path)
    versions = root / "serving/fill_mask"
    checkpoint = done.checkpoint
    names = ["latest", done.id, done.directory, checkpoint, checkpoint.directory, checkpoint.model_directory]
    for source in [*names, versions, versions / "1", tmp_path]:
        same, its = load_masked_lm(source, root=root)
        assert its.get_vocab() == tokenizer.get_vocab()
        for one, other in zip(model.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    other = tmp_path / "other root"
    with pytest.raises(ArtifactError, match="must have its checkpoint among the root's artifacts"):
        load_masked_lm(versions, root=other)
    with pytest.raises(ConfigError, match=r"exported for servers.*name the run that made it"):
        load_masked_lm(done.serving_model.saved_model_directory, root=root)
    with pytest.raises(ConfigError, match="no run here trained a model"):
        load_masked_lm("latest", root=other)


def test_a_run_that_fails_says_how_to_go_on(here, pushed):
    command = [sys.executable, str(ROOT / "pipeline.py"), "--ingest.path", NOTES, "--train.epochs", "1"]
    nowhere = ["--validate.url", "http://127.0.0.1:9/v1/models/none", "--push.allow_unblessed", "true"]
    done = subprocess.run([*command, *nowhere], cwd=here, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    again = shell(printed(done)["Go on"], here)
    assert again.returncode == 1
    assert again.stderr == done.stderr
    assert again.stdout.count(" cached ") == 6
