"""What is served: the reports of a ServingModel, of its validation and of its push."""

import dataclasses
import math
from collections.abc import Mapping

from foundation.perplexity import perplexity_text


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
        of_corpus: Whether it is a sentence of the corpus' test split, which not everyone may be meant to read.
    """

    text: str
    answer: tuple[Candidate, ...]
    of_corpus: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormAccuracy:
    """How an exported form of a model answers the first of the evaluation's frozen masks, beside its checkpoint.

    Attributes:
        form: What sort of form it is, such as bfloat16.
        masked_tokens: How many masked tokens both were asked.
        float32_loss: The checkpoint's mean cross-entropy in float32, nats a masked token.
        loss: The form's.
        same_first_answers: The part of the masked tokens for which both find the same token the most probable.
        largest_difference: The largest difference, of all masked tokens, of the natural logarithms of the probabilities
            that both give the true token.
    """

    form: str
    masked_tokens: int
    float32_loss: float
    loss: float
    same_first_answers: float
    largest_difference: float = 0.0

    @property
    def loss_increase(self) -> float:
        """By how much the form is worse, nats a masked token; negative where it is better."""
        return self.loss - self.float32_loss

    @property
    def float32_perplexity(self) -> float:
        """The checkpoint's perplexity in float32."""
        return _exp(self.float32_loss)

    @property
    def perplexity(self) -> float:
        """The form's."""
        return _exp(self.loss)

    @property
    def sentence(self) -> str:
        """What was found, for people; no full stop."""
        return (
            f"{self.form}: loss {self.loss:.4f} instead of {self.float32_loss:.4f} nats a token "
            f"({self.loss_increase:+.4f}), perplexity {perplexity_text(self.perplexity)} instead of "
            f"{perplexity_text(self.float32_perplexity)}, the same first answer for {self.same_first_answers:.1%} of "
            f"{self.masked_tokens:,} masked tokens"
        )


def _exp(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


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
        truncation: Whether longer texts are cut to `max_sequence_length` and answered.
        in_graph_batching: Whether the graph joins the requests of many clients, so that a server needn't.
        example: A text to try the model on.
        languages: Of which a request may choose one by its number, with `tokens_in_language`.
        quantize: `int8` where `model.tflite` lies beside the SavedModel, else `none`.
        accuracy: How the forms answer that don't compute in float32; none where there is no such form.
        precision: What the model computes in, float32 or bfloat16.
        why_precision: Why, where the export chose it; None where it was set.
    """

    summary: str
    signatures: Mapping[str, SignatureReport]
    max_sequence_length: int
    top_k: int
    max_top_k: int | None
    mask_token: str
    text_signatures: bool
    why_no_text_signatures: str | None
    truncation: bool
    in_graph_batching: bool
    example: Example
    languages: tuple[str, ...] = ()
    quantize: str = "none"
    accuracy: tuple[FormAccuracy, ...] = ()
    precision: str = "float32"
    why_precision: str | None = None


@dataclasses.dataclass(frozen=True)
class ValidatedText:
    """A text that the served model was asked.

    Attributes:
        text: The text.
        status: What the model says of it: see `foundation.text_answers`.
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
        tolerance: The largest that was allowed.
        own_tolerance: The largest relative difference that was allowed from the scores of the checkpoint in the
            precision of the export; None for one in float32.
        largest_own_difference: The largest such difference; None for an export in float32.
        texts: The texts one by one.
        asked: What was asked, in words.
    """

    summary: str
    model: str
    server: str
    start_seconds: float | None
    first_request_milliseconds: float
    median_request_milliseconds: float
    largest_score_difference: float
    texts: tuple[ValidatedText, ...]
    asked: tuple[str, ...] = ()
    tolerance: float | None = None
    own_tolerance: float | None = None
    largest_own_difference: float | None = None


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
