"""From a checkpoint to an answer at the command line: export, publish, serve, ask."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.contract import manifest
from components.contract.artifacts import Checkpoint, Tokenizer
from components.export import Export
from components.exporting.params import ExportParams
from components.publishing.serving_directory import publish


@pytest.fixture(scope="module")
def exported(byte_level_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the export step makes of a small random model."""
    from components.modeling.checkpoint import build_masked_lm, save_masked_lm

    root = tmp_path_factory.mktemp("artifacts")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = build_masked_lm("roberta", {**sizes, "initializer_range": 0.5}, byte_level_tokenizer, seed=0)
    save_masked_lm(model, byte_level_tokenizer, root / "checkpoint/model")
    byte_level_tokenizer.save_pretrained(root / "tokenizer/tokenizer")
    out = root / "export"
    out.mkdir()
    Export(Checkpoint(root / "checkpoint"), Tokenizer(root / "tokenizer"), ExportParams()).run(out)
    return out


# By default `tests/test_pipeline.py` exports a model and validates it, and `test_server_command.py` serves one.
@pytest.mark.slow
def test_ask_what_was_exported(exported: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, TFAutoModelForMaskedLM
    from transformers.pipelines import FillMaskPipeline

    saved_model = exported / "saved_model"
    files = manifest.describe_files(saved_model)
    sha256 = {name: file["sha256"] for name, file in files.items()}
    publish(saved_model, tmp_path / "fill_mask", "digest", sha256, {})

    command = [sys.executable, "-m", "serving", "--model-dir", tmp_path / "fill_mask", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1].partition("/v1/")[0]
        curl = server.stdout.readline().removeprefix("Ask it:").strip()
        said = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
        assert json.loads(said.stdout)["predictions"][0]["status"] == "ok"

        text = "The Milky Way is a <mask> galaxy."
        asked = subprocess.run(
            [sys.executable, "-m", "serving.client", text, "--top-k", "3", "--url", url],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
    assert asked.stderr == ""
    answer = json.loads(asked.stdout)
    checkpoint = exported.parent / "checkpoint/model"
    pipeline = FillMaskPipeline(
        model=TFAutoModelForMaskedLM.from_pretrained(checkpoint),
        tokenizer=AutoTokenizer.from_pretrained(checkpoint),
        framework="tf",
    )
    expected = pipeline(text, top_k=3)
    assert [list(one) for one in answer] == [list(one) for one in expected]
    for one, other in zip(answer, expected, strict=True):
        assert one["score"] == pytest.approx(other["score"], rel=1e-4)
        assert {**one, "score": 0} == {**other, "score": 0}
