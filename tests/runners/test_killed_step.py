"""A container that dies in the middle of its training: the next one goes on, and nobody sees it in the result."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.config.pipeline_config import Config
from components.contract.component_json import as_json
from components.ingest import Ingest
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer
from components.train import Train
from pipeline import planned_inputs
from runners.one_step import run_step
from tests.test_pipeline import write_job

ROOT = Path(__file__).resolve().parents[2]


def step(component, out, root=None):
    """A process that runs a step."""
    told = [f"--component={as_json(component)}", f"--out={out}", *([] if root is None else [f"--root={root}"])]
    return subprocess.Popen(
        [sys.executable, "-m", "runners.kubeflow.step", *told],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """A training whose inputs are there."""
    directory = tmp_path_factory.mktemp("inputs")
    write_job(directory)
    sections = {
        "ingest": {"path": str(directory / "eli5.json.gz")},
        "train": {"epochs": 4, "checkpoint_every_steps": 20},
    }
    config = Config.load(directory / "job.yaml", **sections)
    column = config.preprocess.named_columns
    corpus, _ = run_step(Ingest(config.ingest), directory / "corpus")
    tokenizer, _ = run_step(PrepareTokenizer(corpus, column, config.tokenizer), directory / "tokenizer")
    blocks, _ = run_step(Preprocess(corpus, tokenizer, config.preprocess), directory / "blocks")
    return Train(blocks, tokenizer, config.train, planned_inputs(config))


@pytest.fixture(scope="module")
def undisturbed(train, tmp_path_factory):
    """What it makes where nothing happens."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    with step(train, out) as process:
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return train.at(out)


@pytest.mark.slow
def test_a_training_that_is_killed_twice_ends_as_one_that_is_not(train, undisturbed, tmp_path):
    out, root = tmp_path / "out", tmp_path / "root"
    for epoch, number, code in ((1, signal.SIGTERM, 143), (3, signal.SIGKILL, -signal.SIGKILL)):
        with step(train, out, root) as process:
            for line in process.stdout:
                if f"epoch {epoch}/4" in line:
                    process.send_signal(number)
        assert process.returncode == code
        assert not out.exists()
    with step(train, out, root) as process:
        said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert "train       goes on from step " in said
    assert train.at(out).digest == undisturbed.digest
    assert not (out / "checkpoints").exists()
