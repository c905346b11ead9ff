"""Masked batches a second of training's input pipeline alone, beside the guide's collator. No model is trained.

    python benchmarks/input.py [--batch-size 16] [--block-size 128] [--blocks 20000] [--rounds 5]

All feed through `model.prepare_tf_dataset` from the same blocks on disk (the embedded corpus, repeated), and take
turns, so that a busy machine slows all alike. Timed is the iteration, from the tenth batch on and not to the very end,
where tf.data's autotuner, which the guide's code leaves on, waits for seconds. Beside the rate stands the processor
time of a batch, of all threads together, which a busy machine changes less.

    guide                  `DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15,
                           return_tensors="tf")`, shuffled, as the guide prints it
                           (https://huggingface.co/docs/transformers/tasks/masked_language_modeling)
    project                as the train step feeds itself, in an order of its own each epoch
    project, 1 a read      the same, one batch a read of the library's: what reads cost
    project, whole words   the same, masking whole words
    project, packed        the same, from blocks of packed documents, with their numbers and positions
    masks alone            drawing a batch's masks, without reading: the limit

The library's own whole-word masking raises TypeError with fast tokenizers' default columns, so it has no row.
Prints a table, then the same as one line of JSON.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", DATASETS_VERBOSITY="error", TRANSFORMERS_VERBOSITY="error")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()

import numpy as np

from components.blocks.params import PreprocessParams
from components.contract.artifacts import Blocks, Corpus, Tokenizer
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams

MLM_PROBABILITY = 0.15
WARM_UP = 10
SECONDS = 2.0
"""How long one measurement goes on."""
EPOCHS = 40
"""More than are gone through in that time."""
TEXT_COLUMN = "answers.text"


def main() -> None:
    """Parses the command line, prepares the blocks and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=20_000, help="train blocks, about; the corpus is repeated")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tokenizer, blocks = prepare(Path(name), arguments.block_size, arguments.blocks)
        contestants = contestants_of(tokenizer, blocks, arguments.batch_size)
        rates: dict[str, list[float]] = {name: [] for name in contestants}
        cpus: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(arguments.rounds):
            for name, start in contestants.items():
                rate, cpu = measure(start())
                rates[name].append(rate)
                cpus[name].append(cpu)
            speeds = ", ".join(f"{name} {each[-1]:,.0f}" for name, each in rates.items())
            print(f"round {number + 1}: {speeds} batches/s", file=sys.stderr)
    report(rates, cpus, arguments)


def prepare(folder: Path, block_size: int, count: int):
    """The tokenizer, and the train blocks by packing."""
    from datasets import DatasetDict, concatenate_datasets

    for step in ("embedded", "tokenizer", "concatenate", "packed"):
        (folder / step).mkdir()
    Ingest(IngestParams()).run(folder / "embedded")
    PrepareTokenizer(Corpus(folder / "embedded"), TEXT_COLUMN, TokenizerParams()).run(folder / "tokenizer")
    once = Corpus(folder / "embedded").split("train")
    words = sum(len(" ".join(texts).split()) for texts in once.flatten()[TEXT_COLUMN])
    repeats = max(1, round(count * block_size / (1.4 * words)))
    splits = {"train": concatenate_datasets([once] * repeats), "test": once.select(range(100))}
    DatasetDict(splits).save_to_disk(folder / "corpus" / "dataset")
    for packing in ("concatenate", "packed"):
        params = PreprocessParams(TEXT_COLUMN, block_size, packing)
        Preprocess(Corpus(folder / "corpus"), Tokenizer(folder / "tokenizer"), params).run(folder / packing)
    tokenizer = Tokenizer(folder / "tokenizer").load()
    return tokenizer, {packing: Blocks(folder / packing).split("train") for packing in ("concatenate", "packed")}


