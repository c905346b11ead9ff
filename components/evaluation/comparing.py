"""Whether a blessing still holds when the model is pushed: the last blessed model may be another one by then."""

import dataclasses
from collections.abc import Callable

from components.contract.artifacts import Blocks, Checkpoint, Corpus, Evaluation, Tokenizer
from components.contract.push_record import PushedTo, model_digest
from components.contract.reports import Check
from components.evaluation.baseline import LAST_BLESSED, Baseline, find_baseline
from components.evaluation.params import AFTER, BASELINE, TOP_K, QuestionSettings
from components.hub.requests import retry
from foundation.errors import PipelineError


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

    def verdict(self, show: Callable[[str], None]) -> Verdict:
        """The evaluation's own verdict, or that of a comparison with the model that is the last blessed one now.

        Args:
            show: Called with a line about what takes time.

        Raises:
            ModelError: If the last blessed model doesn't load or can't answer.
            HubError: If the Hub stays out of reach.
            Overtaken: If the last blessed model is removed while it is asked.
        """
        evaluation = self.evaluation
        if not evaluation.blessed or evaluation.must_beat != LAST_BLESSED:
            return Verdict(evaluation.blessed, evaluation.verdict)
        baseline = retry(self._last_blessed, show=show)
        if _identity(baseline) == evaluation.compared_with:
            return Verdict(True, evaluation.verdict, baseline, binding=True)
        if baseline is None:
            gone = "what it was held against is gone, and no other blessed model is there"
            return Verdict(True, gone, None, again=True, binding=True)
        show(f"the last blessed model is another than at the evaluation: comparing again, with {baseline.name}")
        try:
            check = self._compare(baseline)
        except PipelineError as error:
            if baseline.is_there:
                raise
            raise Overtaken(
                "the model to compare with must stay until it has answered",
                received=f"{baseline.name}, which was removed meanwhile",
                remedy="run the same command again, which compares with the last one that is there",
            ) from error
        return Verdict(check.passed, check.sentence, baseline, again=True, binding=True)

    def confirm(self, verdict: Verdict) -> None:
        """Looks once more whether a verdict holds, at the moment when no other process can push.

        Raises:
            Overtaken: If the verdict doesn't hold any more.
        """
        if not verdict.binding:
            return
        baseline = self._last_blessed()
        if _identity(baseline) != _identity(verdict.baseline):
            raise Overtaken(
                "a model must be pushed over no other than the one that it was compared with",
                received="no blessed model any more" if baseline is None else f"{baseline.name}, pushed meanwhile",
                remedy="run the same command again, which compares with that",
            )

    def _last_blessed(self) -> Baseline | None:
        return find_baseline(LAST_BLESSED, self.pushed_to, model_digest(self.checkpoint))

    def _compare(self, baseline: Baseline) -> Check:
        """Asks the baseline what the model was asked, and decides as the evaluation does."""
        import numpy as np

        from components.evaluation import gate
        from components.evaluation.baseline_answers import ask_baseline
        from components.evaluation.measuring import length_of, record_sums
        from components.evaluation.questions import questions_of_test_split
        from components.evaluation.statistics import Resampled
        from components.modeling.scoring import Scores

        how = self.evaluation.report.how
        tokenizer = self.tokenizer.load()
        settings = QuestionSettings(how.eval_mlm_probability, how.seed, how.max_blocks)
        questions = questions_of_test_split(self.blocks, tokenizer, settings)
        with np.load(self.evaluation.directory / "scores.npz", allow_pickle=False) as scores:
            log_probabilities = scores["log_probability_after"]
        # Its guesses decide nothing here.
        asked = len(log_probabilities)
        own = Scores(log_probabilities, np.full((asked, TOP_K), -1), np.full(asked, -np.inf))
        theirs = ask_baseline(
            baseline, questions, settings, tokenizer, self.corpus, self.blocks, batch_size=how.batch_size
        )
        resampled = Resampled(
            {
                AFTER: record_sums(questions, own),
                BASELINE: record_sums(theirs.questions, theirs.scores),
            },
            length_of(questions),
            confidence=how.confidence,
            resamples=how.bootstrap_resamples,
            seed=how.seed,
        )
        limits = gate.Thresholds(None, None, None, self.evaluation.blessing.min_improvement_over_baseline)
        [check] = gate.check_all(resampled, limits, baseline=baseline.name, same_tokenizer=theirs.same_tokenizer)
        return check


def _identity(baseline: Baseline | None) -> str | None:
    return None if baseline is None else baseline.identity
