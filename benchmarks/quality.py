"""Whether training here ends where the guide's own code ends: the same weights, data and tokens, over several seeds.

    python benchmarks/quality.py [--seeds 1 2 3 4] [--steps 200] [--first-steps 800]

A RoFormer of 2 layers x 128 learns the embedded corpus from scratch (byte-level BPE of 2,048 tokens, 16 blocks of 64 a
step, dropout 0.1), so that, as in the guide, there is a model to train further. (From random weights, runs differ by
when they leave the plateau of the word frequencies, which would hide anything else.) Then, for every seed, two runs
with 15% masked:

    project   `Train.run`: the head at the masked positions, exactly n·p masks a row, its own dropout and kernels
    guide     the masked language modeling guide's code: `TFAutoModelForMaskedLM`, `prepare_tf_dataset` with
              `DataCollatorForLanguageModeling`, `compile`, `fit`; its `create_optimizer` with the same numbers

Both start from the same weights and see the same blocks in the same order; only chance differs, of masks
and of dropout. Both are asked the same frozen masks of the test split, drawn by neither's rule of training. Prints the
evaluation losses in nats, their paired differences (project less guide) and the 95% interval of the mean (Student's t),
then the same as one line of JSON.
"""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()
os.environ.update(TRANSFORMERS_VERBOSITY="error", HF_DATASETS_DISABLE_PROGRESS_BARS="1", USE_TORCH="0")

from components.blocks.params import PreprocessParams
from components.contract.artifacts import Blocks, Corpus, Tokenizer
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams
from components.train import Train
from components.training.params import TrainParams

