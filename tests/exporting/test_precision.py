"""Which precision an export has: as it is set, by the hardware, and never one that is too much worse."""

import numpy as np
import pytest

from components.contract.artifacts import Checkpoint, Tokenizer
from components.evaluation.params import EvaluateParams
from components.export import Export
from components.exporting.accuracy import AccuracyTest, first_questions
from components.exporting.params import ExportParams
from components.exporting.precision import form_of
from components.modeling.checkpoint import build_masked_lm
from components.modeling.library.adapter import as_masked_lm
from components.training import devices
from foundation.errors import ConfigError, ModelError
from tests.exporting.test_accuracy import MODEL
from tests.loopback_hub.small_artifacts import bpe

SETTINGS = EvaluateParams().questions(0.15)
WITH_BFLOAT16, WITHOUT = "flags\t\t: fpu avx512_bf16 amx_tile\n", "flags\t\t: fpu avx2\n"


@pytest.fixture(scope="module")
def questions(blocks, tokenizer):
    return first_questions(blocks, tokenizer, SETTINGS)


@pytest.fixture(scope="module")
def model():
    return as_masked_lm(build_masked_lm("roberta", MODEL, bpe(), seed=1))


@pytest.fixture(scope="module")
def spoiled():
    """A model whose logits are far from 0, and near each other: bfloat16 has too few digits for it."""
    model = build_masked_lm("roberta", MODEL, bpe(), seed=1)
    words = model.get_input_embeddings().weight
    words.assign_add(np.full(words.shape, 30.0))
    return as_masked_lm(model)


def on(hardware, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(hardware, "utf-8")
    monkeypatch.setattr(devices, "CPU_INFORMATION", tmp_path / "cpuinfo")


def test_float32_is_the_checkpoint_itself_and_asks_nothing(model):
    form = form_of(model, ExportParams(), test=None)
    assert form.model is model
    assert (form.precision, form.accuracy, form.reason) == ("float32", None, None)


def test_bfloat16_is_measured(model, questions):
    form = form_of(model, ExportParams(precision="bfloat16"), AccuracyTest(model, questions))
    assert form.precision == form.accuracy.form == "bfloat16"
    assert abs(form.accuracy.loss_increase) < 0.01
    assert 0 < form.accuracy.largest_difference < 0.5
    assert form.accuracy.same_first_answers > 0.9


def test_a_spoiled_form_is_refused(spoiled, questions):
    with pytest.raises(ModelError, match="must not be worse than its checkpoint") as refused:
        form_of(spoiled, ExportParams(precision="bfloat16"), AccuracyTest(spoiled, questions))
    assert "leave out --export.precision" in str(refused.value)
    assert "masked tokens" in str(refused.value)


def test_auto_is_bfloat16_with_the_hardware_for_it(model, questions, tmp_path, monkeypatch):
    on(WITH_BFLOAT16, tmp_path, monkeypatch)
    form = form_of(model, ExportParams(precision="auto"), AccuracyTest(model, questions))
    assert form.precision == "bfloat16"
    assert "bfloat16 instructions" in form.reason


def test_auto_is_float32_without_the_hardware(model, questions, tmp_path, monkeypatch):
    on(WITHOUT, tmp_path, monkeypatch)
    form = form_of(model, ExportParams(precision="auto"), AccuracyTest(model, questions))
    assert form.model is model
    assert "no hardware" in form.reason


def test_auto_is_float32_where_bfloat16_is_too_much_worse(spoiled, questions, tmp_path, monkeypatch):
    on(WITH_BFLOAT16, tmp_path, monkeypatch)
    form = form_of(spoiled, ExportParams(precision="auto"), AccuracyTest(spoiled, questions))
    assert form.model is spoiled
    assert "worse by more than 0.01 nats" in form.reason


def test_the_hardware_is_in_the_key_of_auto_alone(tmp_path, monkeypatch):
    sources = {}
    for hardware in (WITH_BFLOAT16, WITHOUT):
        on(hardware, tmp_path, monkeypatch)
        for precision in ("auto", "bfloat16", "float32"):
            step = Export(Checkpoint(None), Tokenizer(None), ExportParams(precision=precision))
            sources[hardware, precision] = step.sources()
    assert sources[WITH_BFLOAT16, "auto"] != sources[WITHOUT, "auto"]
    assert all(found == {} for (_, precision), found in sources.items() if precision != "auto")


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan")])
def test_an_impossible_bound_is_refused(value):
    with pytest.raises(ConfigError, match="max_loss_increase"):
        ExportParams(max_loss_increase=value)
