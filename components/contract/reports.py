"""What the steps report, one frozen dataclass a file, and how such a file is written and read.

A report's attributes are its file's keys. An attribute with a default is left out of the file where it has that
default; every other one is always there, as null where it is None.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from components.contract import manifest
from foundation.errors import DamagedArtifact

Value = TypeVar("Value")
Read = TypeVar("Read")


def write(path: Path, report: Any) -> None:
    """Writes a report, or a sequence of rows, as JSON, complete or not at all.

    Args:
        path: The file.
        report: A dataclass, or a list or tuple of some.
    """
    manifest.write_json(path, as_plain(report))


def as_plain(value: Any) -> Any:
    """A report as JSON has it: dataclasses as dictionaries without what has its default, tuples as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return {
            field.name: as_plain(content)
            for field, content in fields
            if field.default is dataclasses.MISSING or content != field.default
        }
    if isinstance(value, Mapping):
        return {key: as_plain(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(content) for content in value]
    return value


def from_plain(kind: type[Read], content: Any, path: Path) -> Read:
    """A report from the content of its file.

    Args:
        kind: The report's dataclass.
        content: What JSON holds.
        path: The file, whose directory is the artifact.

    Raises:
        DamagedArtifact: If a key is missing, unknown or of another type: another version of the step wrote the file.
    """
    import dacite

    if not isinstance(content, Mapping):
        raise DamagedArtifact(path.parent, f"{path}, which holds no {kind.__name__}")
    try:
        # Strict, so that no key is passed over; JSON has lists where a report has tuples.
        return dacite.from_dict(kind, content, dacite.Config(strict=True, cast=[tuple]))
    except dacite.DaciteError as error:
        raise DamagedArtifact(
            path.parent, f"{path}, which is no {kind.__name__} of this version of the program: {error}"
        ) from error


class Report(Protocol):
    """What every step's report has."""

    @property
    def summary(self) -> str:
        """What came out, in one line for the person who watches the run."""


@dataclasses.dataclass(frozen=True)
class BySplit(Generic[Value]):
    """One value for each split of a corpus.

    Attributes:
        train: That of the train split.
        test: That of the test split.
    """

    train: Value
    test: Value

    def __iter__(self) -> Iterator[Value]:
        """The two values, train first."""
        return iter((self.train, self.test))


@dataclasses.dataclass(frozen=True)
class Parts:
    """Which of a source's own parts the splits are.

    Attributes:
        train: The part that is the train split.
        test: The part that is the test split, `test` or `validation`.
        left_out: The number of records of each part that is neither.
    """

    train: str
    test: str
    left_out: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColumnCounts:
    """Counts over one text column of one split.

    Attributes:
        with_zeros: Values with a NUL character, which no text should have.
        rows: Records.
        null: Records whose value is null.
        empty: Records whose value has no word.
        duplicates: Values that repeat an earlier one; neither null nor empty ones count.
        characters: Unicode code points of all values.
        words: Words of all values, as blanks part them.
    """

    with_zeros: int = 0
    rows: int
    null: int
    empty: int
    duplicates: int
    characters: int
    words: int


@dataclasses.dataclass(frozen=True)
class ColumnReport(BySplit[ColumnCounts]):
    """Counts over one text column.

    Attributes:
        train: Over the train split.
        test: Over the test split.
        test_in_train: Values of the test split that are in the train split too.
    """

    train: ColumnCounts
    test: ColumnCounts
    test_in_train: int


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Something in a source that is no record, and was passed over.

    Attributes:
        what: What it is, such as a file's name.
        count: How often.
        reason: Why.
    """

    what: str
    count: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusReport:
    """`report.json` of a Corpus.

    Attributes:
        summary: What came out, in a line.
        parts: Which of the source's own parts the splits are; None where the records were split at random.
        available: The number of records that the source has, where the corpus holds only some of them.
        unnamed: The files that are none of the parts, and were left out.
        mixed: The files that are named as another part, though they were read with the others.
        records: The number of records.
        duplicate_records: The number of records that repeat an earlier one of their split whole.
        test_records_in_train: The number of test records that repeat a train record whole.
        columns: Counts by the dotted name of a text column.
        anomalies: What a person should know about the corpus, a sentence each.
        source: What was read, by name: the kind of source, its revision or files. Each kind of source has its own
            names.
        skipped: What the source holds that is no record.
    """

    summary: str
    parts: Parts | None = None
    available: int | None = None
    unnamed: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    records: BySplit[int]
    duplicate_records: BySplit[int]
    test_records_in_train: int
    columns: Mapping[str, ColumnReport]
    anomalies: tuple[str, ...]
    source: Mapping[str, Any]
    skipped: tuple[Skipped, ...]


@dataclasses.dataclass(frozen=True)
class RecordsWithoutText:
    """Records that were passed over for want of text.

    Attributes:
        null: Records whose text is null.
        empty: Records whose text is empty.
    """

    null: int
    empty: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.null + self.empty


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerReport:
    """`report.json` of a Tokenizer.

    Attributes:
        kind: Its class, or `byte-level BPE` for one that was trained here.
        origin: Where it comes from.
        vocab_size: Tokens, special and added ones among them.
        special_tokens: Their ids by their text.
        model_max_length: The longest sequence in tokens that it declares; a huge number for none.
        training_records: The records that a tokenizer was trained on; None for a pretrained one.
        training_records_skipped: The records without text among them; None for a pretrained one.
        text_column: The column that it was trained on, where that isn't the one that was named.
        summary: What came out, in a line.
    """

    kind: str
    origin: str
    vocab_size: int
    special_tokens: Mapping[str, int]
    model_max_length: float
    training_records: int | None = None
    training_records_skipped: RecordsWithoutText | None = None
    text_column: str | None = None
    summary: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockCounts:
    """What became of one split.

    Attributes:
        records: Records read, with and without text.
        skipped: The records without text among them.
        tokens: Tokens of all records, special ones among them.
        blocks: Blocks written.
        tokens_kept: Tokens in the blocks.
        tokens_dropped: Tokens at the end that fill no block.
        padding: Positions of the blocks that hold no token; None where records are concatenated and none is padded.
    """

    records: int
    skipped: RecordsWithoutText
    tokens: int
    blocks: int
    tokens_kept: int
    tokens_dropped: int
    padding: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlocksReport:
    """`report.json` of Blocks.

    Attributes:
        block_size: Positions a block.
        packing: How records fill blocks: `concatenate`, `documents` or `packed`.
        text_column: The column that was read.
        special_tokens_per_record: Tokens that the tokenizer adds to each record.
        splits: What became of each split.
        summary: What came out, in a line.
    """

    block_size: int
    packing: str = "concatenate"
    text_column: str
    special_tokens_per_record: int
    splits: BySplit[BlockCounts]
    summary: str


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
    """

    precision: str
    jit_compile: bool
    replicas: int
    devices: tuple[str, ...]
    chosen_by_auto: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """`report.json` of a Checkpoint.

    Attributes:
        summary: What came out, in a line.
        architecture: The model's class.
        model_type: The architecture's name in transformers.
        parameters: The number of weights.
        vocabulary_size: Tokens that the model knows.
        steps: Optimizer steps made.
        planned_steps: Optimizer steps planned.
        warmup_steps: Steps over which the learning rate rose.
        decay_steps: Steps over which it fell.
        blocks_a_step: Blocks an optimizer step.
        epochs: Epochs begun.
        hardware: What it was trained on.
        started_from: The checkpoint that training started from, or `random weights`.
        block_size: Positions a block.
        packing: How records fill blocks.
        share_of_padding: Share of the train blocks' positions that hold no token, from 0 to 1.
        best_epoch: The epoch with the lowest validation loss, from 1; None where nothing was validated.
        saved_epoch: The epoch whose weights were saved.
        flops_a_step: Floating-point operations of an optimizer step.
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
        tflops_per_second: 10^12 floating-point operations a second.
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
        tflops_per_second: 10^12 floating-point operations a second.
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


@dataclasses.dataclass(frozen=True)
class Interval:
    """The range that a value lies in, at some confidence.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float


Ends = tuple[float, float]
"""The lower and the upper end of an interval, as `metrics.json` has it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SliceReport:
    """A part of the masked tokens, with the perplexity that each model has there.

    A perplexity is None where no masked token belongs to the slice, an interval where too few records do. The
    baseline's are also None where there is no baseline with the same tokenizer.

    Attributes:
        group: What the slices of a group are told apart by.
        name: What the tokens of this one have in common.
        masked_tokens: How many they are.
        records: How many records they are in.
        perplexity_before: That of the model before training.
        interval_before: The interval of that, as all others at the evaluation's confidence.
        perplexity_after: That of the model after training.
        interval_after: Its interval.
        perplexity_unigram: That of guessing by word frequency.
        interval_unigram: Its interval.
        perplexity_baseline: That of the baseline.
        interval_baseline: Its interval.
        note: Why something is missing.
    """

    group: str
    name: str
    masked_tokens: int
    records: int
    perplexity_before: float | None
    interval_before: Ends | None
    perplexity_after: float | None
    interval_after: Ends | None
    perplexity_unigram: float | None
    interval_unigram: Ends | None
    perplexity_baseline: float | None = None
    interval_baseline: Ends | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement:
    """How a model was measured.

    Attributes:
        eval_mlm_probability: Share of the tokens that were masked, from 0 to 1.
        seed: Of the masks and of the bootstrap.
        batch_size: Blocks scored at once.
        max_blocks: The most blocks that were asked about; None for all.
        confidence: Of the intervals, from 0 to 1.
        bootstrap_resamples: How often the records were drawn anew for an interval.
        slice_column: The column by whose values there are slices; None for none.
        contamination_ngram: Tokens in a row that a test block shares with the train split if it is contaminated.
        pseudo_log_likelihood_blocks: Test blocks that were scored token by token too.
        split: The split that was masked.
        block_size: Positions a block.
        packing: How records fill blocks.
        masks_digest: SHA-256 of the masks: equal ones are the same questions.
        tokenizer_digest: That of the Tokenizer.
        weighting: What each masked token weighs.
        intervals: How intervals were made.
        unigram: How the word frequencies were counted.
    """

    eval_mlm_probability: float
    seed: int
    batch_size: int
    max_blocks: int | None
    confidence: float
    bootstrap_resamples: int
    slice_column: str | None
    contamination_ngram: int
    pseudo_log_likelihood_blocks: int
    split: str
    block_size: int
    packing: str
    masks_digest: str
    tokenizer_digest: str
    weighting: str
    intervals: str
    unigram: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """`metrics.json` of an Evaluation.

    Attributes:
        summary: What came out, in a line.
        metrics: Numbers by name; see `components.contract.artifacts.Evaluation`.
        intervals: Both ends of a metric's interval, by its name; nothing where records are too few.
        slices: Parts of the masked tokens.
        how: How all this was measured.
    """

    summary: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, Ends]
    slices: tuple[SliceReport, ...]
    how: Measurement


@dataclasses.dataclass(frozen=True)
class Check:
    """One condition of the blessing.

    Attributes:
        name: What is looked at.
        passed: Whether the interval's whole range is on the right side of the limit.
        sentence: What was found, as a sentence without its full stop.
        value: What was measured; None for nothing.
        interval: Its interval; None for too few records.
        limit: What the interval must stay below; None for nothing.
    """

    name: str
    passed: bool
    sentence: str
    value: float | None
    interval: Interval | None
    limit: float | None


@dataclasses.dataclass(frozen=True)
class ComparedModel:
    """The baseline, another model that this one was compared with.

    Attributes:
        name: What it is called in a sentence.
        identity: A digest or commit: equal ones are the same model.
        compared_by: `perplexity`, or `bits per character` where its tokenizer is another.
    """

    name: str
    identity: str
    compared_by: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blessing:
    """`blessing.json` of an Evaluation: whether the model may be pushed, and why.

    Attributes:
        blessed: Whether it may.
        sentence: Why, without its full stop.
        checks: The conditions one by one.
        beside_counting: In a few words, that the model is no better than guessing by word frequency; None where it is
            better.
        must_beat: Which baseline the model had to beat, as the setting names it; None for none.
        min_improvement_over_baseline: The share by which it had to; None for no baseline.
        baseline: What it was compared with; None for nothing.
    """

    blessed: bool
    sentence: str
    checks: tuple[Check, ...]
    beside_counting: str | None
    must_beat: str | None
    min_improvement_over_baseline: float | None
    baseline: ComparedModel | None


@dataclasses.dataclass(frozen=True)
class Answer:
    """A token that a model offers for a mask.

    Attributes:
        token_str: Its text.
        score: Its probability, from 0 to 1.
    """

    token_str: str
    score: float


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sentence of `samples.json` of an Evaluation, with what the model offers for its first mask, best first.

    Attributes:
        text: The sentence, with the configuration's placeholder for a mask.
        before: The answers before training; none where the mask was cut off.
        after: The answers after training.
    """

    text: str
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]


