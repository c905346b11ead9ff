"""Step `evaluate`: how well the model fills masks, and whether it may reach anyone."""

import dataclasses
import functools
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.contract import reports
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.component import Component
from components.contract.push_record import PushedTo, model_digest
from components.contract.workers import THIS_PROCESS, Workers
from components.evaluation.baseline import LAST_BLESSED, Baseline, find_baseline
from components.evaluation.params import (
    AFTER,
    BASELINE,
    BEFORE,
    SAMPLE_SENTENCES,
    UNIGRAM,
    EvaluateParams,
    QuestionSettings,
)
from foundation.perplexity import perplexity_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from components.evaluation.answers import ModelAnswers
    from components.evaluation.baseline_answers import BaselineAnswers
    from components.evaluation.questions import Questions
    from components.evaluation.slices import Slice
    from components.evaluation.statistics import Resampled
    from components.modeling.scoring import Scores


@dataclasses.dataclass(frozen=True)
class Evaluate(Component[Evaluation]):
    """Measures a model on frozen masks over the test split, compares it with others, and blesses it or doesn't.

    Attributes:
        corpus: Its test split is read anew for a baseline with another tokenizer, and for slices by a column.
        blocks: The train split counts token frequencies, the test split is masked.
        tokenizer: Whose mask and special tokens are used.
        checkpoint: The model before and after training.
        pushed_to: Where the last blessed model is looked for. What is found there is part of the key, the place isn't.
        eval_mlm_probability: Share of the tokens that are masked: `train.eval_mlm_probability`, which the validation
            after each epoch of training has too.
        params: How it is measured.
    """

    corpus: Corpus
    blocks: Blocks
    tokenizer: Tokenizer
    checkpoint: Checkpoint
    pushed_to: PushedTo = dataclasses.field(metadata={"key": False})
    eval_mlm_probability: float
    params: EvaluateParams

    name: ClassVar[str] = "evaluate"
    version: ClassVar[str] = "7"
    output: ClassVar[type[Evaluation]] = Evaluation

    @functools.cached_property
    def sample_texts(self) -> dict[str, str | None]:
        """The sentences whose answers are shown: those that are given, else some of the test split.

        Beside each stands the word that was left out; None where the sentence was given.
        """
        from components.evaluation.sample_sentences import sample_sentences

        if self.params.sample_texts is not None:
            return dict.fromkeys(self.params.sample_texts)
        column, tokenizer = self.blocks.report.text_column, self.tokenizer.load()
        sentences = sample_sentences(
            self.corpus, column, tokenizer, count=SAMPLE_SENTENCES, longest=self.blocks.report.block_size
        )
        return {sentence.text: sentence.word for sentence in sentences}

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """The model to compare with, looked up once, so that the one that `sources` names is the one that is asked."""
        return find_baseline(self.params.baseline, self.pushed_to, model_digest(self.checkpoint))

    @property
    def reads(self) -> Sequence[Path]:
        """Where the last blessed model is."""
        return (Path(self.pushed_to.base_path),)

    def sources(self) -> Mapping[str, str]:
        """The digest and name of the baseline, which the evaluation has both; nothing where there is no baseline yet.

        Its name says where it was found, such as in which version.
        """
        if self.checkpoint.path is None or self.baseline is None:
            return {}
        return {"baseline": self.baseline.identity, "baseline_name": self.baseline.name}

    def preflight(self) -> None:
        """Refuses a named baseline that isn't there; once there are blocks, also what can't be asked of them."""
        from components.evaluation.questions import require_blocks_to_ask
        from components.evaluation.slices import require_slice_column

        if self.corpus.path is not None and self.params.slice_column is not None:
            require_slice_column(self.corpus.split("test"), self.params.slice_column)
        if self.blocks.path is not None:
            require_blocks_to_ask(self.blocks)
        if self.params.baseline != LAST_BLESSED:
            find_baseline(self.params.baseline, self.pushed_to, own_digest="")

    def run(self, out: Path) -> None:
        """Writes what `Evaluation` lists; see `run_with`."""
        self.run_with(out, THIS_PROCESS)

    def run_with(self, out: Path, workers: Workers) -> None:
        """Writes what `Evaluation` lists. Workers answer for the model before and after training, each some batches.

        Raises:
            DataError: If the test split has no blocks, nothing in them can be masked, or the slices' column is none.
            ModelError: If a model doesn't load, doesn't fit the tokenizer, or answers with NaN or infinity.
        """
        from components.evaluation.answers import save_answers
        from components.evaluation.calibration import calibration
        from components.evaluation.measuring import describe_slices, measure_all, metrics_and_intervals
        from components.evaluation.questions import questions_of_test_split
        from components.evaluation.slices import every_slice
        from components.evaluation.training_split import read_train_split
        from components.evaluation.worst_tokens import worst_tokens

        tokenizer = self.tokenizer.load()
        questions = questions_of_test_split(self.blocks, tokenizer, self.question_settings)
        column_slices = self.column_slices(questions)  # first, so that a wrong column is refused before the work

        models = self.ask_models(tokenizer, questions, workers)
        train_split = read_train_split(self.blocks, questions, tokenizer, self.params.contamination_ngram)
        answers = {name: model.scores for name, model in models.items()}
        answers[UNIGRAM] = train_split.unigram.answers(questions.masks.label)
        metrics = pseudo_metrics(models) | measure_all(answers, questions.masks.label)
        baseline = self.ask_baseline(tokenizer, questions)
        if baseline is not None and baseline.same_tokenizer:
            answers[BASELINE] = baseline.scores

        slices = [*every_slice(questions, train_split, self.params.contamination_ngram), *column_slices]
        resampled = self.resample(questions, answers, baseline, slices)
        more, intervals = metrics_and_intervals(resampled, with_perplexity=answers.keys())
        metrics |= more
        metrics |= {"masked_tokens": len(questions.masks), "blocks": len(questions.input_ids)}
        metrics |= {"records": resampled.records, "contaminated_blocks": int(train_split.contaminated.sum())}
        calibrations = [
            calibration(name, answers[name], questions.masks.label)
            for name in (BEFORE, AFTER, BASELINE)
            if name in answers
        ]
        metrics |= {
            f"expected_calibration_error_{each.model}": each.expected_calibration_error for each in calibrations
        }
        blessing = self.bless(resampled, baseline)

        save_answers(out, questions, answers, baseline)
        reports.write(out / "samples.json", self.samples(models))
        reports.write(out / "worst_tokens.json", worst_tokens(questions, tokenizer, answers[AFTER], answers[UNIGRAM]))
        reports.write(out / "blessing.json", blessing)
        reports.write(
            out / "metrics.json",
            reports.EvaluationReport(
                summary=summary_of(metrics, blessing, self.starts_with_new_head),
                metrics=metrics,
                intervals=intervals,
                slices=describe_slices(resampled, slices, list(answers)),
                how=self.measurement(questions),
                calibration=tuple(calibrations),
            ),
        )

    @property
    def question_settings(self) -> QuestionSettings:
        """Which questions are asked."""
        return self.params.questions(self.eval_mlm_probability)

    def column_slices(self, questions: "Questions") -> "list[Slice]":
        """The slices by the column that is named; none without.

        Raises:
            DataError: If there is no such column, or it holds lists.
        """
        from components.evaluation.slices import by_column

        if self.params.slice_column is None:
            return []
        row = questions.records.row[questions.record]
        return list(by_column(self.corpus.split("test"), self.params.slice_column, row))

    def ask_models(
        self, tokenizer: "PreTrainedTokenizerFast", questions: "Questions", workers: Workers
    ) -> "dict[str, ModelAnswers]":
        """Asks the model before and after training."""
        from components.evaluation.answers import ask_model
        from components.evaluation.shared_scoring import AskedModel, shared_scores
        from components.modeling.checkpoint import load_masked_lm

        answers = {}
        params = dataclasses.replace(self.params, sample_texts=tuple(self.sample_texts))
        directories = {BEFORE: self.checkpoint.initial_directory, AFTER: self.checkpoint.model_directory}
        for name, directory in directories.items():
            settings = self.question_settings
            asked = AskedModel(directory, self.blocks, self.tokenizer, settings, self.params.batch_size)
            is_shared = workers is not THIS_PROCESS and asked.is_worth_sharing(questions)
            scores = shared_scores(asked, questions, workers) if is_shared else None
            model = load_masked_lm(directory)
            answers[name] = ask_model(model, tokenizer, questions, params, scores)
            del model
            gc.collect()  # a Keras model is a cycle: without this, two of them stand in memory
        return answers

    def ask_baseline(self, tokenizer: "PreTrainedTokenizerFast", questions: "Questions") -> "BaselineAnswers | None":
        """Asks the baseline, on the same questions where it has the same tokenizer; None where there is none."""
        from components.evaluation.baseline_answers import ask_baseline
        from components.modeling.configuration import language_of, load_config

        if self.baseline is None:
            return None
        language = language_of(load_config(self.checkpoint.model_directory))
        return ask_baseline(
            dataclasses.replace(self.baseline, language=language),
            questions,
            self.question_settings,
            tokenizer,
            self.corpus,
            self.blocks,
            batch_size=self.params.batch_size,
        )

    def resample(
        self,
        questions: "Questions",
        answers: "Mapping[str, Scores]",
        baseline: "BaselineAnswers | None",
        slices: "Sequence[Slice]",
    ) -> "Resampled":
        """Draws the records anew, for the intervals of every model's metrics.

        Args:
            questions: What was asked.
            answers: To these questions, by model.
            baseline: Its answers, which may be to other questions about the same records.
            slices: Parts of the masked tokens.
        """
        import numpy as np

        from components.evaluation.measuring import length_of, record_sums
        from components.evaluation.statistics import Resampled

        sums = {name: record_sums(questions, scores) for name, scores in answers.items()}
        if baseline is not None:
            sums[BASELINE] = record_sums(baseline.questions, baseline.scores)
        return Resampled(
            sums,
            length_of(questions),
            slices,
            {name: -scores.log_probabilities.astype(np.float64) for name, scores in answers.items()},
            questions.record,
            confidence=self.params.confidence,
            resamples=self.params.bootstrap_resamples,
            seed=self.params.seed,
        )

    def bless(self, resampled: "Resampled", baseline: "BaselineAnswers | None") -> reports.Blessing:
        """Decides whether the model may be pushed."""
        from components.evaluation import gate

        params = self.params
        thresholds = gate.Thresholds(
            params.max_perplexity,
            # A head with random weights is no start to be better than, where guessing by word frequency is looked at.
            None
            if self.starts_with_new_head and params.min_improvement_over_unigram is not None
            else params.min_improvement_over_start,
            params.min_improvement_over_unigram,
            params.min_improvement_over_baseline,
        )
        compared = None
        if baseline is not None:
            compared_by = "perplexity" if baseline.same_tokenizer else "bits per character"
            compared = reports.ComparedModel(baseline.baseline.name, baseline.baseline.identity, compared_by)
        checks = gate.check_all(
            resampled,
            thresholds,
            baseline=None if compared is None else compared.name,
            same_tokenizer=baseline is None or baseline.same_tokenizer,
        )
        return reports.Blessing(
            blessed=all(check.passed for check in checks),
            sentence=gate.sentence_of(checks),
            checks=tuple(checks),
            beside_counting=gate.beside_counting(resampled),
            must_beat=None if params.min_improvement_over_baseline is None else params.baseline,
            min_improvement_over_baseline=params.min_improvement_over_baseline,
            baseline=compared,
        )

    @property
    def starts_with_new_head(self) -> bool:
        """Whether the checkpoint that training began with had no head, so that the one before training was random."""
        return self.checkpoint.report.has_new_head

    def samples(self, models: "Mapping[str, ModelAnswers]") -> list[reports.Sample]:
        """The sample sentences with the answers before and after training."""
        answered = zip(self.sample_texts.items(), models[BEFORE].samples, models[AFTER].samples, strict=True)
        return [reports.Sample(text, before, after, word) for (text, word), before, after in answered]

    def measurement(self, questions: "Questions") -> reports.Measurement:
        """How the model was measured."""
        params = self.params
        return reports.Measurement(
            eval_mlm_probability=self.eval_mlm_probability,
            seed=params.seed,
            batch_size=params.batch_size,
            max_blocks=params.max_blocks,
            confidence=params.confidence,
            bootstrap_resamples=params.bootstrap_resamples,
            slice_column=params.slice_column,
            contamination_ngram=params.contamination_ngram,
            pseudo_log_likelihood_blocks=params.pseudo_log_likelihood_blocks,
            split="test",
            block_size=int(questions.input_ids.shape[1]),
            packing=self.blocks.packing,
            masks_digest=questions.masks_in_split.digest,
            tokenizer_digest=self.tokenizer.digest,
            weighting="every masked token the same",
            intervals=f"{params.confidence:.4g}, percentile bootstrap over records",
            unigram="add-one smoothed counts of the train blocks over the vocabulary without special tokens",
        )


def pseudo_metrics(models: "Mapping[str, ModelAnswers]") -> dict[str, float]:
    """The models' pseudo-log-likelihoods and pseudo-perplexities, where they were asked for."""
    return {f"{metric}_{name}": value for name, model in models.items() for metric, value in model.pseudo.items()}


def summary_of(metrics: Mapping[str, float], blessing: reports.Blessing, new_head: bool) -> str:
    """One line for the person who watches the run."""
    names = {BEFORE: f"{BEFORE} (with a random head)" if new_head else BEFORE, AFTER: AFTER, UNIGRAM: UNIGRAM}
    perplexities = (f"{perplexity_text(metrics[f'perplexity_{name}'])} {words}" for name, words in names.items())
    parts = [f"perplexity {', '.join(perplexities)}", blessing.beside_counting]
    parts.append("blessed" if blessing.blessed else "not blessed")
    return "; ".join(part for part in parts if part)
