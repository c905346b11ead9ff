"""The train step: a masked language model, from a checkpoint or from scratch, trained on blocks."""

import dataclasses
import logging
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Blocks, Checkpoint, Tokenizer
from components.contract.component import Component
from components.hub.access import TrainingUploads
from components.training.params import TrainParams
from components.training.report import training_report, write_rows
from components.training.step_checkpoints import CHECKPOINTS, StepCheckpoints
from components.training.steps import training_steps
from foundation.disk import flush_tree
from foundation.errors import DataError
from foundation.terminal import TERMINAL

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast, TFPreTrainedModel

logger = logging.getLogger(__name__)

PREFLIGHT_ATTEMPTS = 3


@dataclasses.dataclass(frozen=True)
class Train(Component[Checkpoint]):
    """Trains a masked language model: AdamW with a warm-up and a decay, the head at masked positions only.

    AdamW: Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization" (https://arxiv.org/abs/1711.05101).
    """

    name: ClassVar[str] = "train"
    version: ClassVar[str] = "5"
    output: ClassVar[type[Checkpoint]] = Checkpoint
    scratch: ClassVar[str] = CHECKPOINTS

    blocks: Blocks
    tokenizer: Tokenizer
    params: TrainParams
    uploads: TrainingUploads | None = dataclasses.field(default=None, metadata={"key": False})
    packing: str = dataclasses.field(default="concatenate", metadata={"key": False})
    """That of the blocks, before there are any."""
    block_size: int | None = dataclasses.field(default=None, metadata={"key": False})
    """Likewise."""
    tokenizer_source: tuple[str | None, str | None] = dataclasses.field(default=(None, None), metadata={"key": False})
    """Likewise of the tokenizer: the name or folder of a pretrained one, and its revision."""

    def sources(self) -> Mapping[str, str]:
        """The digests of a local checkpoint's files, or the commit of one on the Hub."""
        from components.contract.manifest import digest_of_file
        from components.hub.reading import resolve_revision
        from components.modeling.weights import checkpoint_files

        if self.params.pretrained is None:
            return {}
        directory = Path(self.params.pretrained)
        if directory.is_dir():
            return {f"pretrained/{path.name}": digest_of_file(path) for path in checkpoint_files(directory)}
        return {"pretrained": resolve_revision(self.params.pretrained, "model", self.params.revision)}

    def preflight(self) -> None:
        """Refuses an unknown or impossible architecture, a checkpoint that can't be read, and hopeless uploads."""
        from components.hub.checkpoints import require_checkpoint
        from components.modeling.configuration import require_heads, require_packable, require_positions

        params = self.params
        if self.uploads is not None:
            check_uploads(self.uploads)
        config = self.model_config()
        if self.packing == "packed":
            require_packable(config)
        if self.block_size is not None:
            require_positions(config, self.block_size)
        if params.pretrained is None:
            require_heads(config)
        else:
            require_checkpoint(params.pretrained, params.revision)
            self.require_own_tokenizer(config)
        if params.asks_of_devices:
            # Only then is it worth waiting for TensorFlow here.
            from components.training.devices import Devices
            from components.training.execution import choose_execution

            choose_execution(params, Devices.visible(), config, params.batch_size)

    def require_own_tokenizer(self, config: "PretrainedConfig") -> None:
        """Refuses another tokenizer than the checkpoint's own, as soon as it can be told.

        Raises:
            ModelError: If there is a tokenizer already, or a pretrained one is named, and it doesn't go with the model.
        """
        from components.hub.checkpoints import tokenizer_directory
        from components.modeling.configuration import require_vocabulary
        from components.modeling.own_tokenizer import load_tokenizer, require_own_vocabulary

        name, revision = self.tokenizer_source
        source = str(self.params.pretrained)
        if self.tokenizer.path is not None:
            tokenizer = self.tokenizer.load()
        elif name is None or (name, revision) == (source, self.params.revision):
            return
        elif (tokenizer := load_tokenizer(tokenizer_directory(name, revision))) is None:
            return  # which the step that loads it says
        require_vocabulary(config, tokenizer)
        require_own_vocabulary(tokenizer_directory(source, self.params.revision), tokenizer, source)

    def model_config(self) -> "PretrainedConfig":
        """The model's configuration; that of a new one without what the tokenizer tells.

        Raises:
            ModelError: If it can't be read, or its architecture has no TensorFlow class.
        """
        from components.hub.checkpoints import config_directory
        from components.modeling.configuration import load_config, plain_config, require_model_type, require_overrides

        params = self.params
        if params.pretrained is None:
            require_overrides(str(params.model_type), params.model_config)
            return plain_config(str(params.model_type), params.model_config)
        config = load_config(config_directory(params.pretrained, params.revision))
        require_model_type(config.model_type)
        return config

    def run(self, out: Path) -> None:
        """Builds or loads the model, trains it or goes on training it, and saves it as it was before and after."""
        started = time.perf_counter()
        if (out / REPORT).exists():
            return  # It is written last, and all else is on the disk before it.
        for path in out.iterdir():
            if path.name != CHECKPOINTS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        blocks = self.blocks.split("train")
        if len(blocks) == 0:
            raise DataError(
                "training needs at least one block",
                received=f"none: the train split has fewer than {self.blocks.block_size} tokens",
                remedy="lower --preprocess.block_size, or ingest more text",
            )
        self.require_validation()
        steps = training_steps(self.params, len(blocks))
        tokenizer = self.tokenizer.load()

        from components.masking.whole_words import WordBoundaries
        from components.modeling.checkpoint import save_masked_lm
        from components.training.determinism import deterministic_operations
        from components.training.devices import Devices
        from components.training.execution import choose_execution
        from components.training.fit import UPLOADS, fit

        if self.params.whole_word_mask:
            WordBoundaries.of(tokenizer)  # refuses a tokenizer before the model is had
        execution = choose_execution(self.params, Devices.visible(), self.model_config(), steps.batch_size)
        TERMINAL.paragraph(f"  {execution}")
        deterministic = self.params.deterministic
        if deterministic == "auto":
            deterministic = execution.devices.kind == "CPU"
        with execution.scope(), deterministic_operations(deterministic):
            model = self.starting_model(tokenizer)
            save_masked_lm(model, tokenizer, out / "initial")
            telemetry, best_epoch, uploaded = fit(
                model, tokenizer, self.blocks, self.params, steps, execution, self.uploads, out
            )
            shutil.rmtree(out / UPLOADS, ignore_errors=True)
            save_masked_lm(model, tokenizer, out / "model")

        write_rows(out / "history", telemetry.EPOCH_COLUMNS, telemetry.rows)
        write_rows(out / "history_steps", telemetry.STEP_COLUMNS, telemetry.step_rows)
        facts = {
            "started_from": self.params.pretrained or "random weights",
            "block_size": self.blocks.block_size,
            "packing": self.blocks.packing,
            "share_of_padding": round(1 - self.blocks.tokens_a_block / self.blocks.block_size, 4),
            "best_epoch": best_epoch,
            "saved_epoch": (self.params.load_best_model_at_end and best_epoch) or telemetry.rows[-1]["epoch"],
            "flops_a_step": telemetry.flops_a_step,
            "peak_tflops": telemetry.peak_flops / 1e12,
            "peak_tflops_from": "measured" if self.params.peak_tflops is None else "train.peak_tflops",
            "execution": reports.ExecutionReport(**execution.as_plain()),
            "deterministic": deterministic,
            "uploaded": uploaded,
            "seconds": round(time.perf_counter() - started, 3),
        }
        report = training_report(model, telemetry.rows, steps, facts)
        flush_tree(out)
        reports.write(out / REPORT, report)

    def resumes(self, partial: Path) -> str | None:
        """How far a training came that was cut off, by its newest checkpoint."""
        if (partial / REPORT).exists():
            return "its end"
        checkpoint = StepCheckpoints(partial / CHECKPOINTS).newest()
        if checkpoint is None:
            return None
        there = checkpoint.facts["params"]
        names = [field.name for field in dataclasses.fields(self.params) if field.metadata.get("key", True)]
        others = [
            f"train.{name} {there.get(name)!r}" for name in names if there.get(name) != getattr(self.params, name)
        ]
        return f"step {checkpoint.step:,} of {checkpoint.facts['steps']:,}" + (
            f" with {', '.join(others)}" if others else ""
        )

    def require_validation(self) -> None:
        """Refuses to look for the epoch with the lowest validation loss where there is nothing to validate on.

        Raises:
            DataError: If so.
        """
        for name in ("early_stopping_patience", "load_best_model_at_end"):
            if getattr(self.params, name) and len(self.blocks.split("test")) == 0:
                raise DataError(
                    f"train.{name} needs a validation loss, and so at least one block in the test split",
                    received=f"train.{name} {getattr(self.params, name)}, and a test split without a block",
                    remedy=f"leave out --train.{name}, raise --ingest.test_size or lower --preprocess.block_size",
                )

    def starting_model(self, tokenizer: "PreTrainedTokenizerFast") -> "TFPreTrainedModel":
        """The model before the first step.

        Raises:
            ModelError: If it can't be had, or doesn't fit the tokenizer or the blocks.
        """
        from components.hub.checkpoints import checkpoint_directory, config_directory, tokenizer_directory
        from components.modeling.checkpoint import build_masked_lm, load_masked_lm
        from components.modeling.configuration import (
            build_config,
            load_config,
            require_packable,
            require_positions,
            require_vocabulary,
        )
        from components.modeling.own_tokenizer import require_own_vocabulary

        params = self.params
        if params.pretrained is None:
            model_type = str(params.model_type)
            config = build_config(model_type, params.model_config, tokenizer)
            require_positions(config, self.blocks.block_size)
            if self.blocks.packing == "packed":
                require_packable(config)
            return build_masked_lm(model_type, params.model_config, tokenizer, params.seed)
        # What the configuration tells is refused before the weights are downloaded and read.
        config = load_config(config_directory(params.pretrained, params.revision))
        require_positions(config, self.blocks.block_size)
        require_vocabulary(config, tokenizer)
        require_own_vocabulary(tokenizer_directory(params.pretrained, params.revision), tokenizer, params.pretrained)
        if self.blocks.packing == "packed":
            require_packable(config)
        return load_masked_lm(checkpoint_directory(params.pretrained, params.revision), params.pretrained)


def check_uploads(uploads: TrainingUploads) -> None:
    """Refuses uploads that are bound to fail, and says how they go.

    Raises:
        HubError: If the token is missing or may not write, or the repository is another's.
    """
    from components.hub.repository import HubRepository
    from components.publishing.git_uploads import has_git_lfs

    HubRepository(uploads.target, attempts=PREFLIGHT_ATTEMPTS).check()
    if not has_git_lfs():
        logger.warning("git-lfs is not installed: uploads during training go over HTTP instead of git.")