def contestants_of(tokenizer, blocks, batch_size: int) -> dict[str, Callable[[], Iterator]]:
    """By name, what starts an endless or long run of batches."""
    import tensorflow as tf
    from transformers import DataCollatorForLanguageModeling, RobertaConfig, TFRobertaForMaskedLM

    from components.masking.masking import MaskingCollator, draw_masks
    from components.masking.whole_words import WordBoundaries
    from components.training import batches as feeding

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = TFRobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), **sizes))
    words = WordBoundaries.of(tokenizer)
    usual = feeding.BLOCKS_A_READ

    def guide() -> Iterator[tf.Tensor]:
        collator = DataCollatorForLanguageModeling(
            tokenizer=tokenizer, mlm_probability=MLM_PROBABILITY, return_tensors="tf"
        )
        return iter(
            model.prepare_tf_dataset(
                blocks["concatenate"], shuffle=True, batch_size=batch_size, collate_fn=collator
            ).repeat()
        )

    def project(packing: str = "concatenate", words: WordBoundaries | None = None, read: int = usual) -> Iterator:
        feeding.BLOCKS_A_READ = read
        train = blocks[packing]
        order = feeding.in_training_order(len(train), EPOCHS, len(train) // batch_size * batch_size, seed=0)
        collator = MaskingCollator(tokenizer, MLM_PROBABILITY, 0, words=words)
        return iter(feeding.batches(model, train, batch_size, collator, order))

    def masks_alone() -> Iterator:
        rows = np.stack(blocks["concatenate"].with_format("numpy")[:batch_size]["input_ids"])
        special_ids, vocabulary_size, mask_token_id = tokenizer.all_special_ids, len(tokenizer), tokenizer.mask_token_id
        for number in itertools.count():
            yield draw_masks(
                rows,
                special_ids=special_ids,
                vocabulary_size=vocabulary_size,
                mask_token_id=mask_token_id,
                probability=MLM_PROBABILITY,
                random=np.random.default_rng([0, number]),
            ).dense_labels

    return {
        "guide": guide,
        "project": project,
        "project, 1 a read": lambda: project(read=1),
        "project, whole words": lambda: project(words=words),
        "project, packed": lambda: project("packed"),
        "masks alone": masks_alone,
    }


def measure(batches: Iterator) -> tuple[float, float]:
    """Batches a second, and processor time in microseconds a batch, over some seconds after some batches."""
    for _ in range(WARM_UP):
        next(batches)
    start, cpu = time.perf_counter(), time.process_time()
    for count in itertools.count(1):
        next(batches)
        seconds = time.perf_counter() - start
        if seconds >= SECONDS:
            return count / seconds, (time.process_time() - cpu) / count * 1e6
    raise RuntimeError("unreachable")


def report(rates: dict[str, list[float]], cpus: dict[str, list[float]], arguments: argparse.Namespace) -> None:
    """Prints the table and the JSON."""
    rows = arguments.batch_size
    shape = f"batches of {rows} x {arguments.block_size}"
    cores = len(os.sched_getaffinity(0))
    print(f"\n{shape}, {cores} cores, {arguments.rounds} rounds of {SECONDS:.0f} s: medians (least to most)\n")
    print(
        f"{'':22}{'batches/s':>10}{'':>18}{'rows/s':>10}{'against guide':>15}{'CPU us/batch':>14}{'against guide':>15}"
    )
    facts = {}
    for name, each in rates.items():
        median = statistics.median(each)
        times = statistics.median(one / guide for one, guide in zip(each, rates["guide"], strict=True))
        cpu, guide_cpu = statistics.median(cpus[name]), statistics.median(cpus["guide"])
        spread = f"({min(each):,.0f} to {max(each):,.0f})"
        line = f"{name:22}{median:>10,.0f}{spread:>18}{median * rows:>10,.0f}{times:>14.1f}x"
        print(f"{line}{cpu:>14,.0f}{guide_cpu / cpu:>14.1f}x")
        facts[name] = {"batches_per_second": round(median, 1), "against_guide": round(times, 2)}
        facts[name] |= {"cpu_microseconds_a_batch": round(cpu, 1), "cpu_against_guide": round(guide_cpu / cpu, 2)}
        facts[name] |= {"least": round(min(each), 1), "most": round(max(each), 1)}
    settings = {"batch_size": rows, "block_size": arguments.block_size, "rounds": arguments.rounds, "cores": cores}
    print("\n" + json.dumps({**settings, "contestants": facts}))


if __name__ == "__main__":
    main()
