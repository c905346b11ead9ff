"""A model's metrics by the metric modules."""

import math
import tempfile
import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import TFPreTrainedModel

TOP_K = (1, 5)


def measure(log_probabilities: np.ndarray, top_ids: np.ndarray, labels: np.ndarray, moment: str) -> dict[str, float]:
    """Cross-entropy, perplexity and accuracy of some answers, by the metric modules.

    Args:
        log_probabilities: (tokens,) natural logarithm of the probability given to each true token.
        top_ids: (tokens, k) the most probable tokens.
        labels: (tokens,) the true tokens.
        moment: What the metrics' names end in.

    Raises:
        ModelError: If a metric isn't a finite number.
    """
    # The modules' classes rather than `evaluate.load`, which copies the script to a cache in the home directory.
    from components.metrics.masked_accuracy.masked_accuracy import MaskedAccuracy
    from components.metrics.masked_perplexity.masked_perplexity import MaskedPerplexity

    def finite(value: float, received: str) -> float:
        if math.isfinite(value):
            return value
        raise ModelError(
            "a metric is a finite number",
            received=received,
            remedy="look at the loss in the checkpoint's history.json; where it diverged, train again with a smaller "
            "--train.learning_rate",
        )

    wrong = int(len(labels) - np.isfinite(log_probabilities).sum())
    finite(-math.inf if wrong else 0, f"no finite probability at {wrong} of {len(labels)} masked tokens, {moment}")
    with tempfile.TemporaryDirectory() as cache:
        place: dict[str, Any] = {"cache_dir": cache, "experiment_id": uuid.uuid4().hex, "keep_in_memory": True}
        perplexity = MaskedPerplexity(**place).compute(predictions=log_probabilities)
        accuracy = MaskedAccuracy(**place).compute(predictions=top_ids, references=labels, k=TOP_K)
    values = {name: perplexity[name] for name in ("cross_entropy", "perplexity")} | accuracy
    return {f"{name}_{moment}": finite(float(value), f"{name} {value}, {moment}") for name, value in values.items()}


def measure_pseudo_log_likelihood(
    model: "TFPreTrainedModel",
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    blocks: int,
    *,
    special_ids: Collection[int],
    mask_token_id: int,
    batch_size: int,
    moment: str,
) -> dict[str, float]:
    """Pseudo-log-likelihood (the mean of the blocks) and pseudo-perplexity of a model on some blocks.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        input_ids: (blocks, block_size) int32, the test blocks.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        blocks: How many of them, evenly spaced.
        special_ids: Never masked.
        mask_token_id: The mask token.
        batch_size: Copies of a block scored at once.
        moment: What the metrics' names end in.
    """
    from components.evaluation.pseudo import one_at_a_time
    from components.evaluation.questions import spread
    from components.metrics.pseudo_log_likelihood.pseudo_log_likelihood import PseudoLogLikelihood
    from components.modeling.scoring import score_masks

    indices = spread(len(input_ids), blocks)
    chosen = input_ids[indices]
    copies, masks, block = one_at_a_time(chosen, special_ids=special_ids, mask_token_id=mask_token_id)
    scores = score_masks(model, copies, attention_mask[indices][block], masks, batch_size=batch_size, k=1)
    starts = np.searchsorted(block, range(1, len(chosen)))
    texts = np.split(scores.log_probabilities, starts)
    with tempfile.TemporaryDirectory() as cache:
        metric = PseudoLogLikelihood(cache_dir=cache, experiment_id=uuid.uuid4().hex, keep_in_memory=True)
        results = metric.compute(predictions=[text for text in texts if len(text)])
    names = ("pseudo_log_likelihood", "pseudo_perplexity")
    return {f"{name}_{moment}": float(results[name]) for name in names}
