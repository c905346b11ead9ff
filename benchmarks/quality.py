"""Whether training here ends where the guide's own code ends: the same weights, data and tokens, over several seeds.

    python benchmarks/quality.py [--seeds 1 2 3 4] [--steps 200] [--first-steps 800]
    python benchmarks/quality.py --race [--steps 1600] [--first-steps 800]

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

With `--race`, time counts instead of steps. The guide's code trains the model further for so many steps. Then the
project does, with its best recipe (Muon, warm-up-stable-decay, 30% masked, the precision that `auto` takes) and ever
more steps, each time from the start and with a whole schedule, until its loss is no higher than the guide's. Counted is
the time of the steps, the first one's tracing included, and of no validation. Run it on a machine that does nothing
else.
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

from benchmarks.small_model import ROFORMER
from components.blocks.params import PreprocessParams
from components.contract.artifacts import Blocks, Tokenizer
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams
from components.train import Train
from components.training.params import TrainParams
from masked_lm_pipeline import run_step

TEXT_COLUMN, BLOCK_SIZE, BATCH_SIZE, PROBABILITY, FIRST_PROBABILITY = "answers.text", 64, 16, 0.15, 0.3
LEARNING_RATE, WARMUP_RATIO, WEIGHT_DECAY = 1.5e-3, 0.1, 0.01
RECIPE = {
    "optimizer": "muon",
    "learning_rate": 3e-3,
    "lr_scheduler_type": "warmup_stable_decay",
    "warmup_ratio": 0.05,
    "decay_ratio": 0.4,
    "max_grad_norm": 1.0,
    "mlm_probability": 0.3,
}
"""What the project trains with in the race."""
PARTS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
"""Of the guide's steps, those that it is given there, one after the other."""
EVALUATION_SEED = 12345
STUDENT_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""The 97.5% quantile by degrees of freedom."""


def main() -> None:
    """Parses the command line, makes the data, trains both ways by every seed, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4], help="from two to ten")
    parser.add_argument("--steps", type=int, help="of each run (default: 200, or 1600 with --race)")
    parser.add_argument("--first-steps", type=int, default=800, help="of the model that they start from")
    parser.add_argument("--race", action="store_true", help="compare the time to the guide's loss")
    arguments = parser.parse_args()
    steps = arguments.steps or (1600 if arguments.race else 200)
    if not 2 <= len(arguments.seeds) <= 10:
        parser.error(f"--seeds takes from two to ten, received {len(arguments.seeds)}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        blocks, tokenizer = make_data(folder)
        first = {"model_type": "roformer", "model_config": ROFORMER, "mlm_probability": FIRST_PROBABILITY, "seed": 0}
        start_loss = train_here(folder / "first", blocks, tokenizer, arguments.first_steps, **first)
        start_from = folder / "first/model"
        if arguments.race:
            race(folder, start_from, start_loss, blocks, tokenizer, steps)
            return
        for seed in arguments.seeds:
            start = time.perf_counter()
            further = {"pretrained": str(start_from), "mlm_probability": PROBABILITY, "seed": seed}
            out = folder / f"trained-{seed}"
            losses = {"project": train_here(out, blocks, tokenizer, steps, **further)}
            middle = time.perf_counter()
            losses["guide"], _ = train_as_the_guide(start_from, blocks, tokenizer, steps, seed)
            end = time.perf_counter()
            losses["before"] = start_loss
            rows.append({"seed": seed, **losses, "difference": losses["project"] - losses["guide"]})
            seconds = {"project": round(middle - start), "guide": round(end - middle)}
            print(f"{rows[-1]}, seconds {seconds}", file=sys.stderr)
    report(rows, steps)


def make_data(folder: Path) -> tuple[Blocks, Tokenizer]:
    """The pipeline's first steps, on the embedded corpus."""
    corpus = run_step(Ingest(IngestParams()), root=folder)
    tokenizer = run_step(PrepareTokenizer(corpus, TEXT_COLUMN, TokenizerParams(vocab_size=2048)), root=folder)
    return run_step(Preprocess(corpus, tokenizer, PreprocessParams(TEXT_COLUMN, BLOCK_SIZE)), root=folder), tokenizer


def train_here(out: Path, blocks: Blocks, tokenizer: Tokenizer, steps: int, **values: Any) -> float:
    """The evaluation loss after the project's train step, which leaves the model in `out`."""
    usual = {"learning_rate": LEARNING_RATE, "warmup_ratio": WARMUP_RATIO, "weight_decay": WEIGHT_DECAY}
    params = TrainParams(max_steps=steps, epochs=1, batch_size=BATCH_SIZE, **{**usual, **values})
    out.mkdir()
    Train(blocks, tokenizer, params).run(out)
    return evaluation_loss(load(out / "model"), blocks, tokenizer)


def race(folder: Path, start: Path, start_loss: float, blocks: Blocks, tokenizer: Tokenizer, steps: int) -> None:
    """Trains as the guide does, then as the project does with ever more steps, and prints loss and time of each."""
    loss, seconds = train_as_the_guide(start, blocks, tokenizer, steps, seed=1)
    print(f"\nfrom an evaluation loss of {start_loss:.4f} nats, in steps of {BATCH_SIZE} x {BLOCK_SIZE} tokens\n")
    print(f"{'':<10}{'steps':>8}{'loss':>10}{'seconds':>10}{'of the guide':>14}")
    print(f"{'guide':<10}{steps:>8,}{loss:>10.4f}{seconds:>10.1f}{1:>14.2f}")
    runs = []
    for part in PARTS:
        out = folder / f"race-{part}"
        ours = train_here(out, blocks, tokenizer, round(part * steps), pretrained=str(start), seed=1, **RECIPE)
        took = sum(row["seconds"] for row in json.loads((out / "history.json").read_text(encoding="utf-8")))
        runs.append({"steps": round(part * steps), "loss": ours, "seconds": took})
        print(f"{'project':<10}{runs[-1]['steps']:>8,}{ours:>10.4f}{took:>10.1f}{took / seconds:>14.2f}", flush=True)
        if ours <= loss:
            break
    print(json.dumps({"start": start_loss, "guide": {"steps": steps, "loss": loss, "seconds": seconds}, "runs": runs}))


def train_as_the_guide(
    initial: Path, blocks: Blocks, tokenizer: Tokenizer, steps: int, seed: int
) -> tuple[float, float]:
    """The evaluation loss after the guide's code, from the same weights, with blocks in the same order; its seconds."""
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
    began = time.perf_counter()
    model.fit(x=tf_train_set, epochs=1, verbose=0)
    seconds = time.perf_counter() - began
    return evaluation_loss(model, blocks, tokenizer), seconds


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
