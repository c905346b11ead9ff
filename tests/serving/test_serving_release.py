"""What is exported answers the same in the release of TensorFlow that TensorFlow Serving is built from."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from components.modeling.library.adapter import as_masked_lm
from serving.graph.signatures import TextSignatures, TokenSignatures
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.graph.tokenizers.probes import probes
from serving.server.models.saved_model import SavedModel
from tests.modeling.tiny_models import EVERY_MODEL, SHORT_BATTERY, random_model, token_batch
from tests.own_environment import EnvironmentMissing, python_with
from tests.serving.graph.tokenizers.unigram_tokenizers import families

SCRIPT = Path(__file__).with_name("release_answers.py")
LONGEST = 48

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expected(tmp_path_factory, byte_level_tokenizer, wordpiece_tokenizer):
    """Exports by folder, and what each signature answers here."""
    directory = tmp_path_factory.mktemp("exports")
    for model_type in SHORT_BATTERY if EVERY_MODEL else ("bart", "bert", "modernbert"):
        module = TokenSignatures(as_masked_lm(random_model(model_type)), 4, top_k=5, max_sequence_length=LONGEST)
        save(module, directory / model_type)
    tokenizers = {"byte-level BPE": byte_level_tokenizer, "WordPiece": wordpiece_tokenizer}
    tokenizers |= {name: families()[name]() for name in ("albert", "xlm-roberta", "deberta-v2")}
    asked = {}
    for name, tokenizer in tokenizers.items():
        model = random_model("bert", vocab_size=len(tokenizer))
        in_graph = build_in_graph_tokenizer(tokenizer, len(tokenizer))
        module = TextSignatures(as_masked_lm(model), in_graph, top_k=5, max_top_k=8, max_sequence_length=LONGEST)
        save(module, directory / name)
        texts = [f"{text} {tokenizer.mask_token} the" for text in probes([tokenizer.mask_token])]
        asked[name] = np.array([text.encode() for text in texts] + [b"", b"\xff\x00", b"the"], object)
    answers = {folder.name: ask(folder, asked.get(folder.name)) for folder in sorted(directory.iterdir())}
    return answers, directory


def save(module, folder):
    module.save(folder / "saved_model")


def ask(folder, texts):
    """What each signature answers here; what was asked is left for the other release."""
    model = SavedModel(folder / "saved_model")
    answers = {}
    for signature in [name for name, signature in model.signatures.items() if signature.inputs]:
        inputs = token_batch()
        if "language_ids" in model.signatures[signature].inputs:
            inputs["language_ids"] = np.array([1, 0], np.int32)
        if texts is not None and signature in ("serving_default", "fill_mask"):
            inputs = {"text": texts}
            if signature == "fill_mask":
                targets = [b"the\na" if row % 2 else b"" for row in range(len(texts))]
                inputs |= {"top_k": np.full(len(texts), 3, np.int32), "targets": np.array(targets, object)}
        np.savez(folder / f"{signature}.in.npz", **inputs)
        answers[signature] = model.run(signature, inputs)
    return answers


@pytest.mark.timeout(1800)
def test_every_signature_answers_the_same(expected):
    answers, directory = expected
    try:
        python = python_with("TensorFlow Serving")
    except EnvironmentMissing as error:
        pytest.skip(str(error))
    hidden = ("PYTHONPATH", "VIRTUAL_ENV", "TF_USE_LEGACY_KERAS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run([python, SCRIPT, directory], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1].startswith("2.20.")
    for folder, signatures in answers.items():
        for name, outputs in signatures.items():
            theirs = np.load(directory / folder / f"{name}.out.npz", allow_pickle=True)
            assert sorted(theirs.files) == sorted(outputs)
            for key, values in outputs.items():
                if values.dtype == np.float32:
                    np.testing.assert_allclose(theirs[key], values, rtol=1e-4, atol=1e-5, err_msg=f"{folder} {name}")
                else:
                    np.testing.assert_array_equal(theirs[key], values, err_msg=f"{folder} {name} {key}")
