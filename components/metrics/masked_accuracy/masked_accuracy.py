"""Top-k accuracy of a masked language model at its masked positions, in the `evaluate` library's format.

It needs nothing from the project around it: `evaluate.load("/path/to/masked_accuracy")` loads it anywhere.
The library's loader reads the imports of this file line by line, so each line imports one module.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

_DESCRIPTION = """\
Masked accuracy at k is the share of masked positions whose true token is among the k tokens that the model finds
most probable there.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of lists of int, (tokens, n): the ids of the n most probable tokens at each masked position,
        the most probable first.
    references: list of int, (tokens,): the true token's id at each masked position.
    k: int or list of int, defaults to [1, 5]: how many of the first predictions count, each from 1 to n.

Returns:
    top<k>_accuracy: float from 0 to 1, one for every k asked (top1_accuracy, top5_accuracy).

Examples:

    >>> import evaluate
    >>> metric = evaluate.load("masked_accuracy")
    >>> results = metric.compute(predictions=[[7, 2, 9], [4, 3, 1]], references=[7, 1], k=[1, 2, 3])
    >>> print(results)
    {'top1_accuracy': 0.5, 'top2_accuracy': 0.5, 'top3_accuracy': 1.0}
"""

_CITATION = """\
@inproceedings{devlin2019bert,
    title = {{BERT}: Pre-training of Deep Bidirectional Transformers for Language Understanding},
    author = {Devlin, Jacob and Chang, Ming-Wei and Lee, Kenton and Toutanova, Kristina},
    booktitle = {Proceedings of NAACL-HLT},
    pages = {4171--4186},
    year = {2019},
    doi = {10.18653/v1/N19-1423}
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MaskedAccuracy(evaluate.Metric):
    """Masked accuracy at k from the ids of the most probable tokens."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Sequence(datasets.Value("int64")), "references": datasets.Value("int64")}
            ),
            reference_urls=["https://doi.org/10.18653/v1/N19-1423"],
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> Any:
        """See the module's own description below."""
        given = len(self) if predictions is None else len(predictions)
        if given == 0:
            raise ValueError(
                "masked accuracy is a share of masked positions, so it needs at least one. Received: no predictions."
            )
        return super().compute(predictions=predictions, references=references, **kwargs)

    def _compute(
        self, predictions: list[list[int]], references: list[int], k: int | Sequence[int] = (1, 5)
    ) -> dict[str, float]:
        try:
            ranked = np.asarray(predictions, dtype=np.int64)  # (tokens, n)
        except ValueError as error:
            lengths = sorted({len(row) for row in predictions})
            raise ValueError(
                f"masked accuracy takes the same number of predictions at every position. Received: rows of {lengths}."
            ) from error
        true = np.asarray(references, dtype=np.int64)  # (tokens,)
        hits = ranked == true[:, None]  # (tokens, n)
        results = {}
        for count in np.atleast_1d(k).tolist():
            if not 1 <= count <= ranked.shape[1]:
                raise ValueError(
                    "masked accuracy at k needs k from 1 to the number of predictions a position. "
                    f"Received: k={count} with {ranked.shape[1]} predictions a position."
                )
            results[f"top{count}_accuracy"] = float(hits[:, :count].any(axis=1).mean())
        return results
