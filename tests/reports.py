"""Complete reports, as the steps write them, for tests in which few of their attributes matter."""

import dataclasses
from typing import Any

from components.contract.reports import (
    Blessing,
    BlockCounts,
    BlocksReport,
    BySplit,
    Calibration,
    CalibrationBin,
    ColumnCounts,
    ColumnReport,
    CorpusReport,
    EpochRow,
    EvaluationReport,
    Example,
    ExecutionReport,
    Hardware,
    HubPush,
    Measurement,
    PushReport,
    RecordsWithoutText,
    ServingModelReport,
    SliceReport,
    StepRow,
    TokenExample,
    TokenizerReport,
    TokenLoss,
    TrainingReport,
    ValidationReport,
)


def corpus(words: tuple[int, int] = (80, 20), column: str = "answers.text", **more: Any) -> CorpusReport:
    """Four train records and a test record, with so many words in a column."""
    train, test = (
        ColumnCounts(rows=1, null=0, empty=0, duplicates=0, characters=5 * count, words=count) for count in words
    )
    report = CorpusReport(
        summary="5 records (4 train, 1 test), 100 words in answers.text",
        records=BySplit(4, 1),
        duplicate_records=BySplit(0, 0),
        test_records_in_train=0,
        columns={column: ColumnReport(train, test, 0)},
        anomalies=(),
        source={"kind": "embedded"},
        skipped=(),
    )
    return dataclasses.replace(report, **more)


def tokenizer(**more: Any) -> TokenizerReport:
    """A byte-level BPE of 300 tokens."""
    report = TokenizerReport(
        kind="byte-level BPE",
        origin="trained on the train split",
        vocab_size=300,
        special_tokens={"<mask>": 4},
        model_max_length=32,
        summary="byte-level BPE",
    )
    return dataclasses.replace(report, **more)


def blocks(block_size: int = 64, **more: Any) -> BlocksReport:
    """Ten blocks in each split."""
    counts = BlockCounts(
        records=10,
        skipped=RecordsWithoutText(0, 0),
        tokens=10 * block_size,
        blocks=10,
        tokens_kept=10 * block_size,
        tokens_dropped=0,
    )
    report = BlocksReport(
        block_size=block_size,
        text_column="answers.text",
        special_tokens_per_record=2,
        splits=BySplit(counts, counts),
        summary="blocks",
    )
    return dataclasses.replace(report, **more)


def training(**more: Any) -> TrainingReport:
    """A RoBERTa from random weights."""
    report = TrainingReport(
        summary="roberta",
        architecture="TFRobertaForMaskedLM",
        model_type="roberta",
        parameters=12_345,
        vocabulary_size=300,
        steps=20,
        planned_steps=20,
        warmup_steps=0,
        decay_steps=20,
        blocks_a_step=4,
        epochs=2,
        hardware=Hardware(2, ()),
        started_from="random weights",
        block_size=32,
        packing="concatenate",
        share_of_padding=0.0,
        best_epoch=1,
        saved_epoch=2,
        flops_a_step=1e9,
        measured_peak_tflops=1.0,
        execution=ExecutionReport("float32", False, 1, ("CPU:0",), {}),
        deterministic=True,
        seconds=61.5,
    )
    return dataclasses.replace(report, **more)


def epoch_row(epoch: int, loss: float, **more: Any) -> EpochRow:
    """A row of the history."""
    row = EpochRow(
        epoch=epoch,
        step=10 * epoch,
        loss=loss,
        perplexity=None,
        val_loss=None,
        val_perplexity=None,
        learning_rate=1e-5,
        gradient_norm=1.25,
        seconds=1.5,
        tokens_per_second=900.0,
        tflops_per_second=0.375,
    )
    return dataclasses.replace(row, **more)


def step_row(step: int, loss: float) -> StepRow:
    """A row of the history by step."""
    return StepRow(
        step=step,
        loss=loss,
        perplexity=None,
        learning_rate=1e-3,
        gradient_norm=1.25,
        tokens_per_second=900.0,
        tflops_per_second=0.375,
    )


