"""What an Evaluation shows of a model beyond its metrics: whether its probabilities are honest, and where it fails."""

import dataclasses

from components.contract.reports.answers import Answer


@dataclasses.dataclass(frozen=True)
class CalibrationBin:
    """The masked tokens at which a model's first guess has about the same probability.

    Attributes:
        low: The probability that the bin begins above.
        high: The highest probability in it.
        masked_tokens: How many they are.
        confidence: The mean probability of the first guesses; None for no tokens.
        accuracy: The share of the first guesses that are right; None for no tokens.
    """

    low: float
    high: float
    masked_tokens: int
    confidence: float | None
    accuracy: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether the probabilities of a model's first guesses are as often right as they say.

    Attributes:
        model: Which model: `before`, `after` or `baseline`.
        expected_calibration_error: The mean distance between confidence and accuracy over the bins, each weighted by
            its tokens, from 0 to 1.
        error_by_chance: What a model with perfectly honest probabilities would show on as many tokens on average, by
            chance alone.
        confidence: The mean probability of the first guesses.
        accuracy: The share of them that are right.
        bins: Of equal width, from 0 to 1.
    """

    model: str
    expected_calibration_error: float
    error_by_chance: float
    confidence: float
    accuracy: float
    bins: tuple[CalibrationBin, ...]


@dataclasses.dataclass(frozen=True)
class TokenExample:
    """One place where a token was masked.

    Attributes:
        before: The text before it.
        after: The text after it.
        guess: What the model offered first.
        probability: What the model gave the true token.
    """

    before: str
    after: str
    guess: Answer
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenLoss:
    """How badly a model fills in one token of the vocabulary.

    Attributes:
        token_str: Its text.
        masked_tokens: How often it was masked.
        mean_loss: The model's mean loss there, in nats.
        mean_loss_unigram: That of guessing by word frequency.
        excess_loss: The summed difference of the two in nats: above 0 where the model is worse than the frequencies.
        example: The place whose loss is nearest to the mean.
        continues_word: Whether it is a piece of a word that doesn't begin one.
    """

    token_str: str
    masked_tokens: int
    mean_loss: float
    mean_loss_unigram: float
    excess_loss: float
    example: TokenExample
    continues_word: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorstTokens:
    """`worst_tokens.json` of an Evaluation: the tokens that the trained model is worst at.

    Attributes:
        fewest_masked: How often a token must have been masked to be listed by its mean loss.
        by_excess_loss: Those with the largest loss in all beyond that of guessing by word frequency, the worst first;
            none at which the model is the better one.
        by_mean_loss: Those with the largest mean loss, the worst first.
    """

    fewest_masked: int
    by_excess_loss: tuple[TokenLoss, ...]
    by_mean_loss: tuple[TokenLoss, ...]
