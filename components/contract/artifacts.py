"""What crosses a step boundary: directories, each with a manifest, one class a kind.

The dataclasses that their JSON files hold are those of `components.contract.reports`.
"""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components.contract import manifest, reports
from foundation.errors import DamagedArtifact

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

REPORT = "report.json"
"""The file of most kinds that says what came out."""
STREAM = "stream.json"
"""The file of a Corpus that stands for a train split that is streamed."""
HISTORY, STEP_HISTORY = "history", "history_steps"
"""The names of a Checkpoint's histories, each as `.json` and `.csv`."""
STATE = "state"
"""The directory of what a longer training goes on from in a Checkpoint."""
LOGS = "logs"
"""The directory of TensorBoard's events of a Checkpoint."""

Content = TypeVar("Content")


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A finished directory that a step made.

    Attributes:
        path: The directory, which holds `manifest.json`; None while the step has yet to run.
    """

    path: Path | None

    @property
    def directory(self) -> Path:
        """The directory of a finished artifact."""
        if self.path is None:
            raise ValueError(f"this {type(self).__name__} doesn't exist yet: its step has not run")
        return self.path

    @functools.cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest, as `components.contract.manifest.write` wrote it."""
        return manifest.read(self.directory)

    @property
    def digest(self) -> str:
        """SHA-256 over the kind and every file's digest: equal content has an equal digest.

        For the files that a step calls `varying`, its key stands instead.
        """
        return str(self.manifest["digest"])

    @property
    def report(self) -> reports.Report:
        """What came out."""
        raise NotImplementedError

    @property
    def summary(self) -> str:
        """What came out, in one line for the person who watches the run."""
        return self.report.summary

    def read(self, name: str, kind: type[Content]) -> Content:
        """A JSON file of the artifact as a dataclass.

        Raises:
            DamagedArtifact: If it is no longer what was written, or another version of the step wrote it.
        """
        return reports.from_plain(kind, self.read_json(name), self.directory / name)

    def read_rows(self, name: str, kind: type[Content]) -> tuple[Content, ...]:
        """A JSON file that holds a list, each item as a dataclass.

        Raises:
            DamagedArtifact: As `read` does.
        """
        return tuple(reports.from_plain(kind, row, self.directory / name) for row in self.read_json(name))

    def read_json(self, name: str) -> Any:
        """The content of a JSON file of the artifact.

        Raises:
            DamagedArtifact: If it is no longer what was written.
        """
        if name not in self.manifest["files"]:
            raise DamagedArtifact(self.directory, f"{self.directory / name}, which its manifest doesn't list")
        try:
            data = (self.directory / name).read_bytes()
        except FileNotFoundError as error:
            raise DamagedArtifact(self.directory, f"{self.directory / name} is missing") from error
        if hashlib.sha256(data).hexdigest() != self.manifest["files"][name]["sha256"]:
            raise DamagedArtifact(self.directory, f"{self.directory / name}, whose SHA-256 isn't its manifest's")
        return json.loads(data)


class Corpus(Artifact):
    """Records, split into train and test, nested as they came.

    Files:
        dataset/: a `datasets.DatasetDict` with the splits `train` and `test`, saved by `save_to_disk`. Where the train
            split is streamed, it has `test` alone, with the columns that the train records have too.
        stream.json: only for a train split that is streamed: a `StreamReport`.
        report.json: a `CorpusReport`.
    """

    @functools.cached_property
    def report(self) -> reports.CorpusReport:
        """Statistics, anomalies, and what was read."""
        return self.read(REPORT, reports.CorpusReport)

    @property
    def is_streamed(self) -> bool:
        """Whether the train records are read from their source, shard by shard, because the corpus keeps none."""
        return (self.directory / STREAM).exists()

    @functools.cached_property
    def stream(self) -> reports.StreamReport:
        """Where the train records are read from, if they are streamed."""
        return self.read(STREAM, reports.StreamReport)

    def split(self, name: str) -> "Dataset":
        """The records of split `train` or `test`, memory-mapped. A corpus that is streamed has no train split."""
        return load_split(self.directory / "dataset", name)

    def columns(self) -> "Dataset":
        """A split that has the columns of both: train, or test where train is streamed."""
        return self.split("test" if self.is_streamed else "train")


