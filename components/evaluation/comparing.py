"""Whether a blessing still holds: what it was given against may not be the last blessed model any more."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.push_record import PushedTo, model_digest
from components.evaluation.baseline import LAST_BLESSED, Baseline, find_baseline
from components.hub.requests import retry
from foundation.errors import PipelineError

if TYPE_CHECKING:
    from components.evaluation.gate import Check


class Overtaken(PipelineError):
    """Another model was pushed, or the last one removed, since a verdict was given."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a model is blessed, beside the models that stand where it is pushed to.

    Attributes:
        blessed: Whether it is.
        sentence: Why, without its full stop.
        baseline: What it was held against; None for none.
        again: Whether that is another model than the evaluation held it against.
        binding: Whether the verdict holds only as long as the baseline is the last blessed model.
    """

    blessed: bool
    sentence: str
    baseline: Baseline | None = None
    again: bool = False
    binding: bool = False


@dataclasses.dataclass(frozen=True)
class Judge:
    """Gives a model's verdict, as often as other models are pushed meanwhile.

    Attributes:
        corpus: Whose test split a baseline with another tokenizer reads anew.
        blocks: Whose test split is masked.
        tokenizer: The model's.
        checkpoint: The model.
        evaluation: What it answered, and what it was held against.
        pushed_to: Where the last blessed model is looked for.
    """

    corpus: Corpus
    blocks: Blocks
    tokenizer: Tokenizer
    checkpoint: Checkpoint
    evaluation: Evaluation
    pushed_to: PushedTo

    def verdict(self, told: Callable[[str], None]) -> Verdict:
        """The evaluation's own verdict, or that of a comparison with the model that is the last blessed one now.

        Args:
            told: Called with a line about what takes time.

        Raises:
            ModelError: If the last blessed model doesn't load or can't answer.
            HubError: If the Hub stays out of reach.
        """
        evaluation = self.evaluation
        if not evaluation.blessed or evaluation.must_beat != LAST_BLESSED:
            return Verdict(evaluation.blessed, evaluation.verdict)
        baseline = retry(self._last_blessed, show=told)
        if _identity(baseline) == evaluation.compared_with:
            return Verdict(True, evaluation.verdict, baseline, binding=True)
        if baseline is None:
            gone = "what it was held against is gone, and no other blessed model is there"
            return Verdict(True, gone, None, again=True, binding=True)
        told(f"the last blessed model is another than at the evaluation: comparing again, with {baseline.told}")
        check = self._compare(baseline)
        return Verdict(check.passed, check.sentence, baseline, again=True, binding=True)

    def confirm(self, verdict: Verdict) -> None:
        """Looks once more, when nobody else can push any more.

        Raises:
            Overtaken: If the verdict doesn't hold any more.
        """
        if not verdict.binding:
            return
        baseline = self._last_blessed()
        if _identity(baseline) != _identity(verdict.baseline):
            raise Overtaken(
                "a model is pushed over no other than it was compared with",
                received="no blessed model any more" if baseline is None else f"{baseline.told}, pushed meanwhile",
                remedy="run the same command again, which compares with that",
            )

    def _last_blessed(self) -> Baseline | None:
        return find_baseline(LAST_BLESSED, self.pushed_to, model_digest(self.checkpoint))

    def _compare(self, baseline: Baseline) -> "Check":
        """Asks the baseline what the model was asked, and decides as the evaluation does."""
        import numpy as np

        from components.evaluation import gate, outcome
        from components.evaluation.baseline_answers import ask_baseline
        from components.evaluation.questions import questions_of_test_split
        from components.evaluation.statistics import Resampled

        how = self.evaluation.report.how
        tokenizer = self.tokenizer.load()
        questions = questions_of_test_split(
            self.blocks, tokenizer, how.max_blocks, probability=how.eval_mlm_probability, seed=how.seed
        )
        with np.load(self.evaluation.directory / "scores.npz", allow_pickle=False) as scores:
            own = scores["log_probability_after"]
        theirs = ask_baseline(
            baseline,
            questions,
            tokenizer,
            self.corpus,
            self.blocks,
            max_blocks=how.max_blocks,
            batch_size=how.batch_size,
            k=5,
            probability=how.eval_mlm_probability,
            seed=how.seed,
        )
        no_guesses = np.full((len(own), 5), -1)  # their accuracy decides nothing
        sums = {
            gate.AFTER: outcome.record_sums(questions, own, no_guesses),
            gate.BASELINE: outcome.record_sums(
                theirs.questions, theirs.scores.log_probabilities, theirs.scores.top_ids
            ),
        }
        resampled = Resampled(
            sums,
            outcome.length_of(questions),
            confidence=how.confidence,
            resamples=how.bootstrap_resamples,
            seed=how.seed,
        )
        limits = gate.Thresholds(None, None, None, self.evaluation.blessing.min_improvement_over_baseline)
        [check] = gate.check_all(resampled, limits, baseline=baseline.told, same_tokenizer=theirs.same_tokenizer)
        return check


def _identity(baseline: Baseline | None) -> str | None:
    return None if baseline is None else baseline.identity
