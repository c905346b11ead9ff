"""How a model was trained: the report and the history of a Checkpoint."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What a model was trained on.

    Attributes:
        cpu_cores: Cores that the process might use; None where the system doesn't say.
        gpus: The GPUs' names.
    """

    cpu_cores: int | None
    gpus: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ExecutionReport:
    """How the arithmetic of a training was done.

    Attributes:
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
        jit_compile: Whether XLA compiled the step.
        replicas: Devices that shared each batch.
        devices: Their names.
        chosen_by_auto: Why each setting that was `auto` became what it is, by its name.
        workers: Processes that shared each batch, on one machine or several, each with the hardware that is named.
        gradient_bytes: Of the gradients of a step, which all replicas sum: of N, each sends and receives 2 (N - 1) / N
            times as much. None in a report of an earlier version.
    """

    precision: str
    jit_compile: bool
    replicas: int
    devices: tuple[str, ...]
    chosen_by_auto: Mapping[str, str]
    workers: int = 1
    gradient_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """`report.json` of a Checkpoint.

    Attributes:
        summary: What came out, in a line.
        architecture: The model's class.
        model_type: The architecture's name in transformers.
        parameters: The number of weights.
        trained_parameters: How many of them training changes; the others are frozen.
        vocabulary_size: Tokens that the model knows.
        new_words: Words that were added to the tokenizer, and that the checkpoint has grown by.
        steps: Optimizer steps made.
        planned_steps: Optimizer steps planned.
        warmup_steps: Steps over which the learning rate rose.
        decay_steps: Steps over which it fell.
        blocks_a_step: Blocks an optimizer step, once the warm-up of the batch size, if any, is over.
        tokens_seen: Tokens of all steps, masked or not.
        epochs: Epochs begun.
        hardware: What it was trained on.
        started_from: The checkpoint that training started from, or `random weights`.
        continued_from: The key of the finished training that it went on from, as in its artifact's name; None for none.
        continued_at_step: The optimizer step at which that one had ended.
        has_new_head: Whether that checkpoint had no language-model head, so that the head started with random weights.
        block_size: Positions a block.
        packing: How records fill blocks.
        share_of_padding: Share of the train blocks' positions that hold no token, from 0 to 1.
        best_epoch: The epoch with the lowest validation loss, from 1; None where nothing was validated.
        saved_epoch: The epoch whose weights were saved.
        flops_a_step: Floating-point operations of an optimizer step, the last ones' where they differ.
        measured_peak_tflops: 10^12 floating-point operations a second that all devices did in a large matrix product.
        execution: How the arithmetic was done.
        deterministic: Whether a repetition on the same machine gives the same weights, bit for bit.
        seconds: Duration of the step; where it went on from a checkpoint, since then.
    """

    summary: str
    architecture: str
    model_type: str
    parameters: int
    vocabulary_size: int
    new_words: int = 0
    steps: int
    planned_steps: int
    warmup_steps: int
    decay_steps: int
    blocks_a_step: int
    epochs: int
    hardware: Hardware
    started_from: str
    block_size: int
    packing: str
    share_of_padding: float
    best_epoch: int | None
    saved_epoch: int
    flops_a_step: float
    measured_peak_tflops: float
    execution: ExecutionReport
    deterministic: bool
    seconds: float
    trained_parameters: int | None = None
    has_new_head: bool = False
    continued_from: str | None = None
    continued_at_step: int | None = None
    tokens_seen: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepRow:
    """A row of a Checkpoint's `history_steps.json`: means over the optimizer steps since the row before.

    Attributes:
        step: The last of these steps, from 1.
        loss: Nats a masked token.
        perplexity: The exponential of the loss; None where that is beyond float64.
        learning_rate: That of the last step.
        gradient_norm: Before clipping; None where it was never a finite number.
        tokens_per_second: Tokens that went through the model, masked or not.
        tflops_per_second: 10^12 floating-point operations of the model a second.
    """

    step: int
    loss: float
    perplexity: float | None
    learning_rate: float
    gradient_norm: float | None
    tokens_per_second: float | None
    tflops_per_second: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochRow:
    """A row of a Checkpoint's `history.json`: means over the optimizer steps of an epoch.

    Attributes:
        epoch: From 1.
        step: The epoch's last optimizer step, from 1.
        loss: Nats a masked token.
        perplexity: The exponential of the loss; None where that is beyond float64.
        val_loss: Nats a masked token, on the test split after the epoch; None where nothing was validated.
        val_perplexity: Its exponential.
        learning_rate: That of the last step.
        gradient_norm: Before clipping; None where it was never a finite number.
        seconds: Duration of the steps alone.
        tokens_per_second: Tokens that went through the model, masked or not.
        tflops_per_second: 10^12 floating-point operations of the model a second.
    """

    epoch: int
    step: int
    loss: float
    perplexity: float | None
    val_loss: float | None
    val_perplexity: float | None
    learning_rate: float
    gradient_norm: float | None
    seconds: float
    tokens_per_second: float | None
    tflops_per_second: float | None
