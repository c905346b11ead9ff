"""Evaluating a model beside a plain forward pass over the same blocks, and the bootstrap on its own.

    python benchmarks/evaluation.py [--blocks 1000] [--rounds 5]

The model is a small RoFormer with random weights, the blocks are random tokens. The two take turns in one
process after a first round that doesn't count, so that a busy machine slows both alike. Times are those of

    forward     the model's logits at every position of every block, in batches of 16, in a `tf.function`; tracing it
                counts, as it does below
    evaluation  freezing the masks, scoring them (the head at masked positions only), all metrics and slices, intervals
                by 10,000 bootstrap resamples
    diagnostics the calibration and the tokens that the model is worst at, with their examples, which an evaluation
                finds too
    bootstrap   10,000 resamples of 1,000 records alone, all columns of an evaluation

Prints a table, then the same as one line of JSON.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()


os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import numpy as np
import tensorflow as tf
import tokenizers
import transformers

from benchmarks.small_model import ROFORMER
from components.evaluation.calibration import calibration
from components.evaluation.measuring import length_of, measure, metrics_and_intervals, record_sums
from components.evaluation.questions import Questions, Records
from components.evaluation.slices import by_frequency, by_record_length
from components.evaluation.statistics import Resampled, resampled_sums
from components.evaluation.worst_tokens import worst_tokens
from components.masking.frozen_masks import freeze_masks
from components.modeling.scoring import Scores, score_masks

VOCABULARY, BLOCK_SIZE, BATCH_SIZE, RESAMPLES = 2048, 64, 16, 10_000
SPECIAL, MASK = range(5), 4


def main() -> None:
    """Parses the command line, runs the rounds, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = small_model()
    random = np.random.default_rng(0)
    input_ids = random.integers(len(SPECIAL), VOCABULARY, (arguments.blocks, BLOCK_SIZE), np.int32)
    columns = random.random((1000, 60))
    tokenizer = any_tokenizer()
    questions, scores = evaluate(model, input_ids)

    def forward() -> None:
        shape = [tf.TensorSpec((None, BLOCK_SIZE), tf.int32)]
        dense = tf.function(lambda ids: model(ids).logits, input_signature=shape, autograph=False)
        for start in range(0, len(input_ids), BATCH_SIZE):
            dense(tf.constant(input_ids[start : start + BATCH_SIZE])).numpy()

    contestants: dict[str, Callable[[], object]] = {
        "forward": forward,
        "evaluation": lambda: evaluate(model, input_ids),
        "diagnostics": lambda: diagnose(questions, scores, tokenizer),
        "bootstrap": lambda: resampled_sums(columns, resamples=RESAMPLES, seed=0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(arguments.rounds + 1):
        for name, run in contestants.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{arguments.blocks:,} blocks of {BLOCK_SIZE} tokens, median of {arguments.rounds} rounds")
    for name, median in medians.items():
        print(f"  {name:<12} {median:7.3f} s  {median / medians['forward']:5.2f} x forward")
    share = medians["diagnostics"] / medians["evaluation"]
    print(f"  diagnostics take {share:.1%} of the evaluation of one model")
    print(json.dumps({"blocks": arguments.blocks, "seconds": medians}))


def small_model() -> "transformers.TFPreTrainedModel":
    """A RoFormer of about the quickstart's size."""
    config = transformers.RoFormerConfig(vocab_size=VOCABULARY, **ROFORMER)
    model = transformers.TFRoFormerForMaskedLM(config)
    model(tf.zeros((1, BLOCK_SIZE), tf.int32))
    return model


def any_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE of as many tokens, half of which begin words."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words += [f"{'Ġ' if number % 2 else ''}w{number}" for number in range(VOCABULARY - len(words))]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE({word: number for number, word in enumerate(words)}, []))
    backend.decoder = tokenizers.decoders.ByteLevel()
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), words[:5], strict=True))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def diagnose(questions: Questions, scores: Scores, tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    """What the evaluate step finds beyond the metrics; any other model does for the unigram baseline."""
    calibration("after", scores, questions.masks.label)
    unigram = np.full(len(questions.masks), -np.log(VOCABULARY), np.float32)
    worst_tokens(questions, tokenizer, scores, Scores(unigram, scores.top_ids, unigram))


def evaluate(model: "transformers.TFPreTrainedModel", input_ids: np.ndarray) -> tuple[Questions, Scores]:
    """What the evaluate step does with one model, a block being a record."""
    blocks = len(input_ids)
    tokens = np.full(blocks, BLOCK_SIZE)
    records = Records(np.arange(blocks), tokens, tokens - 2, tokens * 4, tokens * 4)
    ones = np.ones_like(input_ids, np.int8)
    masks = freeze_masks(
        input_ids,
        special_ids=SPECIAL,
        mask_token_id=MASK,
        vocabulary_size=VOCABULARY,
        probability=0.15,
        seed=42,
    )
    questions = Questions(np.arange(blocks), input_ids, ones, masks, masks.block, records)
    scores = score_masks(model, input_ids, ones, questions.masks, batch_size=BATCH_SIZE, k=5)
    measure(scores.log_probabilities, scores.top_ids, questions.masks.label, "after")
    lengths = records.tokens[questions.record]
    slices = [*by_record_length(lengths), *by_frequency(questions.masks.label)]
    resampled = Resampled(
        {"after": record_sums(questions, scores)},
        length_of(questions),
        slices,
        {"after": -scores.log_probabilities.astype(np.float64)},
        questions.record,
        confidence=0.95,
        resamples=RESAMPLES,
        seed=42,
    )
    metrics_and_intervals(resampled, {"after"})
    for part in slices:
        resampled.slice(part, "after")
    return questions, scores


if __name__ == "__main__":
    main()