@dataclasses.dataclass(frozen=True)
class TensorReport:
    """An input or output of a signature.

    Attributes:
        dtype: TensorFlow's name of its type.
        shape: Its dimensions, None where one is free; None altogether where even their number is.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class SignatureReport:
    """What a served model takes and gives, by name."""

    inputs: Mapping[str, TensorReport]
    outputs: Mapping[str, TensorReport]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A token that the served model offers for a mask.

    Attributes:
        score: Its probability, from 0 to 1.
        token: Its id.
        token_str: Its text.
    """

    score: float
    token: int
    token_str: str


@dataclasses.dataclass(frozen=True)
class Example:
    """A text to try a model on.

    Attributes:
        text: With the tokenizer's own mask token.
        answer: The candidates for its first mask, best first.
    """

    text: str
    answer: tuple[Candidate, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingModelReport:
    """`report.json` of a ServingModel.

    Attributes:
        summary: What came out, in a line.
        signatures: What the model takes and gives, by signature.
        max_sequence_length: The most tokens of a text, special ones included.
        top_k: Candidates a mask, unless a request says how many.
        max_top_k: The most candidates a mask that a request may ask for; None where the model takes no text, and a
            request can't ask.
        mask_token: The mask token's text.
        text_signatures: Whether the tokenizer is in the graph, so that the model takes text.
        why_no_text_signatures: Why it isn't; None where it is.
        example: A text to try the model on.
    """

    summary: str
    signatures: Mapping[str, SignatureReport]
    max_sequence_length: int
    top_k: int
    max_top_k: int | None
    mask_token: str
    text_signatures: bool
    why_no_text_signatures: str | None
    example: Example


@dataclasses.dataclass(frozen=True)
class ValidatedText:
    """A text that the served model was asked.

    Attributes:
        text: The text.
        status: What the model says of it: `ok`, `no_mask` or `too_many_tokens`.
        largest_score_difference: The largest relative difference of a score from the checkpoint's.
    """

    text: str
    status: str
    largest_score_difference: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """`report.json` of an InfraBlessing.

    Attributes:
        summary: What came out, in a line.
        model: The digest of the ServingModel.
        server: What served it.
        start_seconds: How long the server took to start; None for one that ran before.
        first_request_milliseconds: How long the first answer took.
        median_request_milliseconds: How long an answer took, the median over the texts.
        largest_score_difference: The largest relative difference of a score from the checkpoint's.
        texts: The texts one by one.
    """

    summary: str
    model: str
    server: str
    start_seconds: float | None
    first_request_milliseconds: float
    median_request_milliseconds: float
    largest_score_difference: float
    texts: tuple[ValidatedText, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class HubPush:
    """What a push left on the Hub; of a dry run, what it would send.

    Attributes:
        repo_id: The model's repository.
        commit: The commit, 40 hexadecimal digits; None for a dry run.
        url: Where that is seen; None for a dry run.
        created: Whether the push made the commit, rather than find its files there; None for a dry run.
        files: SHA-256 by path.
    """

    repo_id: str
    commit: str | None
    url: str | None
    created: bool | None
    files: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PushReport:
    """`pushed.json` of a Pushed. What a dry run doesn't know is None.

    Attributes:
        model_name: The name that servers know the model by.
        serving_dir: The directory of all models; None for a dry run.
        base_path: The directory of the model's versions.
        version: The version; None for a dry run.
        path: The version's directory; None for a dry run.
        digest: The digest of the ServingModel that stands there: of what was pushed, or of an equal model that stood
            there before.
        created: Whether the push made the version, rather than find the model there; None for a dry run.
        blessed: Whether the model is blessed; None for a dry run.
        compared_again: What came of comparing the model with another than the evaluation did; None where push had no
            need to.
        dry_run: Whether nothing was sent or published.
        hub: What is on the Hub; None for no push to the Hub.
        summary: What came out, in a line.
        page: What would be pushed, for people; None except for a dry run.
    """

    model_name: str
    serving_dir: str | None
    base_path: str
    version: int | None
    path: str | None
    digest: str
    created: bool | None
    blessed: bool | None
    compared_again: str | None
    dry_run: bool
    hub: HubPush | None
    summary: str
    page: str | None = None
