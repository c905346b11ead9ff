"""The report and the history of a training, as files."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import reports
from components.contract.manifest import write_json

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

    from components.contract.artifacts import Blocks
    from components.training.continuing import FinishedTraining
    from components.training.execution import Execution
    from components.training.params import TrainingSteps, TrainParams
    from components.training.telemetry import Telemetry


def training_report(
    model: "TFPreTrainedModel",
    blocks: "Blocks",
    params: "TrainParams",
    steps: "TrainingSteps",
    execution: "Execution",
    telemetry: "Telemetry",
    best_epoch: int | None,
    continued: "FinishedTraining | None",
    *,
    has_new_head: bool = False,
    new_words: int = 0,
) -> reports.TrainingReport:
    """What was trained, from what, and on which hardware. Its `seconds` are for the caller to fill in.

    Args:
        model: The trained model.
        blocks: What it was trained on.
        params: The settings. Those that are no part of the step's key leave nothing here.
        steps: The steps that were planned.
        execution: The precision and the devices.
        telemetry: The history of the training.
        best_epoch: The epoch with the lowest validation loss; None without validation.
        continued: The finished training that it went on from; None for none.
        has_new_head: Whether the checkpoint came without its head.
        new_words: How many words of the tokenizer a checkpoint has grown by.
    """
    from components.modeling.frozen_layers import trained_weights
    from components.training.devices import describe_devices

    parameters = int(sum(math.prod(weight.shape) for weight in model.weights))
    trained = int(sum(math.prod(weight.shape) for weight in trained_weights(model, params.layer_freezing)))
    frozen = f" ({trained:,} of them trained)" if params.layer_freezing else ""
    history = telemetry.rows
    last = history[-1]
    saved_epoch = (params.load_best_model_at_end and best_epoch) or last["epoch"]
    validation = "" if last["val_loss"] is None else f", validation {last['val_loss']:#.4g}"
    grown = f"grown by {new_words:,} new {'words' if new_words > 1 else 'word'}, " if new_words else ""
    best = f" (kept: epoch {saved_epoch})" if saved_epoch != last["epoch"] else ""
    before = "" if continued is None else f" ({continued.step:,} of them those of the training {continued.name})"
    losses = f"loss {history[0]['loss']:#.4g}"
    if len(history) > 1:
        losses += f" in the first epoch, {last['loss']:#.4g} in the last"
    return reports.TrainingReport(
        summary=f"{model.config.model_type} of {parameters:,} parameters{frozen}, {grown}{last['step']:,} steps{before}"
        f": {losses}{validation}{best}",
        architecture=type(model).__name__,
        model_type=model.config.model_type,
        parameters=parameters,
        trained_parameters=trained,
        vocabulary_size=model.config.vocab_size,
        has_new_head=has_new_head,
        new_words=new_words,
        started_from=params.pretrained or "random weights",
        continued_from=None if continued is None else continued.name,
        continued_at_step=None if continued is None else continued.step,
        block_size=blocks.block_size,
        packing=blocks.packing,
        share_of_padding=round(1 - blocks.tokens_a_block / blocks.block_size, 4),
        steps=last["step"],
        planned_steps=steps.steps,
        warmup_steps=steps.warmup_steps,
        decay_steps=steps.decay_steps,
        blocks_a_step=steps.blocks_a_step,
        tokens_seen=telemetry.tokens_seen,
        epochs=len(history),
        best_epoch=best_epoch,
        saved_epoch=saved_epoch,
        flops_a_step=telemetry.stages.stages[-1].flops,
        measured_peak_tflops=telemetry.measured_peak_tflops,
        execution=reports.ExecutionReport(**execution.as_plain(), gradient_bytes=telemetry.gradient_bytes),
        deterministic=execution.is_deterministic(params.deterministic),
        hardware=reports.Hardware(**describe_devices()),
        seconds=0.0,
    )


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as `<path>.json` and `<path>.csv`."""
    write_json(path.with_suffix(".json"), list(rows))
    with open(path.with_suffix(".csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
