"""In what precision an exported model computes: that which is set, or the fastest that this machine's hardware has."""

import dataclasses
from typing import TYPE_CHECKING

from components.contract.reports import FormAccuracy
from components.exporting.accuracy import AccuracyTest, is_accurate, require_accuracy
from components.exporting.params import ExportParams
from components.modeling.masked_lm import MaskedLM
from foundation.errors import ModelError

if TYPE_CHECKING:
    from serving.graph.language_model import Model

FLOAT32, BFLOAT16 = "float32", "bfloat16"
LEAST_PART = 0.5
"""Which part of a model's matrices must become bfloat16: with less, there is hardly anything gained."""


@dataclasses.dataclass(frozen=True)
class ExportedForm:
    """A model as it is exported.

    Attributes:
        model: What computes.
        precision: float32 or bfloat16.
        accuracy: How it answers beside the checkpoint; None for the checkpoint itself, or where nothing was asked.
        reason: Why it has this precision, where that was chosen here; None where it was set.
    """

    model: "Model"
    precision: str = FLOAT32
    accuracy: FormAccuracy | None = None
    reason: str | None = None


def form_of(model: MaskedLM, params: ExportParams, test: AccuracyTest | None) -> ExportedForm:
    """The form of a model to export.

    Args:
        model: The checkpoint, in float32.
        params: The precision, and how much worse it may be.
        test: Measures a form; None where there is nothing to measure it on.

    Raises:
        ModelError: If bfloat16 is set, and is worse than is allowed or can be had of few matrices alone.
    """
    if params.precision == FLOAT32:
        return ExportedForm(model)
    if params.precision == BFLOAT16:
        form = _in_bfloat16(model, test)
        if form.accuracy is not None:
            require_accuracy(form.accuracy, params.max_loss_increase, "leave out --export.precision")
        return form
    hardware = why_bfloat16()
    if hardware is None:
        return ExportedForm(model, reason="the machine that exported it has no hardware for bfloat16")
    if test is None:
        return ExportedForm(model, reason="there were no blocks to measure bfloat16 on")
    try:
        form = _in_bfloat16(model, test)
    except ModelError as error:
        return ExportedForm(model, reason=error.received)
    if form.accuracy is None or not is_accurate(form.accuracy, params.max_loss_increase):
        found = "" if form.accuracy is None else f" ({form.accuracy.sentence})"
        return ExportedForm(
            model, reason=f"bfloat16 is worse by more than {params.max_loss_increase:g} nats a token{found}"
        )
    return dataclasses.replace(form, reason=hardware)


def _in_bfloat16(model: MaskedLM, test: AccuracyTest | None) -> ExportedForm:
    from serving.graph.bfloat16 import Bfloat16Model

    form = Bfloat16Model(model)
    if form.part < LEAST_PART:
        raise ModelError(
            "a model in bfloat16 must have most of its matrices in it",
            received=f"{form.part:.0%} of them: the others stand where its code chooses by a number, as by a language",
            remedy="leave out --export.precision",
        )
    return ExportedForm(form, BFLOAT16, None if test is None else test.of(BFLOAT16, form.logits_at))


def why_bfloat16() -> str | None:
    """What this machine multiplies bfloat16 matrices with; None where it has no hardware for it."""
    from components.training.devices import Devices

    devices = Devices.visible()
    return str(devices) if devices.multiply_bfloat16 else None