class Tokenizer(Artifact):
    """A fast tokenizer with a mask token.

    Files:
        tokenizer/: what `save_pretrained` writes (`tokenizer.json`, `tokenizer_config.json`, …).
        report.json: a `TokenizerReport`.
    """

    @functools.cached_property
    def report(self) -> reports.TokenizerReport:
        """What the tokenizer is, and where it comes from."""
        return self.read(REPORT, reports.TokenizerReport)

    def load(self) -> "PreTrainedTokenizerFast":
        """The tokenizer."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.directory / "tokenizer", use_fast=True)


class Blocks(Artifact):
    """Token ids of the corpus in blocks of equal length: concatenated and cut, or by documents.

    Files:
        dataset/: a `datasets.DatasetDict` with the splits `train` and `test`, saved by `save_to_disk`. Its
            columns are `input_ids` (block_size,) int32 and `attention_mask` (block_size,) int8, 0 for padding, which
            is at the end; where documents are packed, the train split's `document_ids` (block_size,) int16 too:
            which document of its block, from 1, a token belongs to, 0 for padding. The test split then has a
            document a row, or some rows where it is longer.
        records/train.arrow, records/test.arrow: a row a record with text, in the order of the blocks (of the corpus,
            for packed ones), as an Arrow stream: `row` in the corpus' split int64; `tokens` that it became, special
            ones among them, `characters` and `bytes` (UTF-8) of its text, int32. Where the train split is streamed,
            it is in numbered segments, as in dataset/: records/train-00000.arrow and so on; `row` is in the stream.
        report.json: a `BlocksReport`.
    """

    @functools.cached_property
    def report(self) -> reports.BlocksReport:
        """How the records became blocks, and how many there are."""
        return self.read(REPORT, reports.BlocksReport)

    def split(self, name: str) -> "Dataset":
        """The blocks of split `train` or `test`, memory-mapped."""
        return load_split(self.directory / "dataset", name)

    def records(self, name: str) -> "dict[str, np.ndarray]":
        """The records of split `train` or `test` by column, (records,) each."""
        import pyarrow

        tables = []
        for path in sorted((self.directory / "records").glob(f"{name}*.arrow")):
            with pyarrow.OSFile(str(path), "rb") as file:
                tables.append(pyarrow.ipc.open_stream(file).read_all())
        table = pyarrow.concat_tables(tables)
        return {column: table.column(column).to_numpy() for column in table.column_names}

    @property
    def block_size(self) -> int:
        """Positions a block."""
        return self.report.block_size

    @property
    def packing(self) -> str:
        """How records fill blocks: concatenate, documents or packed."""
        return self.report.packing

    @property
    def tokens_a_block(self) -> float:
        """Tokens that a train block has on average; padding is none."""
        train = self.report.splits.train
        return self.block_size - (train.padding or 0) / max(1, train.blocks)


class Checkpoint(Artifact):
    """A masked language model before and after training.

    Files:
        model/: the trained model and its tokenizer, as `save_pretrained` writes them: `config.json`, the tokenizer's
            files and `tf_model.h5`, or where transformers has no TensorFlow class, `model.safetensors` as PyTorch's
            class writes it.
        initial/: the same model before the first step.
        history.json, history.csv: a row an epoch, an `EpochRow`.
        history_steps.json, history_steps.csv: a row every 20 steps, or fewer where training is short, a `StepRow`.
        logs/: TensorBoard events, of the same numbers.
        state/: what a longer training goes on from, as `components.training.step_checkpoints` writes it: weights,
            optimizer and position; not there with `train.save_only_model`.
        report.json: a `TrainingReport`.
    """

    @functools.cached_property
    def report(self) -> reports.TrainingReport:
        """What was trained, on what, for how long."""
        return self.read(REPORT, reports.TrainingReport)

    @functools.cached_property
    def history(self) -> tuple[reports.EpochRow, ...]:
        """A row an epoch."""
        return self.read_rows(f"{HISTORY}.json", reports.EpochRow)

    @functools.cached_property
    def step_history(self) -> tuple[reports.StepRow, ...]:
        """A row every 20 optimizer steps, or fewer where training is short."""
        return self.read_rows(f"{STEP_HISTORY}.json", reports.StepRow)

    @property
    def model_directory(self) -> Path:
        """The trained model, for `load_masked_lm` or any `from_pretrained`."""
        return self.directory / "model"

    @property
    def has_tensorflow_weights(self) -> bool:
        """Whether the weights are those of transformers' TensorFlow class, `tf_model.h5`."""
        return "model/tf_model.h5" in self.manifest["files"]

    @property
    def initial_directory(self) -> Path:
        """The model before training."""
        return self.directory / "initial"

    @property
    def state_directory(self) -> Path:
        """What a longer training goes on from."""
        return self.directory / STATE


