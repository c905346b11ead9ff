"""What can be set of training, what is refused before any work, and how many steps follow. Needs no TensorFlow."""

import dataclasses
import json
import math
from typing import Any, Literal

from components.contract.manifest import canonical_json
from components.training.schedules import batch_sizes, require_batch_size_warmup, require_masking_schedule
from foundation.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class TrainParams:
    """Which model, and how it is trained. One of `pretrained` and `model_type` is given.

    Attributes:
        pretrained: Hub name or local folder of the checkpoint to start from.
        revision: Branch, tag or commit of a checkpoint on the Hub.
        language: Language that a checkpoint with parts for each language is used for, such as de_DE of an X-MOD; null
            for the one that its configuration names.
        model_type: Architecture of a new model with random weights, such as roberta or roformer.
        model_config: Values of a new model's configuration that differ from its architecture's defaults.
        epochs: How often training goes over the train blocks.
        max_steps: Optimizer steps after which training ends, however many epochs that is; null for all epochs.
        batch_size: Blocks that go through the model at once, on all devices of all workers together.
        gradient_accumulation_steps: Batches whose gradients make one optimizer step, which is that of one batch of
            all their blocks; everything else that counts steps (max_steps, the warm-up) counts optimizer steps.
        batch_size_start: Blocks of a batch in the first steps, doubled again and again until they are batch_size; needs
            batch_size_warmup_ratio. null for batch_size from the first step on.
        batch_size_warmup_ratio: Part of all steps in which batches are smaller. An epoch has as many steps as without,
            so that the first one sees fewer blocks.
        learning_rate: The highest learning rate, reached after the warm-up.
        lr_scheduler_type: How it falls at the end; linear or cosine from the end of the warm-up, or
            warmup_stable_decay, linearly over the last steps; with constant it doesn't.
        decay_ratio: Part of all steps over which it falls; of warmup_stable_decay alone.
        decay_type: Along what it falls there, a line, half a cosine, or 1 less the square root of the part that has
            passed; of warmup_stable_decay alone.
        min_lr_ratio: Part of the highest learning rate to which it falls.
        warmup_ratio: Part of all steps over which the learning rate rises from 0.
        warmup_steps: Steps over which it rises; where above 0, it overrides the ratio.
        optimizer: adamw, or stable_adamw, which slows a weight matrix down while its gradients are larger than they
            used to be, in place of max_grad_norm, or muon, which gives the matrices of the layers steps of equal size
            in all directions, and everything else those of adamw; it learns more from a step of a new model.
        weight_decay: AdamW's decay, a step, in units of the learning rate.
        weight_decay_excludes: What doesn't decay, the biases and the scales of norms, or nothing.
        adam_beta1: AdamW's first-moment decay.
        adam_beta2: AdamW's second-moment decay.
        adam_epsilon: AdamW's epsilon.
        max_grad_norm: Largest norm of all gradients together, to which larger ones are scaled; 0 for any.
        ema_decay: Decay of an exponential moving average of the weights, such as 0.999; where above 0, the averaged
            model is the one that is validated, saved, uploaded and evaluated.
        layer_freezing: How many of the encoder's lowest layers stay as they are, with the embeddings and the output
            matrix that shares theirs; 0 trains all.
        gradient_checkpointing: Whether the values inside of the encoder's layers are computed again for the gradients
            instead of kept: less memory, a third more work, the same gradients.
        precision: Precision of the arithmetic; the weights, the loss and what is saved are float32 in any case. auto
            takes mixed_bfloat16 or mixed_float16 where the GPUs or the CPU have hardware for it and it gains something,
            else float32.
        jit_compile: Whether XLA compiles the step; auto does on GPUs, for architectures that it can compile. It
            compiles a few small kernels in any case, so that the device needs a working XLA even under false.
        strategy: Train on one_device, or mirrored on all GPUs (or all logical devices of a CPU), which share each
            batch; auto takes as many GPUs as divide the batch size. Several workers share each batch with all their
            devices; under one_device, the first of them trains alone.
        mlm_probability: Part of the tokens that are masked, above 0 and at most 1.
        mlm_probability_end: Part that is masked at the end of training, to which mlm_probability goes on a straight
            line; null for the same throughout.
        mlm_probability_schedule: Rates that take mlm_probability's place, each from a part of all steps on, such as
            [[0.6, 0.15], [0.9, 0.05]] for 15% after 60% of the steps and 5% in the last tenth; null for none.
        eval_mlm_probability: Part that is masked in the validation after each epoch and in the evaluation; keep it at
            0.15 to compare models that were trained at other rates.
        whole_word_mask: Whether whole words are masked in training, rather than each token by itself.
        group_by_length: Whether documents of like lengths are in one step, so that little of it is padding; for
            preprocess.packing documents alone. Of the epoch's order, those of 50 steps at a time are sorted.
        early_stopping_patience: Epochs in a row without a lower validation loss after which training ends; null for
            never.
        early_stopping_threshold: By how many nats the loss has to be lower to count for that.
        load_best_model_at_end: Whether the model of the epoch with the lowest validation loss is kept, not the last.
        divergence_factor: How many times its lowest so far the smoothed training loss may be, for 100 steps in a row,
            before training is given up; 0 for any.
        continue_from: A finished training to go on from, with more epochs or max_steps and all else as it was: the name
            of its run, the path of its artifact, such as pipeline_root/artifacts/train/0123456789abcdef, or auto for
            the one in this root that came farthest and isn't damaged; null to start anew. Each step has the learning
            rate and the masking rate that it would have had in one training of all epochs.
        save_only_model: Whether a finished training keeps its model alone, and not the optimizer's state, of twice the
            model's size, with which continue_from can go on from it.
        checkpoint_every_steps: Steps from one checkpoint to the next, from which the same command goes on after it was
            cut off; auto for one within 30 seconds and then as often as takes 2% of the time, null for none. A
            checkpoint has the size of three models, and up to five exist at once.
        deterministic: Whether equal runs on equal hardware give equal weights, bit for bit; auto on CPUs, where it
            costs nothing.
        logging_steps: Steps that a point of the report's curves by step averages. What is recorded, in
            history_steps.csv and TensorBoard, doesn't depend on it: so another value trains nothing anew.
        peak_tflops: What all devices that it trains on can do together, in 10^12 floating-point operations a second,
            for the utilization that the terminal and the report show; null for what is measured with a large matrix
            product. Another value trains nothing anew.
        seed: Seed of the weights, the order of blocks, the masks and the dropout; from 0.
    """

    pretrained: str | None = None
    revision: str | None = None
    language: str | None = None
    model_type: str | None = None
    model_config: dict[str, Any] = dataclasses.field(default_factory=dict)
    epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 16
    gradient_accumulation_steps: int = 1
    batch_size_start: int | None = None
    batch_size_warmup_ratio: float = 0.0
    learning_rate: float = 2e-5
    lr_scheduler_type: Literal["linear", "cosine", "warmup_stable_decay", "constant"] = "linear"
    decay_ratio: float = 0.1
    decay_type: Literal["linear", "cosine", "1-sqrt"] = "linear"
    min_lr_ratio: float = 0.0
    warmup_ratio: float = 0.0
    warmup_steps: int = 0
    optimizer: Literal["adamw", "stable_adamw", "muon"] = "adamw"
    weight_decay: float = 0.01
    weight_decay_excludes: Literal["biases_and_norms", "nothing"] = "biases_and_norms"
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float = 0.0
    ema_decay: float = 0.0
    layer_freezing: int = 0
    gradient_checkpointing: bool = False
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    jit_compile: bool | Literal["auto"] = "auto"
    strategy: Literal["auto", "one_device", "mirrored"] = "auto"
    mlm_probability: float = 0.15
    mlm_probability_end: float | None = None
    mlm_probability_schedule: list[list[float]] | None = None
    eval_mlm_probability: float = 0.15
    whole_word_mask: bool = False
    group_by_length: bool = False
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0
    load_best_model_at_end: bool = False
    divergence_factor: float = 2.0
    # Fields out of the key change nothing in the checkpoint: a run may go on with others. (What continue_from finds is
    # in the key, by the step's sources.)
    continue_from: str | None = dataclasses.field(default=None, metadata={"key": False})
    save_only_model: bool = False
    checkpoint_every_steps: int | Literal["auto"] | None = dataclasses.field(default="auto", metadata={"key": False})
    deterministic: bool | Literal["auto"] = "auto"
    logging_steps: int = dataclasses.field(default=20, metadata={"key": False})
    peak_tflops: float | None = dataclasses.field(default=None, metadata={"key": False})
    seed: int = 42

    def __post_init__(self) -> None:
        if (self.pretrained is None) == (self.model_type is None):
            raise ConfigError(
                "training must start from a checkpoint (train.pretrained) or from random weights (train.model_type)",
                received="neither" if self.pretrained is None else f"both, {self.pretrained!r} and {self.model_type!r}",
                remedy="set --train.pretrained, for example to distilbert/distilroberta-base, or --train.model_type, "
                "for example to roformer, and leave out the other (null overrides a configuration's value)",
            )
        for name, needed, allowed in (
            ("revision", "pretrained", self.revision is None or self.pretrained is not None),
            ("language", "pretrained", self.language is None or self.pretrained is not None),
            ("model_config", "model_type", not self.model_config or self.model_type is not None),
        ):
            if not allowed:
                raise ConfigError(
                    f"train.{name} must be set only with train.{needed}",
                    received=f"{getattr(self, name)!r} without train.{needed}",
                    remedy=f"leave out train.{name}, or set --train.{needed} alone",
                )
        for name, rule, allowed in (
            (
                "pretrained",
                "must be a Hub name or a local folder",
                self.pretrained is None or self.pretrained.strip() != "",
            ),
            ("model_type", "must be an architecture's name", self.model_type is None or self.model_type.strip() != ""),
            (
                "continue_from",
                "must be auto or the path of a finished training's artifact",
                self.continue_from is None or self.continue_from.strip() != "",
            ),
            ("epochs", "must be a whole number from 1 to 100,000", 1 <= self.epochs <= 100_000),
            ("max_steps", "must be a whole number from 1, or null", self.max_steps is None or self.max_steps >= 1),
            ("batch_size", "must be a whole number from 1", self.batch_size >= 1),
            ("gradient_accumulation_steps", "must be a whole number from 1", self.gradient_accumulation_steps >= 1),
            ("batch_size_warmup_ratio", "must be from 0 up to, but not, 1", 0 <= self.batch_size_warmup_ratio < 1),
            ("learning_rate", "must be above 0 and at most 1", 0 < self.learning_rate <= 1),
            ("decay_ratio", "must be above 0 and at most 1", 0 < self.decay_ratio <= 1),
            ("min_lr_ratio", "must be from 0 up to, but not, 1", 0 <= self.min_lr_ratio < 1),
            ("warmup_ratio", "must be from 0 up to, but not, 1", 0 <= self.warmup_ratio < 1),
            ("warmup_steps", "must be a whole number from 0", self.warmup_steps >= 0),
            ("weight_decay", "must be from 0 to 1", 0 <= self.weight_decay <= 1),
            ("adam_beta1", "must be from 0 up to, but not, 1", 0 <= self.adam_beta1 < 1),
            ("adam_beta2", "must be from 0 up to, but not, 1", 0 <= self.adam_beta2 < 1),
            ("adam_epsilon", "must be above 0 and at most 1", 0 < self.adam_epsilon <= 1),
            ("max_grad_norm", "must be a finite number from 0", 0 <= self.max_grad_norm < math.inf),
            ("ema_decay", "must be from 0 up to, but not, 1", 0 <= self.ema_decay < 1),
            ("layer_freezing", "must be a whole number from 0", self.layer_freezing >= 0),
            ("mlm_probability", "must be above 0 and at most 1", 0 < self.mlm_probability <= 1),
            (
                "mlm_probability_end",
                "must be above 0 and at most 1, or null",
                self.mlm_probability_end is None or 0 < self.mlm_probability_end <= 1,
            ),
            ("eval_mlm_probability", "must be above 0 and at most 1", 0 < self.eval_mlm_probability <= 1),
            (
                "early_stopping_patience",
                "must be a whole number from 1, or null",
                self.early_stopping_patience is None or self.early_stopping_patience >= 1,
            ),
            (
                "early_stopping_threshold",
                "must be a finite number from 0",
                0 <= self.early_stopping_threshold < math.inf,
            ),
            (
                "divergence_factor",
                "must be above 1, or 0",
                self.divergence_factor == 0 or 1 < self.divergence_factor < math.inf,
            ),
            (
                "checkpoint_every_steps",
                "must be a whole number from 1, auto or null",
                self.checkpoint_every_steps in ("auto", None) or int(self.checkpoint_every_steps) >= 1,
            ),
            ("logging_steps", "must be a whole number from 1", self.logging_steps >= 1),
            (
                "peak_tflops",
                "must be a finite number above 0, or null",
                self.peak_tflops is None or 0 < self.peak_tflops < math.inf,
            ),
            ("seed", "must be a whole number from 0 below 2**32", 0 <= self.seed < 2**32),
        ):
            if not allowed:
                raise ConfigError(
                    f"train.{name} {rule}", received=repr(getattr(self, name)), remedy=f"correct --train.{name}"
                )
        if self.lr_scheduler_type == "constant" and self.min_lr_ratio:
            raise ConfigError(
                "train.min_lr_ratio must be set only with a learning rate that falls",
                received=f"{self.min_lr_ratio} with train.lr_scheduler_type constant",
                remedy="leave out train.min_lr_ratio, or choose another --train.lr_scheduler_type",
            )
        stable = self.lr_scheduler_type == "warmup_stable_decay"
        if self.decay_type != "linear" and not stable:
            raise ConfigError(
                "train.decay_type must be set only with train.lr_scheduler_type warmup_stable_decay",
                received=f"{self.decay_type} with train.lr_scheduler_type {self.lr_scheduler_type}",
                remedy="leave out train.decay_type, or set --train.lr_scheduler_type warmup_stable_decay",
            )
        if self.weight_decay_excludes != "biases_and_norms" and not self.weight_decay:
            raise ConfigError(
                "train.weight_decay_excludes must be set only with a train.weight_decay above 0",
                received=f"{self.weight_decay_excludes} with train.weight_decay {self.weight_decay:g}",
                remedy="leave out train.weight_decay_excludes, or raise --train.weight_decay",
            )
        if stable and not self.warmup_steps and self.warmup_ratio + self.decay_ratio > 1:
            raise ConfigError(
                "the learning rate's warm-up and decay together must be no longer than training",
                received=f"train.warmup_ratio {self.warmup_ratio} and train.decay_ratio {self.decay_ratio}",
                remedy="lower --train.warmup_ratio or --train.decay_ratio",
            )
        if self.early_stopping_threshold and self.early_stopping_patience is None:
            raise ConfigError(
                "train.early_stopping_threshold must be set only with train.early_stopping_patience",
                received=f"{self.early_stopping_threshold} without train.early_stopping_patience",
                remedy="leave out train.early_stopping_threshold, or set --train.early_stopping_patience",
            )
        require_batch_size_warmup(self.batch_size_start, self.batch_size_warmup_ratio, self.batch_size)
        require_masking_schedule(self.mlm_probability_schedule, self.mlm_probability_end)
        if self.max_steps is not None:
            schedule_steps(self, self.max_steps)
            batch_sizes(self.batch_size_start, self.batch_size_warmup_ratio, self.batch_size, self.max_steps)

    @property
    def in_key(self) -> dict[str, Any]:
        """The settings that can change what is trained, as JSON has them."""
        return dict(json.loads(canonical_json(self)))

    @property
    def needs_certain_devices(self) -> bool:
        """Whether a setting demands what some devices or architectures can't do."""
        return self.precision.startswith("mixed") or self.jit_compile is True or self.strategy == "mirrored"


