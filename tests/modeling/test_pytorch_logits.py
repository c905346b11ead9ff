"""PyTorch's logits equal Keras's within 1e-4, for every architecture, in transformers 4 and 5."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from components.modeling.checkpoint import masked_lm_model_types
from components.modeling.pytorch_weights import save_pytorch_weights
from tests.modeling.tiny_models import VARIANTS, random_model, token_batch
from tests.own_environment import EnvironmentMissing, python_with

TOLERANCE = 1e-4
SCRIPT = Path(__file__).with_name("pytorch_logits.py")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A checkpoint of every architecture and variant, with what Keras answers."""
    directory = tmp_path_factory.mktemp("checkpoints")
    models = {name: (name, {}) for name in masked_lm_model_types()} | VARIANTS
    batch = token_batch()
    for name, (model_type, values) in models.items():
        model = random_model(model_type, **values)
        folder = directory / name
        folder.mkdir()
        save_pytorch_weights(model, folder)
        logits = model(batch, training=False).logits.numpy()
        np.savez(folder / "expected.npz", logits=logits, **{key: ids.astype(np.int64) for key, ids in batch.items()})
    return directory


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("major", ["4", "5"])
def test_every_architecture(major, folders):
    try:
        python = python_with(f"PyTorch, transformers {major}")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([python, SCRIPT, folders], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["transformers"].split(".")[0] == major
    results = answer["results"]
    assert results.keys() == {path.name for path in folders.iterdir()}
    assert {name: result["mismatches"] for name, result in results.items() if result["mismatches"]} == {}
    assert {name: r["difference"] for name, r in results.items() if not r["difference"] <= TOLERANCE} == {}
