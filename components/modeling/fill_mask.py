"""Fills masks with a model in this process: what transformers' fill-mask pipeline answers, without PyTorch."""

import threading
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from components.modeling.architectures.records import architecture_of
from foundation.errors import ConfigError, DataError, ModelError
from foundation.tokenizer_length import stated_length
from serving.client.answers import Answer, Candidate, candidate, shorten
from serving.client.arguments import check_arguments
from serving.client.target_words import TargetWarning, other_forms, remark

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

TOP_K = 5
"""Candidates a mask, as in the pipeline."""
BATCH_SIZE = 32


class FillMask:
    """Says what stands where a text has its mask token.

    `transformers.pipeline("fill-mask", ...)` of transformers 4.57 ends in a NameError without PyTorch: it looks up
    its `dtype` there. This gives the same answers. Texts with equally many tokens go through the model together,
    without padding, so a text has the answer that it has alone. The head runs at the masks only. Several threads may
    use one instance.

    Args:
        model: One of transformers' TensorFlow masked language models.
        tokenizer: Its tokenizer.
        batch_size: The most texts that go through the model together.

    Raises:
        ConfigError: If the batch size is impossible.
        ModelError: If the tokenizer has no mask token.

    Example:
        fill_mask = FillMask(model, tokenizer)
        best, *others = fill_mask("The sky is <mask>.", top_k=3)
        print(best["token_str"], best["score"], best["sequence"])
        answers = fill_mask(["Blue is a <mask>.", "The <mask> is <mask>."], top_k=2)
    """

    def __init__(
        self, model: "TFPreTrainedModel", tokenizer: "PreTrainedTokenizerFast", *, batch_size: int = BATCH_SIZE
    ) -> None:
        from components.modeling.library.adapter import as_masked_lm

        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(
                "batch_size must be a whole number from 1", received=repr(batch_size), remedy=f"try {BATCH_SIZE}"
            )
        if tokenizer.mask_token_id is None:
            raise ModelError(
                "the tokenizer of a masked language model must have a mask token",
                received=f"{type(tokenizer).__name__} of {tokenizer.name_or_path or 'no folder'}, which has none",
                remedy="use the tokenizer that the model was trained with",
            )
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self._lock = threading.Lock()
        self._takes = as_masked_lm(model).takes
        limits = (
            architecture_of(model.config).longest_sequence(model.config),
            stated_length(tokenizer.model_max_length),
        )
        self.longest = min((limit for limit in limits if limit is not None), default=None)
        """The most tokens of a text, special ones included; None where nothing limits them."""

    def __call__(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: str | Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text.

        Args:
            texts: One text or several, each with the mask token in it, once or more.
            top_k: Candidates a mask; None for five. No more than there are words to choose from.
            targets: Words to choose from; None for the whole vocabulary. One that is no single token counts as its
                first token.

        Returns:
            What the pipeline returns: for a text with one mask a list of candidates, each with `score`, `token`,
            `token_str` and `sequence`; for one with several a list of such lists; for several texts a list of their
            answers; for a list of one text that text's answer.

        Warns:
            TargetWarning: For each target that is no single token.

        Raises:
            ConfigError: If an argument has an impossible type or value.
            DataError: If a text has no mask, or more tokens than the model takes.
        """
        top_k = TOP_K if top_k is None else top_k
        words = [targets] if isinstance(targets, str) else targets
        listed = check_arguments(texts, top_k, words)
        chosen = None if words is None else self._target_ids(list(words))
        encoded = [self._encode(text) for text in listed]
        of_length: dict[int, list[int]] = {}
        for index, inputs in enumerate(encoded):
            of_length.setdefault(len(inputs["input_ids"]), []).append(index)
        answers: list[Answer] = [[] for _ in listed]
        for indices in of_length.values():
            for start in range(0, len(indices), self.batch_size):
                part = indices[start : start + self.batch_size]
                batch = {name: np.stack([encoded[index][name] for index in part]) for name in encoded[part[0]]}
                for index, answer in zip(part, self._answer(batch, top_k, chosen), strict=True):
                    answers[index] = answer
        return answers[0] if len(answers) == 1 else answers

    def _encode(self, text: str) -> dict[str, np.ndarray]:
        """What the model is given for a text, each (tokens,) int32."""
        inputs = self.tokenizer(text, verbose=False)
        ids = inputs["input_ids"]
        mask = self.tokenizer.mask_token
        if self.tokenizer.mask_token_id not in ids:
            raise DataError(
                f"a text must have the model's mask token ({mask}) where a word is to be filled in",
                received=repr(shorten(text)),
                remedy=f"put {mask} into it",
            )
        if self.longest is not None and len(ids) > self.longest:
            raise DataError(
                f"a text must have at most {self.longest} tokens",
                received=f"{len(ids)} tokens in {shorten(text)!r}",
                remedy="shorten it, keeping what stands around the mask",
            )
        return {name: np.asarray(value, np.int32) for name, value in inputs.items() if name in self._takes}

    def _answer(self, inputs: dict[str, np.ndarray], top_k: int, chosen: np.ndarray | None) -> list[Answer]:
        """The answers of texts with equally many tokens.

        Args:
            inputs: `input_ids`, `attention_mask` and what else the tokenizer gives, each (texts, tokens) int32.
            top_k: Candidates a mask.
            chosen: (targets,) the ids to choose from; None for all.
        """
        import tensorflow as tf

        from components.modeling.library.adapter import as_masked_lm

        ids = inputs["input_ids"]
        masks = [np.flatnonzero(row == self.tokenizer.mask_token_id) for row in ids]
        # Every row has as many positions as the one with the most masks: its first is asked for again.
        positions = np.stack([np.resize(row, max(map(len, masks))) for row in masks]).astype(np.int32)
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        with self._lock:  # a model answers one call at a time
            logits = as_masked_lm(self.model).logits_at(tensors, tf.constant(positions))
        # (texts, positions, vocabulary)
        probabilities = tf.nn.softmax(logits, axis=-1)
        if chosen is not None:
            probabilities = tf.gather(probabilities, chosen, axis=-1)  # (texts, positions, targets)
        best = tf.math.top_k(probabilities, min(top_k, probabilities.shape[-1]))
        scores, tokens = best.values.numpy(), best.indices.numpy()  # (texts, positions, top_k)
        if chosen is not None:
            tokens = chosen[tokens]
        answers: list[Answer] = []
        for row, at, its_scores, its_tokens in zip(ids, masks, scores, tokens, strict=True):
            filled = [
                [self._candidate(row, at, mask, *one) for one in zip(its_scores[mask], its_tokens[mask], strict=True)]
                for mask in range(len(at))
            ]
            answers.append(filled[0] if len(filled) == 1 else filled)
        return answers

    def _candidate(self, ids: np.ndarray, masks: np.ndarray, mask: int, score: float, token: int) -> Candidate:
        """One way to fill a mask: other masks stay, padding (a candidate that is padding, too) goes."""
        filled = ids.copy()
        filled[masks[mask]] = token
        kept = filled[filled != self.tokenizer.pad_token_id] if self.tokenizer.pad_token_id is not None else filled
        sequence = self.tokenizer.decode(kept, skip_special_tokens=len(masks) == 1)
        return candidate(float(score), int(token), self.tokenizer.decode([int(token)]), sequence)

    def _target_ids(self, words: list[str]) -> np.ndarray:
        """The tokens that stand for words, (targets,) int32, each once."""
        vocabulary = self.tokenizer.get_vocab()
        ids: list[int] = []
        for word in dict.fromkeys(words):
            pieces = [vocabulary[word]] if word in vocabulary else self._tokens(word)
            stand_in = self.tokenizer.decode(pieces[:1]) if pieces else None
            meant = next((form for form in other_forms(word) if len(self._tokens(form)) == 1), None)
            if word not in vocabulary and (said := remark(word, stand_in, len(pieces), meant)):
                warnings.warn(said, TargetWarning, stacklevel=3)
            ids += pieces[:1]
        if not ids:
            raise ConfigError(
                "targets must have at least one word with a token in the model's vocabulary",
                received=shorten(repr(words)),
                remedy="give other words, or leave targets out",
            )
        return np.unique(np.asarray(ids, np.int32))

    def _tokens(self, word: str) -> list[int]:
        return list(self.tokenizer(word, add_special_tokens=False, verbose=False)["input_ids"])