def schedule_steps(params: TrainParams, steps: int) -> tuple[int, int]:
    """Over how many steps the learning rate rises, and over how many it falls.

    Raises:
        ConfigError: If that is longer than training.
    """
    warmup_steps = params.warmup_steps or math.ceil(steps * params.warmup_ratio)
    warmup = f"train.warmup_{'steps' if params.warmup_steps else 'ratio'}"
    if warmup_steps >= steps:
        raise ConfigError(
            "the warm-up must end before training does",
            received=f"{warmup}, {warmup_steps} for {steps} steps (train.max_steps, or train.epochs of the blocks)",
            remedy=f"lower --{warmup}, or train longer with --train.epochs or --train.max_steps",
        )
    if params.lr_scheduler_type != "warmup_stable_decay":
        return warmup_steps, steps - warmup_steps
    # Rounded first, because 0.29 * 100 is 28.999999999999996.
    decay_steps = max(1, math.floor(round(steps * params.decay_ratio, 6)))
    if warmup_steps + decay_steps > steps:
        raise ConfigError(
            "the learning rate's warm-up and decay together must be no longer than training",
            received=f"{warmup} and train.decay_ratio, {warmup_steps} + {decay_steps} for {steps} steps",
            remedy=f"lower --{warmup} or --train.decay_ratio, or train longer",
        )
    return warmup_steps, decay_steps


