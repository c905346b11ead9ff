"""Whether two answers to a text are the same: tokens, their order and texts exactly, scores within a tolerance."""

import dataclasses
import math
from collections.abc import Sequence

from serving.client.answers import Answer, Candidate

SMALLEST_SCORE = 1e-9
"""A smaller score is compared as if it were this: a softmax over a vocabulary leaves it too few exact digits."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The result of comparing two answers.

    Attributes:
        difference: The first difference that matters, in words; None where there is none.
        largest: The largest relative difference of two scores of the same rank.
    """

    difference: str | None
    largest: float


def by_mask(answer: Answer) -> list[list[Candidate]]:
    """The candidates of each mask, also where there is only one mask."""
    return [answer] if answer and isinstance(answer[0], dict) else answer  # type: ignore[list-item, return-value]


def compare(expected: Answer, received: Answer, tolerance: float) -> Comparison:
    """Compares an answer with the one that it should be.

    Candidates whose scores are within the tolerance of each other may stand in either order; so may, at the end of
    the list, one stand for another that was left out.

    Args:
        expected: What the fill-mask pipeline says.
        received: What the server says.
        tolerance: The largest relative difference of two scores that are the same.
    """
    masks, received_masks = by_mask(expected), by_mask(received)
    if len(masks) != len(received_masks):
        return Comparison(f"{len(received_masks)} masks instead of {len(masks)}", math.inf)
    largest = 0.0
    for number, (candidates, others) in enumerate(zip(masks, received_masks, strict=True), 1):
        if len(candidates) != len(others):
            return Comparison(f"mask {number} has {len(others)} candidates instead of {len(candidates)}", math.inf)
        for rank, (candidate, other) in enumerate(zip(candidates, others, strict=True), 1):
            distance = relative(candidate["score"], other["score"])
            # NaN would lose every comparison and so never be the largest.
            largest = max(largest, math.inf if math.isnan(distance) else distance)
            problem = difference_at(rank - 1, candidates, others, tolerance)
            if problem is not None:
                return Comparison(f"mask {number}, candidate {rank}: {problem}", largest)
    return Comparison(None, largest)


def difference_at(
    index: int, candidates: Sequence[Candidate], others: Sequence[Candidate], tolerance: float
) -> str | None:
    """What differs between the candidates of one rank; None for nothing that matters."""
    candidate, other = candidates[index], others[index]
    same_score = relative(candidate["score"], other["score"]) <= tolerance
    if other["token"] != candidate["token"]:
        known = next((one for one in candidates if one["token"] == other["token"]), None)
        tied = candidates[-1] if known is None else known
        repeated = any(one["token"] == other["token"] for one in others[:index])
        if repeated or not same_score or not relative(tied["score"], other["score"]) <= tolerance:
            return (
                f"{other['token_str']!r} with score {other['score']:.6g} "
                f"instead of {candidate['token_str']!r} with {candidate['score']:.6g}"
            )
        if known is None:
            return None
        candidate = known
    elif not same_score:
        return f"{other['token_str']!r} has score {other['score']:.8g} instead of {candidate['score']:.8g}"
    for key in ("token_str", "sequence"):
        if other[key] != candidate[key]:
            return f"{key} {other[key]!r} instead of {candidate[key]!r}"
    return None


def relative(expected: float, received: float) -> float:
    """The difference of two scores, relative to the first."""
    return abs(expected - received) / max(abs(expected), SMALLEST_SCORE)
