"""Pseudo-log-likelihood of texts under a masked language model, in the `evaluate` library's format.

It needs nothing from the project around it: `evaluate.load("/path/to/pseudo_log_likelihood")` loads it anywhere.
The library's loader reads the imports of this file line by line, so each line imports one module.
"""

import math
from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
The pseudo-log-likelihood (PLL) of a text is the sum over its tokens of the natural logarithm of the probability that
a masked language model gives to the token when it alone is masked: PLL(W) = sum ln p(w_t | W without w_t). The
pseudo-perplexity of a corpus is exp(-(1/N) sum PLL(W)) over its N tokens. Two models can be compared by the
pseudo-perplexity when they share the vocabulary.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of float, a list a text: the natural logarithm of the probability given to each of the
        text's tokens when it alone is masked; at most 0. Special tokens are left out.

Returns:
    pseudo_log_likelihoods: list of float, one a text.
    pseudo_log_likelihood: float, their mean.
    pseudo_perplexity: float, exp of minus their sum over the number of tokens.
    tokens: int, the number of tokens of all texts.

Examples:

    >>> import evaluate
    >>> import math
    >>> metric = evaluate.load("pseudo_log_likelihood")
    >>> results = metric.compute(predictions=[[math.log(0.5), math.log(0.25)], [math.log(0.125)]])
    >>> print([round(value, 6) for value in results["pseudo_log_likelihoods"]])
    [-2.079442, -2.079442]
    >>> print(round(results["pseudo_perplexity"], 6), results["tokens"])
    4.0 3
"""

_CITATION = """\
@inproceedings{salazar2020masked,
    title = {Masked Language Model Scoring},
    author = {Salazar, Julian and Liang, Davis and Nguyen, Toan Q. and Kirchhoff, Katrin},
    booktitle = {Proceedings of ACL},
    pages = {2699--2712},
    year = {2020},
    doi = {10.18653/v1/2020.acl-main.240}
}
"""

# A float32 log-softmax can end a little above 0 where the probability is 1.
ROUNDING = 1e-4


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class PseudoLogLikelihood(evaluate.Metric):
    """Pseudo-log-likelihoods from the log-probabilities of tokens masked one at a time."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": datasets.Sequence(datasets.Value("float64"))}),
            reference_urls=["https://aclanthology.org/2020.acl-main.240"],
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> Any:
        """See the module's own description below."""
        given = len(self) if predictions is None else len(predictions)
        if given == 0:
            raise ValueError("pseudo-log-likelihood is a mean over texts, so it needs at least one. Received: no text.")
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(self, predictions: list[list[float]]) -> dict[str, Any]:
        sums = []
        tokens = 0
        for number, text in enumerate(predictions):
            log_probabilities = np.asarray(text, dtype=np.float64)  # (tokens of the text,)
            wrong = np.isnan(log_probabilities) | (log_probabilities > ROUNDING)
            if log_probabilities.size == 0 or wrong.any():
                found = "no token" if log_probabilities.size == 0 else log_probabilities[int(wrong.argmax())]
                raise ValueError(
                    "pseudo-log-likelihood takes natural-log probabilities, at least one a text, that are at most 0. "
                    f"Received: {found} in text {number}."
                )
            sums.append(math.fsum(log_probabilities))
            tokens += log_probabilities.size
        try:
            pseudo_perplexity = math.exp(-math.fsum(sums) / tokens)
        except OverflowError:  # beyond float64's largest number
            pseudo_perplexity = math.inf
        return {
            "pseudo_log_likelihoods": sums,
            "pseudo_log_likelihood": math.fsum(sums) / len(sums),
            "pseudo_perplexity": pseudo_perplexity,
            "tokens": tokens,
        }
