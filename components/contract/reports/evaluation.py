"""How well a model fills masks, and whether it may be pushed: the reports of an Evaluation."""

import dataclasses
from collections.abc import Mapping

from components.contract.reports.diagnostics import Calibration


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
        group: What distinguishes the slices of a group, such as how frequent a token is.
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
        calibration: Whether the models' probabilities are honest, by model; none in what earlier versions wrote.
    """

    summary: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, Ends]
    slices: tuple[SliceReport, ...]
    how: Measurement
    calibration: tuple[Calibration, ...] = ()


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