class Evaluation(Artifact):
    """How well the model fills masks, before and after training and against others, and whether it is blessed.

    Files:
        metrics.json: an `EvaluationReport`, with the intervals, the slices, and how all was measured. Of its `metrics`,
            `perplexity_*`, `cross_entropy_*` (nats a token), `top1_accuracy_*` and `top5_accuracy_*` (0 to 1) end in
            `before` and `after` (training), `unigram` (add-one smoothed frequencies in the train split) and, where it
            has the same tokenizer, `baseline`; `top1_accuracy` and `top5_accuracy` are those after training;
            `masked_tokens`, `blocks`, `records` (with a masked token) and `contaminated_blocks` count.
            `bits_per_character_*` and `bits_per_byte_*`, which models with different tokenizers can be compared by,
            are cross_entropy / ln 2 x tokens / characters of the records (without special tokens).
            `expected_calibration_error_*` (0 to 1) is there for every model but the unigram baseline.
        blessing.json: a `Blessing`.
        samples.json: a `Sample` for each sample sentence.
        worst_tokens.json: a `WorstTokens`, with text of the test split. Earlier versions wrote none.
        scores.npz: `record` (masked_tokens,) int64, the row in the test split of Corpus, and by model, in the order of
            masks.npz, the natural `log_probability_*` (masked_tokens,) of the true token. Of every model but the
            unigram baseline also the first guess, `top_id_*` (masked_tokens,) int32, and its natural
            `top_log_probability_*` (masked_tokens,).
        baseline.npz: only for a baseline with another tokenizer: its questions as in masks.npz, and its answers.
        masks.npz: the masked positions that every model was asked about, in four arrays (masked_tokens,) int32:
            `block`, the index in the test split of Blocks; `position` in the block; `input_id`, what the model saw
            there (the mask, a random token or the true one); `label`, the true token. The perplexity is
            exp(-mean(ln p(label))) with `input_ids[block, position] = input_id`.
    """

    @functools.cached_property
    def report(self) -> reports.EvaluationReport:
        """The metrics, and how they were measured."""
        return self.read("metrics.json", reports.EvaluationReport)

    @functools.cached_property
    def blessing(self) -> reports.Blessing:
        """Whether the model may be pushed, and why."""
        return self.read("blessing.json", reports.Blessing)

    @functools.cached_property
    def samples(self) -> tuple[reports.Sample, ...]:
        """The sample sentences with their answers."""
        return self.read_rows("samples.json", reports.Sample)

    @functools.cached_property
    def worst_tokens(self) -> reports.WorstTokens | None:
        """The tokens that the model is worst at; None in what earlier versions wrote."""
        if "worst_tokens.json" not in self.manifest["files"]:
            return None
        return self.read("worst_tokens.json", reports.WorstTokens)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by name."""
        return dict(self.report.metrics)

    @property
    def blessed(self) -> bool:
        """Whether the model may be pushed."""
        return self.blessing.blessed

    @property
    def verdict(self) -> str:
        """Why it is blessed or not, in a sentence without its full stop."""
        return self.blessing.sentence

    @property
    def beside_counting(self) -> str | None:
        """In a few words, that the model is no better than guessing by word frequency; None where it is better."""
        return self.blessing.beside_counting

    @property
    def must_beat(self) -> str | None:
        """Which baseline the model had to beat to be blessed, as the setting names it; None for none."""
        return self.blessing.must_beat

    @property
    def compared_with(self) -> str | None:
        """The identity of the baseline that the model was held against; None where there was none."""
        baseline = self.blessing.baseline
        return None if baseline is None else baseline.identity


class ServingModel(Artifact):
    """A SavedModel that TensorFlow Serving loads, with its tokenizer beside it.

    Files:
        saved_model/: one version directory in TF Serving's form: `saved_model.pb`, `variables/`, `assets/`,
            `assets.extra/tokenizer/`; with `export.quantize`, `model.tflite`.
        report.json: a `ServingModelReport`.
    """

    @functools.cached_property
    def report(self) -> reports.ServingModelReport:
        """What the model takes and gives."""
        return self.read(REPORT, reports.ServingModelReport)

    @property
    def saved_model_directory(self) -> Path:
        """The directory to copy into `<base path>/<version>/`."""
        return self.directory / "saved_model"

    @property
    def example(self) -> str:
        """A text to try the model on, with the tokenizer's own mask token."""
        return self.report.example.text

    @property
    def takes_text(self) -> bool:
        """Whether its tokenizer is in the graph. Otherwise it's asked with token ids."""
        return self.report.text_signatures

    @property
    def most_candidates(self) -> int:
        """How many candidates a mask a request may ask for."""
        return self.report.max_top_k or self.report.top_k


class InfraBlessing(Artifact):
    """Word that a server loaded the exported model and answered as the checkpoint does.

    Files:
        report.json: a `ValidationReport`.
        server.log: what the server printed.
    """

    @functools.cached_property
    def report(self) -> reports.ValidationReport:
        """What was asked, and how the answers compare."""
        return self.read(REPORT, reports.ValidationReport)

    def blesses(self, model: ServingModel) -> bool:
        """Whether this is the model that was validated."""
        return self.report.model == model.digest


class Pushed(Artifact):
    """Where a model was pushed to.

    Files:
        pushed.json: a `PushReport`.
        hub/: the folder that went to the Hub, if one did.
    """

    @functools.cached_property
    def report(self) -> reports.PushReport:
        """Where the model is."""
        return self.read("pushed.json", reports.PushReport)


def load_split(directory: Path, name: str) -> "Dataset":
    """One split of a `DatasetDict` saved on disk, memory-mapped."""
    from datasets import load_from_disk

    return load_from_disk(str(directory / name))