@dataclasses.dataclass(frozen=True)
class TrainingSteps:
    """Training in optimizer steps.

    Attributes:
        batch_size: Blocks that go through the model at once.
        blocks_a_step: Blocks that one optimizer step learns from: all its batches'.
        steps_per_epoch: Optimizer steps an epoch; blocks that don't fill one are left out.
        steps: Optimizer steps in all.
        warmup_steps: The first ones, over which the learning rate rises.
        decay_steps: The last ones, over which it falls.
        batch_sizes: Pairs of a step, from 0, and the blocks that go through the model at once from there on; one pair
            without a warm-up of the batch size.
    """

    batch_size: int
    blocks_a_step: int
    steps_per_epoch: int
    steps: int
    warmup_steps: int
    decay_steps: int
    batch_sizes: tuple[tuple[int, int], ...]

    @property
    def blocks_by_step(self) -> tuple[tuple[int, int], ...]:
        """Pairs of a step, from 0, and the blocks that each optimizer step learns from, from there on."""
        batches = self.blocks_a_step // self.batch_size
        return tuple((step, size * batches) for step, size in self.batch_sizes)

    @property
    def epochs(self) -> int:
        """Epochs begun."""
        return math.ceil(self.steps / self.steps_per_epoch)


def training_steps(params: TrainParams, blocks: int) -> TrainingSteps:
    """The steps of training on a number of blocks, at least 1.

    Raises:
        ConfigError: If the blocks don't fill a step, or the learning rate's schedule is longer than training.
    """
    # Fewer blocks than a batch are one batch: a first try on a handful of records is to work.
    batch_size = min(params.batch_size, blocks)
    blocks_a_step = batch_size * params.gradient_accumulation_steps
    if blocks_a_step > blocks:
        raise ConfigError(
            "an epoch must have the batches of at least one optimizer step",
            received=f"train.gradient_accumulation_steps {params.gradient_accumulation_steps} with train.batch_size "
            f"{params.batch_size}, for {blocks:,} train blocks",
            remedy=f"set --train.gradient_accumulation_steps to {blocks // batch_size} or less, lower "
            "--train.batch_size, or ingest more text",
        )
    steps_per_epoch = blocks // blocks_a_step
    steps = params.max_steps or steps_per_epoch * params.epochs
    return TrainingSteps(
        batch_size,
        blocks_a_step,
        steps_per_epoch,
        steps,
        *schedule_steps(params, steps),
        batch_sizes(params.batch_size_start, params.batch_size_warmup_ratio, batch_size, steps),
    )
