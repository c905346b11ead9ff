"""A disk that fails in the middle of the weights is an error with the system's number, and no crash."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.modeling.checkpoint import build_masked_lm, load_masked_lm, save_masked_lm
from tests.training.tiny_training import SIZES, write_tokenizer

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_library_loads_what_was_written(tmp_path):
    from transformers import TFAutoModelForMaskedLM

    tokenizer = write_tokenizer(tmp_path / "tokenizer").load()
    sizes = {name: size for name, size in SIZES.items() if name != "embedding_size"}
    model = build_masked_lm("bert", sizes, tokenizer, seed=0)
    save_masked_lm(model, tokenizer, tmp_path / "model")
    assert "save_weights" not in vars(model)
    for read in (load_masked_lm, TFAutoModelForMaskedLM.from_pretrained):
        again = read(tmp_path / "model")
        for mine, theirs in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def save_below(shares, directory):
    """Saves a model in a process whose files may have such shares of its bytes; how it ended, and what it said."""
    code = f"""
import resource, signal
from pathlib import Path
from foundation.keras_choice import choose_keras
choose_keras()
from tests.modeling.library.test_hdf5_writing import *
directory = Path({str(directory)!r})
tokenizer = write_tokenizer(directory / "tokenizer").load()
model = build_masked_lm("roformer", SIZES, tokenizer, seed=0)
from components.modeling.library.hdf5_writing import safe_weights_writing
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
model.save_pretrained(directory / "model")
size = max(file.stat().st_size for file in (directory / "model").iterdir())
for share in {shares}:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), resource.RLIM_INFINITY))
    try:
        with safe_weights_writing(model):
            model.save_pretrained(directory / "model")
    except OSError as error:
        print(error.errno)
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_wherever_the_weights_can_not_be_written_on_there_is_an_error(tmp_path):
    shares = [0.02, 0.2, 0.5, 0.8, 0.99]
    done = save_below(shares, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["27"] * len(shares)  # EFBIG: the file would become too large