def measurement(**more: Any) -> Measurement:
    """How a model is measured by default."""
    how = Measurement(
        eval_mlm_probability=0.15,
        seed=42,
        batch_size=16,
        max_blocks=None,
        confidence=0.95,
        bootstrap_resamples=500,
        slice_column=None,
        contamination_ngram=24,
        pseudo_log_likelihood_blocks=0,
        split="test",
        block_size=32,
        packing="concatenate",
        masks_digest="masks",
        tokenizer_digest="tokenizer",
        weighting="every masked token the same",
        intervals="0.95, percentile bootstrap over records",
        unigram="add-one smoothed counts",
    )
    return dataclasses.replace(how, **more)


def empty_slice() -> SliceReport:
    """A slice without a masked token."""
    return SliceReport(
        group="length",
        name="long",
        masked_tokens=0,
        records=0,
        perplexity_before=None,
        interval_before=None,
        perplexity_after=None,
        interval_after=None,
        perplexity_unigram=None,
        interval_unigram=None,
        note="empty: nothing there",
    )


def evaluation(metrics: dict[str, float], **more: Any) -> EvaluationReport:
    """Some metrics."""
    report = EvaluationReport(summary="perplexity", metrics=metrics, intervals={}, slices=(), how=measurement())
    return dataclasses.replace(report, **more)


def calibration(**more: Any) -> Calibration:
    """A trained model whose probabilities are honest."""
    report = Calibration(
        model="after",
        expected_calibration_error=0.0,
        error_by_chance=0.01,
        confidence=0.5,
        accuracy=0.5,
        bins=(CalibrationBin(0.0, 0.5, 4, 0.25, 0.25), CalibrationBin(0.5, 1.0, 600, 0.5, 0.5)),
    )
    return dataclasses.replace(report, **more)


def token_loss(token_str: str, example: TokenExample, **more: Any) -> TokenLoss:
    """A token that the model is worse at than the frequencies."""
    report = TokenLoss(
        token_str=token_str,
        masked_tokens=12,
        mean_loss=7.5,
        mean_loss_unigram=6.5,
        excess_loss=12.0,
        example=example,
    )
    return dataclasses.replace(report, **more)


def blessing(blessed: bool = True, **more: Any) -> Blessing:
    """A blessing without checks, or that there is none."""
    content = Blessing(
        blessed=blessed,
        sentence="blessed: better" if blessed else "not blessed: worse",
        checks=(),
        beside_counting=None,
        must_beat=None,
        min_improvement_over_baseline=None,
        baseline=None,
    )
    return dataclasses.replace(content, **more)


def serving_model(text: str = "the <mask> sat on the mat .", **more: Any) -> ServingModelReport:
    """A model that takes text."""
    report = ServingModelReport(
        summary="exported",
        signatures={},
        max_sequence_length=32,
        top_k=5,
        max_top_k=100,
        mask_token="<mask>",
        text_signatures=True,
        why_no_text_signatures=None,
        truncation=False,
        in_graph_batching=True,
        example=Example(text, ()),
    )
    return dataclasses.replace(report, **more)


def validation(model: str) -> ValidationReport:
    """Word that the model with a digest was validated."""
    return ValidationReport(
        summary="validated",
        model=model,
        server="embedded",
        start_seconds=1.0,
        first_request_milliseconds=2.0,
        median_request_milliseconds=1.0,
        largest_score_difference=0.0,
        texts=(),
    )


def push(**more: Any) -> PushReport:
    """The third version of a model, which is on the Hub too."""
    report = PushReport(
        model_name="fill_mask",
        serving_dir="serving",
        base_path="serving/fill_mask",
        version=3,
        path="serving/fill_mask/3",
        digest="digest",
        created=True,
        blessed=True,
        compared_again=None,
        dry_run=False,
        hub=HubPush(repo_id="me/m", commit="c0ffee", url="https://hub/me/m", created=True, files={}),
        summary="fill_mask version 3",
    )
    return dataclasses.replace(report, **more)