TEXT_COLUMN, BLOCK_SIZE, BATCH_SIZE, PROBABILITY, FIRST_PROBABILITY = "answers.text", 64, 16, 0.15, 0.3
LEARNING_RATE, WARMUP_RATIO, WEIGHT_DECAY = 1.5e-3, 0.1, 0.01
MODEL = {
    "embedding_size": 128,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
EVALUATION_SEED = 12345
STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""The 97.5% quantile by degrees of freedom."""


def main() -> None:
    """Parses the command line, makes the data, trains both ways by every seed, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4], help="from two to ten")
    parser.add_argument("--steps", type=int, default=200, help="of each run (default: 200)")
    parser.add_argument("--first-steps", type=int, default=800, help="of the model that they start from")
    arguments = parser.parse_args()
    if not 2 <= len(arguments.seeds) <= 10:
        parser.error(f"--seeds takes from two to ten, received {len(arguments.seeds)}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blocks, tokenizer = make_data(folder)
        first = {"model_type": "roformer", "model_config": MODEL, "mlm_probability": FIRST_PROBABILITY, "seed": 0}
        start_loss = train_here(folder / "first", blocks, tokenizer, arguments.first_steps, **first)
        start_from = folder / "first/model"
        for seed in arguments.seeds:
            start = time.perf_counter()
            further = {"pretrained": str(start_from), "mlm_probability": PROBABILITY, "seed": seed}
            out = folder / f"trained-{seed}"
            losses = {"project": train_here(out, blocks, tokenizer, arguments.steps, **further)}
            middle = time.perf_counter()
            losses["guide"] = train_as_the_guide(start_from, blocks, tokenizer, arguments.steps, seed)
            end = time.perf_counter()
            losses["before"] = start_loss
            rows.append({"seed": seed, **losses, "difference": losses["project"] - losses["guide"]})
            seconds = {"project": round(middle - start), "guide": round(end - middle)}
            print(f"{rows[-1]}, seconds {seconds}", file=sys.stderr)
    report(rows, arguments.steps)


def make_data(folder: Path) -> tuple[Blocks, Tokenizer]:
    """The pipeline's first steps, on the embedded corpus."""
    for name in ("corpus", "tokenizer", "blocks"):
        (folder / name).mkdir()
    corpus, tokenizer = Corpus(folder / "corpus"), Tokenizer(folder / "tokenizer")
    Ingest(IngestParams()).run(corpus.directory)
    PrepareTokenizer(corpus, TEXT_COLUMN, TokenizerParams(vocab_size=2048)).run(tokenizer.directory)
    Preprocess(corpus, tokenizer, PreprocessParams(TEXT_COLUMN, BLOCK_SIZE)).run(folder / "blocks")
    return Blocks(folder / "blocks"), tokenizer


def train_here(out: Path, blocks: Blocks, tokenizer: Tokenizer, steps: int, **values: Any) -> float:
    """The evaluation loss after the project's train step, which leaves the model in `out`."""
    params = TrainParams(
        max_steps=steps,
        epochs=1,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        warmup_ratio=WARMUP_RATIO,
        weight_decay=WEIGHT_DECAY,
        **values,
    )
    out.mkdir()
    Train(blocks, tokenizer, params).run(out)
    return evaluation_loss(load(out / "model"), blocks, tokenizer)


def train_as_the_guide(initial: Path, blocks: Blocks, tokenizer: Tokenizer, steps: int, seed: int) -> float:
    """The evaluation loss after the guide's code, from the same weights and in the same order of blocks."""
    import tensorflow as tf
    from transformers import DataCollatorForLanguageModeling, create_optimizer

    from components.training.batches import in_training_order

    tf.keras.utils.set_random_seed(seed)
    train = blocks.split("train")
    steps_per_epoch = len(train) // BATCH_SIZE
    epochs = math.ceil(steps / steps_per_epoch)
    order = in_training_order(len(train), epochs, steps_per_epoch * BATCH_SIZE, seed)
    ordered = train.select(order[: steps * BATCH_SIZE])
    data_collator = DataCollatorForLanguageModeling(
        tokenizer=tokenizer.load(), mlm_probability=PROBABILITY, return_tensors="tf"
    )
    optimizer, _ = create_optimizer(
        init_lr=LEARNING_RATE,
        num_train_steps=steps,
        num_warmup_steps=math.ceil(steps * WARMUP_RATIO),
        weight_decay_rate=WEIGHT_DECAY,
    )
    model = load(initial)
    tf_train_set = model.prepare_tf_dataset(ordered, shuffle=False, batch_size=BATCH_SIZE, collate_fn=data_collator)
    model.compile(optimizer=optimizer)
    model.fit(x=tf_train_set, epochs=1, verbose=0)
    return evaluation_loss(model, blocks, tokenizer)


def load(directory: Path) -> Any:
    """A model that the train step saved."""
    from transformers import TFAutoModelForMaskedLM

    return TFAutoModelForMaskedLM.from_pretrained(directory)


def evaluation_loss(model: Any, blocks: Blocks, tokenizer: Tokenizer) -> float:
    """Mean cross-entropy in nats over frozen masks of the test split, by the model's own dense call."""
    import numpy as np
    import tensorflow as tf

    from components.masking.masking import IGNORED_LABEL, draw_masks

    loaded = tokenizer.load()
    columns = blocks.split("test").with_format("numpy")
    masks = draw_masks(
        columns["input_ids"][:],
        special_ids=loaded.all_special_ids,
        vocabulary_size=len(loaded),
        mask_token_id=loaded.mask_token_id,
        probability=PROBABILITY,
        random=np.random.default_rng(EVALUATION_SEED),
    )
    labels = masks.dense_labels
    logits_of = tf.function(lambda ids, mask: model(input_ids=ids, attention_mask=mask, training=False).logits)
    total = count = 0.0
    for start in range(0, len(labels) // BATCH_SIZE * BATCH_SIZE, BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        logits = logits_of(
            tf.constant(masks.input_ids[rows], tf.int32), tf.constant(columns["attention_mask"][rows], tf.int32)
        )
        asked = labels[rows] != IGNORED_LABEL
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels[rows][asked], logits.numpy()[asked])
        total += float(tf.reduce_sum(losses))
        count += asked.sum()
    return float(total / count)


def report(rows: list[dict[str, float]], steps: int) -> None:
    """Prints the table and the JSON."""
    differences = [row["difference"] for row in rows]
    mean = statistics.mean(differences)
    reach = STUDENT_T[len(rows) - 1] * statistics.stdev(differences) / math.sqrt(len(rows))
    print(f"\nevaluation loss in nats after {steps} steps of {BATCH_SIZE} x {BLOCK_SIZE} tokens\n")
    print(f"{'seed':>6}{'before':>10}{'project':>10}{'guide':>10}{'difference':>12}")
    for row in rows:
        print(
            f"{row['seed']:>6}{row['before']:>10.4f}{row['project']:>10.4f}{row['guide']:>10.4f}"
            f"{row['difference']:>+12.4f}"
        )
    print(f"\nmean difference {mean:+.4f}, 95% interval {mean - reach:+.4f} to {mean + reach:+.4f}\n")
    facts = {"steps": steps, "runs": rows, "mean_difference": mean, "interval": [mean - reach, mean + reach]}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
