"""Step `evaluate`: how well the model fills masks, and whether it may reach anyone."""

import dataclasses
import functools
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from components.contract import manifest
from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.component import Component
from components.contract.push_record import PushedTo, model_digest
from components.evaluation.baseline import LAST_BLESSED, Baseline, find_baseline
from components.evaluation.params import EvaluateParams
from foundation.perplexity import perplexity_text

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerFast

    from components.evaluation.questions import Questions
    from components.evaluation.slices import Slice

MOMENTS = ("before", "after", "unigram")


@dataclasses.dataclass(frozen=True)
class Evaluate(Component[Evaluation]):
    """Measures a model on frozen masks over the test split, holds it against others, and blesses it or doesn't.

    Attributes:
        corpus: Its test split is read anew for a baseline with another tokenizer, and for slices by a column.
        blocks: The train split counts token frequencies, the test split is masked.
        tokenizer: Whose mask and special tokens are used.
        checkpoint: The model before and after training.
        pushed_to: Where the last blessed model is looked for. What is found there is part of the key, the place isn't.
        params: How it is measured.
    """

    corpus: Corpus
    blocks: Blocks
    tokenizer: Tokenizer
    checkpoint: Checkpoint
    pushed_to: PushedTo = dataclasses.field(metadata={"key": False})
    params: EvaluateParams

    name: ClassVar[str] = "evaluate"
    version: ClassVar[str] = "4"
    output: ClassVar[type[Evaluation]] = Evaluation

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """The model to hold this one against, looked up once: what `sources` told is what is compared."""
        return find_baseline(self.params.baseline, self.pushed_to, model_digest(self.checkpoint))

    def sources(self) -> Mapping[str, str]:
        """The digest and name of the baseline, which the evaluation has both; nothing where there is no baseline yet.

        Its name says where it was found, such as in which version.
        """
        if self.checkpoint.path is None or self.baseline is None:
            return {}
        return {"baseline": self.baseline.identity, "baseline_name": self.baseline.told}

    def preflight(self) -> None:
        """Refuses a named baseline that isn't there."""
        if self.params.baseline != LAST_BLESSED:
            find_baseline(self.params.baseline, self.pushed_to, own_digest="")

    def run(self, out: Path) -> None:
        """Writes what `Evaluation` lists.

        Raises:
            DataError: If the test split has no blocks, nothing in them can be masked, or the slices' column is none.
            ModelError: If a model doesn't load, doesn't fit the tokenizer, or answers with NaN or infinity.
        """
        import numpy as np

        from components.evaluation import gate, outcome
        from components.evaluation.measuring import measure
        from components.evaluation.questions import questions_of_test_split
        from components.evaluation.slices import every_slice
        from components.evaluation.statistics import Resampled
        from components.evaluation.training_split import count_train_split

        params = self.params
        tokenizer = self.tokenizer.load()
        special_ids = sorted(set(tokenizer.all_special_ids))
        questions = questions_of_test_split(
            self.blocks, tokenizer, params.max_blocks, probability=params.eval_mlm_probability, seed=params.seed
        )
        labels = questions.masks.label
        by_column = list(self.column_slices(questions))  # a wrong column is told before the work
        answers, samples, metrics = self.ask_models(tokenizer, questions, special_ids)
        unigram, contaminated = count_train_split(
            self.blocks, questions, special_ids, len(tokenizer), params.contamination_ngram
        )
        always = np.broadcast_to(unigram.top(5), (len(labels), 5))
        answers["unigram"] = (unigram.log_probabilities[labels], always)
        for name, (log_probabilities, top_ids) in answers.items():
            metrics |= measure(log_probabilities, top_ids, labels, name)
        for count in (1, 5):  # the plain name is the trained model's
            metrics[f"top{count}_accuracy"] = metrics.pop(f"top{count}_accuracy_after")

        sums = {name: outcome.record_sums(questions, *answer) for name, answer in answers.items()}
        same_tokenizer = True
        if self.baseline is not None:
            theirs = self.ask_baseline(self.baseline, tokenizer, questions)
            same_tokenizer = theirs.same_tokenizer
            scores = theirs.scores
            sums["baseline"] = outcome.record_sums(theirs.questions, scores.log_probabilities, scores.top_ids)
            if same_tokenizer:
                answers["baseline"] = (scores.log_probabilities, scores.top_ids)
            else:
                outcome.save_baseline(out / "baseline.npz", theirs.questions, scores)

        slices = [*every_slice(questions, unigram.counts, contaminated, params.contamination_ngram), *by_column]
        resampled = Resampled(
            sums,
            outcome.length_of(questions),
            slices,
            {name: -log_probabilities.astype(np.float64) for name, (log_probabilities, _) in answers.items()},
            questions.record,
            confidence=params.confidence,
            resamples=params.bootstrap_resamples,
            seed=params.seed,
        )
        more, intervals = outcome.metrics_and_intervals(resampled, list(sums), same_tokenizer)
        metrics |= more | {
            "masked_tokens": len(labels),
            "blocks": len(questions.input_ids),
            "records": resampled.records,
            "contaminated_blocks": int(contaminated.sum()),
        }
        thresholds = gate.Thresholds(
            params.max_perplexity,
            params.min_improvement_over_start,
            params.min_improvement_over_unigram,
            params.min_improvement_over_baseline,
        )
        told = None if self.baseline is None else self.baseline.told
        checks = gate.check_all(resampled, thresholds, baseline=told, same_tokenizer=same_tokenizer)
        blessed = all(check.passed for check in checks)
        beside_counting = gate.beside_counting(resampled)

        outcome.save_scores(out / "scores.npz", questions, {name: answer[0] for name, answer in answers.items()})
        stored = dataclasses.replace(questions.masks, block=questions.indices[questions.masks.block].astype(np.int32))
        stored.save(out / "masks.npz")
        manifest.write_json(out / "samples.json", samples)
        manifest.write_json(
            out / "blessing.json",
            {
                "blessed": blessed,
                "sentence": gate.sentence_of(checks),
                "checks": gate.as_plain(checks),
                "beside_counting": beside_counting,
                "must_beat": None if params.min_improvement_over_baseline is None else params.baseline,
                "baseline": None
                if self.baseline is None
                else {
                    "told": told,
                    "identity": self.baseline.identity,
                    "compared_by": "perplexity" if same_tokenizer else "bits per character",
                },
            },
        )
        perplexities = ", ".join(f"{perplexity_text(metrics[f'perplexity_{moment}'])} {moment}" for moment in MOMENTS)
        manifest.write_json(
            out / "metrics.json",
            {
                "summary": f"perplexity {perplexities}; {beside_counting + '; ' if beside_counting else ''}"
                f"{'blessed' if blessed else 'not blessed'}",
                "metrics": metrics,
                "intervals": intervals,
                "slices": outcome.describe_slices(resampled, slices, list(answers)),
                "how": {
                    **dataclasses.asdict(params),
                    "split": "test",
                    "block_size": int(questions.input_ids.shape[1]),
                    "packing": self.blocks.packing,
                    "masks_digest": stored.digest,
                    "tokenizer_digest": self.tokenizer.digest,
                    "weighting": "every masked token the same",
                    "intervals": f"{params.confidence:.4g}, percentile bootstrap over records",
                    "unigram": "add-one smoothed counts of the train blocks over the vocabulary without special tokens",
                },
            },
        )

    def ask_models(
        self, tokenizer: "PreTrainedTokenizerFast", questions: "Questions", special_ids: Sequence[int]
    ) -> tuple[dict[str, tuple["np.ndarray", "np.ndarray"]], list[dict[str, Any]], dict[str, float]]:
        """Asks the model before and after training.

        Returns:
            By moment, the log-probabilities (masked tokens,) of the true tokens and the best tokens (masked tokens,
            5); the sample sentences with their answers; and what pseudo-log-likelihood was asked for.
        """
        from components.evaluation.measuring import measure_pseudo_log_likelihood
        from components.evaluation.samples import sample_predictions
        from components.modeling.checkpoint import load_masked_lm
        from components.modeling.scoring import score_masks

        params = self.params
        answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        metrics: dict[str, float] = {}
        samples: list[dict[str, Any]] = [{"text": text} for text in params.sample_texts]
        for moment, directory in (
            ("before", self.checkpoint.initial_directory),
            ("after", self.checkpoint.model_directory),
        ):
            model = load_masked_lm(directory)
            scores = score_masks(
                model,
                questions.input_ids,
                questions.attention_mask,
                questions.masks,
                batch_size=params.batch_size,
                k=5,
            )
            answers[moment] = (scores.log_probabilities, scores.top_ids)
            longest = self.blocks.block_size
            predicted = sample_predictions(model, tokenizer, params.sample_texts, k=5, longest=longest)
            for sample, answer in zip(samples, predicted, strict=True):
                sample[moment] = answer["answers"]
            if params.pseudo_log_likelihood_blocks:
                metrics |= measure_pseudo_log_likelihood(
                    model,
                    questions.input_ids,
                    questions.attention_mask,
                    params.pseudo_log_likelihood_blocks,
                    special_ids=special_ids,
                    mask_token_id=int(tokenizer.mask_token_id),
                    batch_size=params.batch_size,
                    moment=moment,
                )
            del model
            gc.collect()  # a Keras model is a cycle: without this, two of them stand in memory
        return answers, samples, metrics

    def ask_baseline(self, baseline: Baseline, tokenizer: "PreTrainedTokenizerFast", questions: "Questions") -> Any:
        """Asks the baseline; see `components.evaluation.baseline_answers`."""
        from components.evaluation.baseline_answers import ask_baseline

        return ask_baseline(
            baseline,
            questions,
            tokenizer,
            self.corpus,
            self.blocks,
            probability=self.params.eval_mlm_probability,
            seed=self.params.seed,
            max_blocks=self.params.max_blocks,
            batch_size=self.params.batch_size,
            k=5,
        )

    def column_slices(self, questions: "Questions") -> "Iterator[Slice]":
        """The slices by the column asked for."""
        from components.evaluation.slices import by_column

        if self.params.slice_column is not None:
            row = questions.records.row[questions.record]
            yield from by_column(self.corpus.split("test"), self.params.slice_column, row)
