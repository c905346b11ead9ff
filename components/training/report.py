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

    from components.training.steps import TrainingSteps


def training_report(
    model: "TFPreTrainedModel", history: Sequence[Mapping[str, Any]], steps: "TrainingSteps", facts: Mapping[str, Any]
) -> reports.TrainingReport:
    """What was trained, on what, for how long.

    Args:
        model: As trained.
        history: A row an epoch.
        steps: As planned.
        facts: The report's other attributes, by name.
    """
    from components.training.devices import describe_devices

    parameters = int(sum(math.prod(weight.shape) for weight in model.weights))
    last = history[-1]
    validation = "" if last["val_loss"] is None else f", validation {last['val_loss']:.3f}"
    best = f" (kept: epoch {facts['saved_epoch']})" if facts["saved_epoch"] != last["epoch"] else ""
    return reports.TrainingReport(
        summary=f"{model.config.model_type} of {parameters:,} parameters, {last['step']:,} steps: "
        f"loss {history[0]['loss']:.3f} in the first epoch, {last['loss']:.3f} in the last{validation}{best}",
        architecture=type(model).__name__,
        model_type=model.config.model_type,
        parameters=parameters,
        vocabulary_size=model.config.vocab_size,
        steps=last["step"],
        planned_steps=steps.steps,
        warmup_steps=steps.warmup_steps,
        decay_steps=steps.decay_steps,
        blocks_a_step=steps.blocks_a_step,
        epochs=len(history),
        hardware=reports.Hardware(**describe_devices()),
        **facts,
    )


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as `<path>.json` and `<path>.csv`."""
    write_json(path.with_suffix(".json"), list(rows))
    with open(path.with_suffix(".csv"), "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
