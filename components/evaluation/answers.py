"""What one model is asked: the true tokens at the masks, sample sentences, and every token of some blocks by itself."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from components.contract.mask_placeholder import MASK
from components.contract.reports import Answer
from components.evaluation.measuring import measure_pseudo_log_likelihood
from components.evaluation.params import TOP_K, UNIGRAM, EvaluateParams
from components.evaluation.questions import Questions, special_ids_of, spread
from components.evaluation.token_texts import TokenTexts
from components.masking.frozen_masks import FrozenMasks
from components.modeling.library.adapter import as_masked_lm
from components.modeling.scoring import Scores, score_masks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, TFPreTrainedModel

    from components.evaluation.baseline_answers import BaselineAnswers


@dataclasses.dataclass(frozen=True)
class ModelAnswers:
    """What a model answered.

    Attributes:
        scores: At every masked token.
        samples: To each sample sentence, the answers for its first mask, best first.
        pseudo: `pseudo_log_likelihood` and `pseudo_perplexity`; empty where no block is scored token by token.
    """

    scores: Scores
    samples: tuple[tuple[Answer, ...], ...]
    pseudo: Mapping[str, float]


def ask_model(
    model: "TFPreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    questions: Questions,
    params: EvaluateParams,
    scores: Scores | None = None,
) -> ModelAnswers:
    """Asks a model everything.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        tokenizer: Its tokenizer.
        questions: The masked tokens.
        params: The sample sentences, and how many blocks are scored token by token.
        scores: Its answers at the masked tokens, where other processes gave them.

    Raises:
        ModelError: If the blocks hold ids beyond the model's vocabulary.
    """
    input_ids, attention_mask = questions.input_ids, questions.attention_mask
    if scores is None:
        scores = score_masks(model, input_ids, attention_mask, questions.masks, batch_size=params.batch_size, k=TOP_K)
    samples = sample_answers(model, tokenizer, params.sample_texts or (), k=TOP_K, longest=input_ids.shape[1])
    pseudo: Mapping[str, float] = {}
    if params.pseudo_log_likelihood_blocks:
        texts = score_one_at_a_time(
            model,
            input_ids,
            attention_mask,
            params.pseudo_log_likelihood_blocks,
            special_ids=special_ids_of(tokenizer),
            mask_token_id=int(tokenizer.mask_token_id),
            batch_size=params.batch_size,
        )
        pseudo = measure_pseudo_log_likelihood(texts)
    return ModelAnswers(scores, samples, pseudo)


def sample_answers(
    model: "TFPreTrainedModel", tokenizer: "PreTrainedTokenizerFast", texts: Sequence[str], *, k: int, longest: int
) -> tuple[tuple[Answer, ...], ...]:
    """The most probable tokens at the first mask of each text.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        tokenizer: Its tokenizer.
        texts: Each with the configuration's placeholder for a mask, whatever the tokenizer's own mask token is.
        k: How many answers.
        longest: Tokens after which a text is cut.

    Returns:
        By text, the answers, best first; none where the mask was cut off.
    """
    answers = []
    tokens = TokenTexts(tokenizer)
    for text in texts:
        own = text.replace(MASK, tokenizer.mask_token)
        ids = tokenizer(own, truncation=True, max_length=longest)["input_ids"]
        best: list[int] = []
        if tokenizer.mask_token_id in ids:
            inputs = {"input_ids": tf.constant([ids]), "attention_mask": tf.ones([1, len(ids)], tf.int32)}
            position = tf.constant([[ids.index(tokenizer.mask_token_id)]])
            scores = tf.nn.softmax(as_masked_lm(model).logits_at(inputs, position))[0, 0].numpy()  # (vocabulary,)
            best = np.argsort(-scores, kind="stable")[:k].tolist()
        answers.append(
            tuple(Answer(tokens.text(token), float(scores[token]), tokens.continues_word(token)) for token in best)
        )
    return tuple(answers)


def score_one_at_a_time(
    model: "TFPreTrainedModel",
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    blocks: int,
    *,
    special_ids: Collection[int],
    mask_token_id: int,
    batch_size: int,
) -> list[np.ndarray]:
    """The natural logarithms of the probabilities given to each token of some blocks where it alone is masked.

    Args:
        model: Any of transformers' TensorFlow masked language models.
        input_ids: (blocks, block_size) int32, the test blocks.
        attention_mask: (blocks, block_size), 1 for tokens and 0 for padding.
        blocks: How many of them, evenly spaced.
        special_ids: Never masked.
        mask_token_id: The mask token.
        batch_size: Copies of a block scored at once.

    Returns:
        By block, (its tokens,) float32; none for a block of special tokens alone.
    """
    indices = spread(len(input_ids), blocks)
    chosen = input_ids[indices]
    copies, masks, block = one_at_a_time(chosen, special_ids=special_ids, mask_token_id=mask_token_id)
    scores = score_masks(model, copies, attention_mask[indices][block], masks, batch_size=batch_size, k=1)
    starts = np.searchsorted(block, range(1, len(chosen)))
    return [text for text in np.split(scores.log_probabilities, starts) if len(text)]


def one_at_a_time(
    input_ids: np.ndarray, *, special_ids: Collection[int], mask_token_id: int
) -> tuple[np.ndarray, FrozenMasks, np.ndarray]:
    """A copy of the block for each of its tokens, with that one masked.

    Salazar et al. 2020, "Masked Language Model Scoring" (https://aclanthology.org/2020.acl-main.240).

    Args:
        input_ids: (blocks, block_size) int32, the true tokens.
        special_ids: Never masked.
        mask_token_id: The mask token.

    Returns:
        The copies (tokens, block_size) int32, their masks, one a copy, and the block of each copy (tokens,).
    """
    blocks, positions = np.nonzero(~np.isin(input_ids, list(special_ids)))  # (tokens,) each
    copies = np.arange(len(blocks))
    fields = (copies, positions, np.full(len(blocks), mask_token_id), input_ids[blocks, positions])
    return input_ids[blocks], FrozenMasks(*(field.astype(np.int32) for field in fields)), blocks


def save_answers(
    out: Path, questions: Questions, answers: Mapping[str, Scores], baseline: "BaselineAnswers | None"
) -> None:
    """Writes `masks.npz` and `scores.npz`, and for a baseline with another tokenizer `baseline.npz`.

    Args:
        out: The directory.
        questions: What was asked.
        answers: To these questions, by model.
        baseline: The baseline's answers, if any.
    """
    questions.masks_in_split.save(out / "masks.npz")
    arrays: dict[str, Any] = {f"log_probability_{name}": scores.log_probabilities for name, scores in answers.items()}
    for name in answers:
        if name == UNIGRAM:  # whose first guess is the same everywhere
            continue
        arrays[f"top_id_{name}"] = answers[name].top_ids[:, 0]
        arrays[f"top_log_probability_{name}"] = answers[name].top_log_probabilities
    np.savez_compressed(out / "scores.npz", record=questions.records.row[questions.record], **arrays)
    if baseline is not None and not baseline.same_tokenizer:
        own = baseline.questions
        masks: dict[str, Any] = vars(own.masks_in_split)
        np.savez_compressed(
            out / "baseline.npz",
            record=own.records.row[own.record],
            text_tokens=own.records.text_tokens,
            log_probability_baseline=baseline.scores.log_probabilities,
            **masks,
        )
