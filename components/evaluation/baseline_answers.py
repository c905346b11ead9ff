"""Asking the baseline: on the same questions where its tokenizer is the same, else on the same records."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components.blocks.encoding import CHARACTERS_A_BATCH, encode, untruncated
from components.contract.artifacts import Blocks, Corpus
from components.contract.push_record import damage_of, read_record
from components.evaluation.baseline import Baseline
from components.evaluation.params import TOP_K, QuestionSettings
from components.evaluation.questions import Questions, Records, spread
from components.modeling.scoring import Scores, score_masks, score_with
from foundation.errors import ModelError
from foundation.tokenizer_length import stated_length
from foundation.versions import TOKENIZER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclasses.dataclass(frozen=True)
class BaselineAnswers:
    """What the baseline answered.

    Attributes:
        baseline: Which model it is.
        questions: What it was asked.
        scores: Its answers, in the order of the questions' masks.
        same_tokenizer: Whether these are the questions that the new model was asked.
    """

    baseline: Baseline
    questions: Questions
    scores: Scores
    same_tokenizer: bool


def ask_baseline(
    baseline: Baseline,
    questions: Questions,
    settings: QuestionSettings,
    tokenizer: "PreTrainedTokenizerFast",
    corpus: Corpus,
    blocks: Blocks,
    *,
    batch_size: int,
) -> BaselineAnswers:
    """Asks the baseline.

    Args:
        baseline: Which model.
        questions: What the new model was asked.
        settings: Which questions a baseline with another tokenizer is asked.
        tokenizer: The new model's.
        corpus: Whose test split another tokenizer reads anew.
        blocks: Their report has the text column and the block size.
        batch_size: Blocks scored at once.

    Raises:
        ModelError: If it doesn't load or can't answer.
    """
    try:
        its_tokenizer, score = load_baseline(baseline)
        same = is_same_tokenizer(tokenizer, its_tokenizer)
        block_size = min(blocks.block_size, stated_length(its_tokenizer.model_max_length) or blocks.block_size)
        same = same and block_size == blocks.block_size
        if not same:
            questions = own_questions(its_tokenizer, corpus, blocks, block_size, settings)
        scores = score(questions.input_ids, questions.attention_mask, questions.masks, batch_size=batch_size, k=TOP_K)
    except (tf.errors.OpError, OSError, ValueError, KeyError) as error:
        raise _unusable(baseline, " ".join(str(error).split())[:500]) from error
    if not np.isfinite(scores.log_probabilities).all():
        raise _unusable(baseline, "no finite probability at some masked tokens")
    return BaselineAnswers(baseline, questions, scores, same)


def load_baseline(baseline: Baseline) -> tuple["PreTrainedTokenizerFast", Callable[..., Scores]]:
    """A baseline's tokenizer, and what scores masks with it: called as `score_masks` is, without the model."""
    from transformers import AutoTokenizer

    from components.hub.checkpoints import checkpoint_directory, tokenizer_directory
    from components.modeling.checkpoint import load_masked_lm
    from components.tokenizers.loading import load_local

    if baseline.saved_model is None:
        name = str(baseline.checkpoint)
        try:
            tokenizer, _ = load_local(tokenizer_directory(name, baseline.revision))
        except ModelError as error:  # whose way out is that of another setting
            raise _unusable(baseline, error.received) from error
        directory = checkpoint_directory(name, baseline.revision)
        model = load_masked_lm(directory, name, chosen_language(baseline, directory))
        return tokenizer, lambda *arguments, **options: score_masks(model, *arguments, **options)

    import tensorflow_text  # noqa: F401  (registers the operations of a tokenizer in the graph)

    if (damage := damage_of(baseline.saved_model, read_record(baseline.saved_model) or {})) is not None:
        raise _unusable(baseline, damage)
    tokenizer = AutoTokenizer.from_pretrained(baseline.saved_model / TOKENIZER, use_fast=True)
    served = tf.saved_model.load(str(baseline.saved_model))

    def logits_at(inputs: Mapping[str, tf.Tensor], positions: tf.Tensor) -> tf.Tensor:
        dense = served.signatures["logits"](**inputs)["logits"]  # (batch, sequence, vocabulary)
        return tf.gather(dense, positions, batch_dims=1)  # (batch, predictions, vocabulary)

    return tokenizer, lambda *arguments, **options: score_with(logits_at, len(tokenizer), *arguments, **options)


