"""Training on documents, a row each: batches as long as their longest document, beside batches of the block size.

    python benchmarks/lengths.py [--block-size 256] [--batch-size 16] [--steps 24] [--rounds 3]

All train the same model on the embedded corpus (`--preprocess.packing documents`), in the order and with the masks of
the train step, and take turns, so that a busy machine slows all alike. Every round goes over the same steps, and one
before them, which isn't timed, compiles what is compiled for each length. Counted are the tokens of
the documents, without padding, a second of processor time and of the clock: of all rounds the best.

    whole       every batch is as long as its blocks
    cut         a batch is cut to one of five lengths, the shortest that its longest document fits into
    grouped     the same, of documents of like lengths (`--train.group_by_length`), of which a round has others

Prints a table, then the same as one line of JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
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
TEXT_COLUMN = "answers.text"
SIZES = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}


def main() -> None:
    """Parses the command line, prepares the blocks and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--block-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=24, help="steps of a round (default: 24)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tokenizer, blocks = prepare(Path(name), arguments.block_size)
        contestants, tokens, facts = contestants_of(tokenizer, blocks, arguments)
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for number in range(arguments.rounds + 1):
            for name, run in contestants.items():
                took = measure(run)
                if number:
                    seconds[name].append(took)
                print(f"round {number}: {name} {took[0]:.1f} s, {took[1]:.1f} s of processor time", file=sys.stderr)
    report(seconds, tokens, facts, arguments)


def prepare(folder: Path, block_size: int):
    """The tokenizer, and the documents of the embedded corpus as blocks."""
    for step in ("corpus", "tokenizer", "blocks"):
        (folder / step).mkdir()
    Ingest(IngestParams()).run(folder / "corpus")
    PrepareTokenizer(Corpus(folder / "corpus"), TEXT_COLUMN, TokenizerParams()).run(folder / "tokenizer")
    params = PreprocessParams(TEXT_COLUMN, block_size, "documents")
    Preprocess(Corpus(folder / "corpus"), Tokenizer(folder / "tokenizer"), params).run(folder / "blocks")
    return Tokenizer(folder / "tokenizer").load(), Blocks(folder / "blocks").split("train")


def contestants_of(tokenizer, blocks, arguments) -> tuple[dict[str, Callable[[], None]], dict[str, int], dict]:
    """What makes a round's steps, and the tokens of these, by name; and what is known of the documents."""
    from transformers import RobertaConfig, TFRobertaForMaskedLM

    from components.masking.masking import MaskingCollator, max_predictions
    from components.training.batches import batches, in_training_order
    from components.training.lengths import lengths_of_batches, lengths_of_blocks
    from components.training.optimizer import AdamW
    from components.training.training_model import MaskedLMTraining

    block_size, batch_size, steps = arguments.block_size, arguments.batch_size, arguments.steps
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=block_size + 2, **SIZES)
    lengths = lengths_of_blocks(blocks)
    order = in_training_order(len(blocks), 1, steps * batch_size, seed=0)

    def contestant(order: np.ndarray, lengths: np.ndarray | None) -> Callable[[], None]:
        model = TFRobertaForMaskedLM(config)
        model.build_in_name_scope()
        training = MaskedLMTraining(model, max_predictions(block_size, MLM_PROBABILITY), block_size=block_size)
        training.compile(optimizer=AdamW(1e-4, weight_decay_rate=0.01))
        collator = MaskingCollator(tokenizer, MLM_PROBABILITY, 0)
        dataset = batches(model, blocks, batch_size, collator, order, lengths=lengths)
        return lambda: training.fit(dataset, epochs=1, verbose=0)

    # All documents of an epoch, of which the first steps are taken: they are long and short as they come.
    epoch = len(blocks) // batch_size * batch_size
    grouped = in_training_order(len(blocks), 1, epoch, seed=0, lengths=lengths, blocks_a_step=batch_size)
    orders = {"whole": order, "cut": order, "grouped": grouped[: steps * batch_size]}
    mean_length = {
        name: float(lengths_of_batches(lengths[order].reshape(steps, batch_size).max(axis=1), block_size).mean())
        for name, order in orders.items()
    }
    facts = {
        "documents": len(blocks),
        "tokens_a_document": {f"{part}%": int(np.percentile(lengths, part)) for part in (10, 50, 90)},
        "mean_length": {name: round(mean, 1) for name, mean in mean_length.items()} | {"whole": block_size},
    }
    contestants = {name: contestant(order, None if name == "whole" else lengths) for name, order in orders.items()}
    return contestants, {name: int(lengths[order].sum()) for name, order in orders.items()}, facts


def measure(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the clock and of processor time."""
    start, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - cpu


def report(seconds, tokens: dict[str, int], facts: dict, arguments: argparse.Namespace) -> None:
    """Prints the table and the JSON."""
    print(f"\nbatches of {arguments.batch_size} documents of up to {arguments.block_size} tokens: {facts}\n")
    print(f"{'':12}{'tokens/s':>12}{'against whole':>15}{'tokens/s of CPU':>17}{'against whole':>15}")
    rates = {
        name: (tokens[name] / min(clock for clock, _ in each), tokens[name] / min(cpu for _, cpu in each))
        for name, each in seconds.items()
    }
    whole = rates["whole"]
    table = {}
    for name, (clock, cpu) in rates.items():
        print(f"{name:12}{clock:>12,.0f}{clock / whole[0]:>14.2f}x{cpu:>17,.0f}{cpu / whole[1]:>14.2f}x")
        table[name] = {"tokens_a_second": round(clock), "against_whole": round(clock / whole[0], 2)}
        table[name] |= {"tokens_a_cpu_second": round(cpu), "cpu_against_whole": round(cpu / whole[1], 2)}
    settings = {name: getattr(arguments, name) for name in ("block_size", "batch_size", "steps", "rounds")}
    print("\n" + json.dumps({**settings, **facts, "contestants": table}))


if __name__ == "__main__":
    main()
