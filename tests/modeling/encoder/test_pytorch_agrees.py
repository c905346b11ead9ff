"""PyTorch's classes and our own encoder, in both directions: what one writes the other loads, and answers the same."""

import dataclasses
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from transformers import CONFIG_MAPPING

from components.modeling.checkpoint import load_checkpoint
from components.modeling.pytorch_weights import save_pytorch_weights
from components.training.training_model import label_positions, masked_cross_entropy
from tests.modeling.encoder.designed_models import DESIGNED
from tests.own_environment import EnvironmentMissing, python_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MODELS_SCRIPT = Path(__file__).parents[1] / "pytorch_models.py"
LOGITS_SCRIPT = Path(__file__).parents[1] / "pytorch_logits.py"
PREDICTIONS = 8
FAILS_IN_5 = ("nystromformer by landmarks", "nystromformer by landmarks alone", "nystromformer without a convolution")
"""Of a padded text transformers 5 makes a mask that doesn't fit landmarks, and it wants a kernel."""
LOGITS_WITHIN = 2e-5
GRADIENTS_WITHIN = 1e-3
"""Of the largest gradient of a weight."""


@dataclasses.dataclass(frozen=True)
class PyTorch:
    """A version of PyTorch's classes, and the models that they made.

    Attributes:
        python: Its interpreter.
        directory: A folder of each model.
        names: The models' names.
    """

    python: Path
    directory: Path
    names: list[str]

    @property
    def ours(self) -> Path:
        """Where to save what was loaded here: a folder of each model."""
        return self.directory.with_name(f"{self.directory.name}-ours")


def answer_of(python: Path, script: Path, directory: Path) -> dict[str, object]:
    """What a script prints at last."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([python, script, directory], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", params=["4", "5"])
def pytorch(request, tmp_path_factory):
    try:
        python = python_with(f"PyTorch, transformers {request.param}")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    directory = tmp_path_factory.mktemp(f"transformers{request.param}")
    (directory / "models.json").write_text(json.dumps(DESIGNED))
    answer = answer_of(python, MODELS_SCRIPT, directory)
    assert answer["transformers"].split(".")[0] == request.param
    # Each is known to one of the two; transformers 4's configurations are those that are installed here.
    known_to_4 = {name for name, (model_type, _) in DESIGNED.items() if model_type in CONFIG_MAPPING}
    assert set(answer["failed"]) <= (set() if request.param == "4" else set(FAILS_IN_5)), answer["failed"]
    made = set(answer["made"])
    assert made == known_to_4 if request.param == "4" else made >= DESIGNED.keys() - known_to_4
    return PyTorch(python, directory, answer["made"])


def gradients_of(model, batch):
    """By variable's name, of the loss at the labels."""
    labels = tf.constant(batch["labels"], tf.int64)
    positions, labels_there = label_positions(labels, PREDICTIONS)
    inputs = {name: tf.constant(batch[name], tf.int32) for name in ("input_ids", "attention_mask")}
    weights = {name: weight.variable for name, weight in model.weight_map().items()}
    with tf.GradientTape() as tape:
        total, count = masked_cross_entropy(model.logits_at(inputs, positions), labels_there)
        loss = total / count
    return {
        name: None if each is None else tf.convert_to_tensor(each).numpy()
        for name, each in tape.gradient(loss, weights).items()
    }


def differences(folder: Path, ours: Path) -> list[str]:
    """What differs from PyTorch, in sentences. Saves the model that was loaded, too."""
    found = []
    batch = np.load(folder / "expected.npz")
    loaded = load_checkpoint(folder)
    model = loaded.model
    if loaded.missing:
        found.append(f"missing: {loaded.missing}")
    inputs = {name: tf.constant(batch[name], tf.int32) for name in ("input_ids", "attention_mask")}
    logits = model.logits(inputs).numpy()
    attended = batch["attention_mask"] > 0
    difference = np.abs(logits - batch["logits"])[attended].max()
    if not difference <= LOGITS_WITHIN:
        found.append(f"logits differ by {difference}")
    # A checkpoint whose weights are gradients.
    wanted = {
        name: weight.variable.numpy()
        for name, weight in load_checkpoint(folder / "gradients").model.weight_map().items()
    }
    for name, gradient in gradients_of(model, batch).items():
        gradient = np.zeros_like(wanted[name]) if gradient is None else gradient
        largest = np.abs(wanted[name]).max()
        difference = np.abs(gradient - wanted[name]).max()
        if not difference <= GRADIENTS_WITHIN * largest + 1e-6:
            found.append(f"gradients of {name}, up to {largest}, differ by {difference}")
    ours.mkdir(parents=True)
    save_pytorch_weights(model, ours)
    np.savez(ours / "expected.npz", **{**batch, "logits": logits})
    return found


def test_what_it_makes_loads_here_and_answers_the_same(pytorch, caplog):
    """In logits and in the gradients of all weights; no weight is left over."""
    found = {name: differences(pytorch.directory / name, pytorch.ours / name) for name in pytorch.names}
    assert {name: each for name, each in found.items() if each} == {}
    assert [record.getMessage() for record in caplog.records] == []


def test_its_older_files_load_here(pytorch):
    """`pytorch_model.bin`: the same weights, bit for bit."""
    (pickle,) = pytorch.directory.glob("*/pickle")
    weights = load_checkpoint(pickle).model.weight_map()
    expected = load_checkpoint(pickle.parent).model.weight_map()
    for name, weight in weights.items():
        np.testing.assert_array_equal(weight.variable, expected[name].variable)


def test_it_loads_what_is_saved_here(pytorch):
    """Without a missing or an unexpected weight, and answers the same."""
    results = answer_of(pytorch.python, LOGITS_SCRIPT, pytorch.ours)["results"]
    assert results.keys() == set(pytorch.names)
    assert {name: result["mismatches"] for name, result in results.items() if result["mismatches"]} == {}
    assert {name: r["difference"] for name, r in results.items() if not r["difference"] <= 1e-4} == {}