def chosen_language(baseline: Baseline, directory: Path) -> str | None:
    """The language that a checkpoint is asked in, where it has parts for each and names none; else None.

    Raises:
        ModelError: If it has no parts for the language that it would be asked in.
    """
    from components.modeling.architectures.records import architecture_of
    from components.modeling.configuration import language_of, load_config, require_model_type

    config = load_config(directory)
    require_model_type(config.model_type)
    if not architecture_of(config).language_option or language_of(config) is not None:
        return None
    if baseline.language not in config.languages:
        evaluated = "names none, either" if baseline.language is None else f"is of {baseline.language}"
        raise _unusable(
            baseline,
            f"a {config.model_type} of {', '.join(config.languages)} whose config.json names no default_language, and "
            f"the model that is evaluated {evaluated}",
        )
    return baseline.language


def own_questions(
    tokenizer: "PreTrainedTokenizerFast",
    corpus: Corpus,
    blocks: Blocks,
    block_size: int,
    settings: QuestionSettings,
) -> Questions:
    """The test split as another tokenizer cuts it, masked at the same rate.

    Raises:
        ModelError: If it fills no block.
    """
    from components.blocks.packing import layout_of
    from components.blocks.text_column import TextReader

    reader = TextReader(corpus, "test", blocks.report.text_column)
    concatenated = blocks.packing == "concatenate"
    # Without a padding token another that is never masked does: nothing attends to it.
    pad_token_id = tokenizer.mask_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    layout = layout_of("concatenate" if concatenated else "documents", block_size, pad_token_id)
    filled, columns = [], []
    for encoded in encode(untruncated(tokenizer), reader.batches(CHARACTERS_A_BATCH)):
        filled.append(layout.add(encoded.token_ids, encoded.tokens))
        columns.append((encoded.tokens, encoded.characters, encoded.bytes))
    input_ids = np.concatenate([each.input_ids for each in filled])
    attention_mask = np.concatenate([each.attention_mask for each in filled])
    if len(input_ids) == 0:
        raise ModelError(
            "the test split must fill at least one block of the baseline's tokenizer",
            received=f"none of {block_size} tokens",
            remedy="ingest more text, or set --evaluate.baseline null to compare with none",
        )
    tokens, characters, size = (np.concatenate(column) for column in zip(*columns, strict=True))
    rows = reader.rows_with_text()
    row = np.fromiter((next(rows) for _ in tokens), np.int64, len(tokens))
    lengths = {"row": row, "tokens": tokens, "characters": characters, "bytes": size}
    indices = spread(len(input_ids), settings.max_blocks)
    return Questions.ask(
        indices,
        input_ids[indices],
        attention_mask[indices],
        Records.of(lengths, tokenizer.num_special_tokens_to_add()),
        concatenated=concatenated,
        tokenizer=tokenizer,
        settings=settings,
    )


def is_same_tokenizer(one: "PreTrainedTokenizerFast", other: "PreTrainedTokenizerFast") -> bool:
    """Whether two tokenizers give the same tokens: everything in them but truncation and padding is equal."""
    return (
        untruncated(one).to_str() == untruncated(other).to_str()
        and one.mask_token_id == other.mask_token_id
        and set(one.all_special_ids) == set(other.all_special_ids)
    )


def _unusable(baseline: Baseline, received: str) -> ModelError:
    rule = f"the model to compare with must answer: {baseline.name}"
    if not baseline.is_there:
        return ModelError(
            rule,
            received=f"{baseline.saved_model}, which was removed meanwhile",
            remedy="run the same command again, which compares with the last one that is there",
        )
    return ModelError(
        rule,
        received=received,
        remedy="remove that version if it is damaged, name another with --evaluate.baseline, or set it to null to "
        "compare with none",
    )
