"""Whether a model's probabilities are honest: of the first guesses given 80%, are about 80% right?

The expected calibration error is that of Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities
Using Bayesian Binning" (https://ojs.aaai.org/index.php/AAAI/article/view/9602), with the bins of Guo et al. 2017, "On
Calibration of Modern Neural Networks" (https://arxiv.org/abs/1706.04599): 15 of equal width, each closed on the right.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from components.contract.reports import Calibration, CalibrationBin

if TYPE_CHECKING:
    from components.modeling.scoring import Scores

BINS = 15


def calibration(model: str, scores: "Scores", labels: np.ndarray) -> Calibration:
    """How far a model's confidence in its first guesses is from their accuracy.

    Args:
        model: What the model is called.
        scores: Its answers at the masked tokens.
        labels: (masked tokens,) the true tokens; at least one.
    """
    confidence = np.minimum(np.exp(scores.top_log_probabilities.astype(np.float64)), 1.0)  # (masked tokens,)
    right = scores.top_ids[:, 0] == labels  # (masked tokens,)
    place = np.maximum(np.ceil(confidence * BINS).astype(np.int64) - 1, 0)  # bin m is ((m - 1) / BINS, m / BINS]
    count = np.bincount(place, minlength=BINS)  # (bins,), as all below
    confidences = np.bincount(place, confidence, minlength=BINS)
    hits = np.bincount(place, right, minlength=BINS)
    # Were each guess right with its own probability, a bin's hits would vary this much, about as a normal variable
    # does, whose mean distance from its mean is sqrt(2 / pi) standard deviations.
    deviation = np.sqrt(np.bincount(place, confidence * (1 - confidence), minlength=BINS))
    bins = tuple(
        CalibrationBin(
            low=number / BINS,
            high=(number + 1) / BINS,
            masked_tokens=int(tokens),
            confidence=float(confidences[number] / tokens) if tokens else None,
            accuracy=float(hits[number] / tokens) if tokens else None,
        )
        for number, tokens in enumerate(count)
    )
    return Calibration(
        model=model,
        # Each bin's tokens cancel out: their share, times the distance between two sums over them.
        expected_calibration_error=float(np.abs(confidences - hits).sum() / len(labels)),
        error_by_chance=float(math.sqrt(2 / math.pi) * deviation.sum() / len(labels)),
        confidence=float(confidence.mean()),
        accuracy=float(right.mean()),
        bins=bins,
    )
