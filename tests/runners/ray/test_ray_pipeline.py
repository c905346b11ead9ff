"""The pipeline on Ray beside the same one in a single process: equal artifacts, also where a worker is killed."""

import contextlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import components.blocks.shared_texts
import components.evaluation.shared_scoring
import components.sources.local
import masked_lm_pipeline
from components.config.pipeline_config import Config
from components.contract import manifest
from components.contract.artifacts import Artifact, Tokenizer
from components.evaluate import Evaluate
from masked_lm_pipeline.finished_run import FinishedRun
from runners.choice import chosen_workers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SHARED = ("ingest", "tokenizer", "preprocess")
"""The steps whose artifacts are equal whatever the number of workers."""


@pytest.fixture(autouse=True)
def everything_is_worth_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.sources.local, "LEAST_SHARED_BYTES", 0)
    monkeypatch.setattr(components.blocks.shared_texts, "SHARD_BYTES", 4000)
    monkeypatch.setattr(components.evaluation.shared_scoring, "LEAST_OPERATIONS", 0)


def config_of(directory: Path, **train: object) -> Config:
    """A tiny job on four files, with dropout off."""
    data = directory / "data"
    if not data.exists():
        data.mkdir()
        for number in range(4):
            records = [
                {
                    "text": f"File {number} has record {record}, which says {record * 7 % 11} "
                    + "and more " * (record % 5)
                }
                for record in range(120)
            ]
            (data / f"{number}.jsonl").write_text("\n".join(map(json.dumps, records)))
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    settings = {"model_type": "bert", "model_config": {**shape, **dropout}, "epochs": 2, "batch_size": 8, "seed": 3}
    return Config().replace(
        ingest={"path": str(data), "test_size": 0.2},
        tokenizer={"pretrained": None, "vocab_size": 300},
        preprocess={"text_column": "text", "block_size": 32},
        train={**settings, **train},
        evaluate={"batch_size": 4, "bootstrap_resamples": 100},
        ray={"workers": 2},
    )


def digests(run: FinishedRun) -> dict[str, str]:
    """The digest of each step's artifact."""
    return {step: run.artifact(step, Artifact).digest for step in run.steps}


def weights(run: FinishedRun) -> dict[str, np.ndarray]:
    """The trained model's weights, by name."""
    model, _ = masked_lm_pipeline.load_masked_lm(run)
    # Keras numbers the models of a process.
    return {weight.name.partition("/")[2]: weight.numpy() for weight in model.weights}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job")


@pytest.fixture(scope="module")
def alone(directory: Path) -> FinishedRun:
    return masked_lm_pipeline.run(config_of(directory), root=directory / "alone", until="evaluate", quiet=True)


def test_what_workers_make_is_what_one_process_makes(directory: Path, alone: FinishedRun) -> None:
    config = config_of(directory)
    shared = masked_lm_pipeline.run(config, root=directory / "ray", until="evaluate", quiet=True, runner="ray")
    assert set(shared.steps.values()) == {"ran"}
    ours, theirs = digests(shared), digests(alone)
    assert {step: ours[step] for step in SHARED} == {step: theirs[step] for step in SHARED}
    assert shared.checkpoint.report.execution.replicas == 2
    assert shared.checkpoint.manifest["key"] == alone.checkpoint.manifest["key"]
    expected, found = weights(alone), weights(shared)
    for name, weight in expected.items():
        np.testing.assert_allclose(found[name], weight, atol=2e-5, err_msg=name)
    perplexities = [run.evaluation.metrics["perplexity_after"] for run in (shared, alone)]
    assert perplexities[0] == pytest.approx(perplexities[1], rel=1e-4)

    # The evaluation of one and the same model.
    step = Evaluate(
        alone.corpus,
        alone.blocks,
        alone.artifact("tokenizer", Tokenizer),
        alone.checkpoint,
        config.push.pushed_to.below(str(directory / "alone")),
        config.train.eval_mlm_probability,
        config.evaluate,
    )
    (directory / "evaluation").mkdir()
    with chosen_workers("ray", config) as workers:
        step.run_with(directory / "evaluation", workers)
    files = alone.evaluation.manifest["files"]
    assert manifest.describe_files(directory / "evaluation") == files


def test_a_worker_that_is_killed_in_training_changes_nothing(directory: Path) -> None:
    config = config_of(directory, checkpoint_every_steps=5, epochs=12)
    undisturbed = masked_lm_pipeline.run(config, root=directory / "whole", until="train", quiet=True, runner="ray")
    killed: list[str] = []
    thread = threading.Thread(target=kill_a_trainer, args=(directory / "killed", killed), daemon=True)
    thread.start()
    done = masked_lm_pipeline.run(config, root=directory / "killed", until="train", quiet=True, runner="ray")
    thread.join()
    assert killed, "nobody was killed"
    assert done.status == "succeeded"
    expected, found = weights(undisturbed), weights(done)
    for name, weight in expected.items():
        np.testing.assert_array_equal(found[name], weight, err_msg=name)
    losses = [[row.loss for row in run.checkpoint.history] for run in (done, undisturbed)]
    assert losses[0] == losses[1]


def kill_a_trainer(root: Path, killed: list[str]) -> None:
    """Kills one of the processes that train, once there is a checkpoint."""
    until = time.monotonic() + 300
    while not list(root.glob("artifacts/train/*.partial/checkpoints/step-*/manifest.json")):
        if time.monotonic() > until:
            return
        time.sleep(0.02)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "TrainWorker" in " ".join(process.cmdline()):
                process.kill()
                killed.append(str(process.pid))
                return
