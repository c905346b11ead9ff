"""Perplexity of a masked language model at its masked positions, in the `evaluate` library's format.

It needs nothing from the project around it: `evaluate.load("/path/to/masked_perplexity")` loads it anywhere.
The library's loader reads the imports of this file line by line, so each line imports one module.
"""

import math
from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
Masked perplexity is the exponential of the mean cross-entropy, in nats, over the masked positions of a text:
exp(-(1/M) sum ln p(true token | the text as masked)), every masked token weighing the same. A model that gives
each of V tokens the same probability has perplexity V; a perfect one has 1. Two models can be compared by it
when they share the vocabulary and the masks.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of float, the natural logarithm of the probability that the model gives to the true token,
        one a masked position; at most 0.

Returns:
    cross_entropy: float, the mean negative log-probability in nats a token.
    perplexity: float, exp(cross_entropy).
    tokens: int, the number of masked positions.

Examples:

    >>> import evaluate
    >>> import math
    >>> metric = evaluate.load("masked_perplexity")
    >>> results = metric.compute(predictions=[math.log(0.5), math.log(0.25), math.log(0.125)])
    >>> print({name: round(value, 6) for name, value in results.items()})
    {'cross_entropy': 1.386294, 'perplexity': 4.0, 'tokens': 3}
"""

_CITATION = """\
@article{jelinek1977perplexity,
    title = {Perplexity -- a measure of the difficulty of speech recognition tasks},
    author = {Jelinek, Fred and Mercer, Robert L. and Bahl, Lalit R. and Baker, James K.},
    journal = {The Journal of the Acoustical Society of America},
    volume = {62},
    number = {S1},
    pages = {S63},
    year = {1977},
    doi = {10.1121/1.2016299}
}
@inproceedings{devlin2019bert,
    title = {{BERT}: Pre-training of Deep Bidirectional Transformers for Language Understanding},
    author = {Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
    booktitle = {Proceedings of NAACL-HLT},
    pages = {4171--4186},
    year = {2019},
    doi = {10.18653/v1/N19-1423}
}
"""

# A float32 log-softmax can end a little above 0 where the probability is 1.
ROUNDING = 1e-4


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MaskedPerplexity(evaluate.Metric):
    """Masked perplexity from the log-probabilities of the true tokens."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": datasets.Value("float64")}),
            reference_urls=["https://doi.org/10.18653/v1/N19-1423"],
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> Any:
        """See the module's own description below."""
        given = len(self) if predictions is None else len(predictions)
        if given == 0:
            raise ValueError(
                "masked perplexity is a mean over masked positions, so it needs at least one. Received: no predictions."
            )
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(self, predictions: list[float]) -> dict[str, float]:
        # (tokens,); as lists, since the numpy format of `datasets` hands out float64 columns as float32
        log_probabilities = np.asarray(predictions, dtype=np.float64)
        wrong = np.isnan(log_probabilities) | (log_probabilities > ROUNDING)
        if wrong.any():
            position = int(wrong.argmax())
            raise ValueError(
                "masked perplexity takes natural-log probabilities, numbers that are at most 0. "
                f"Received: {log_probabilities[position]} as prediction {position}, and {int(wrong.sum())} such in all."
            )
        cross_entropy = -float(log_probabilities.mean())
        try:
            perplexity = math.exp(cross_entropy)
        except OverflowError:  # beyond float64's largest number
            perplexity = math.inf
        return {"cross_entropy": cross_entropy, "perplexity": perplexity, "tokens": int(log_probabilities.size)}
