"""A training step small enough to run in a second: its inputs, and ways to compare what it made."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.blocks.writer import BlockWriter
from components.contract import reports
from components.contract.artifacts import Blocks, Checkpoint, Tokenizer
from components.train import Train
from components.training.params import TrainParams
from tests import reports as complete
from tests.finished import finish

VOCABULARY, BLOCK_SIZE = 40, 16
SIZES = {
    "hidden_size": 16,
    "embedding_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}
SMALL = {"model_type": "roformer", "model_config": SIZES, "batch_size": 4, "epochs": 2, "learning_rate": 1e-3}
TIMES = ("seconds", "tokens_per_second", "tflops_per_second")
"""Columns of the history that differ from run to run."""


def write_tokenizer(directory: Path) -> Tokenizer:
    """A tokenizer of words."""
    from tokenizers import Tokenizer as Rust
    from tokenizers import models
    from transformers import PreTrainedTokenizerFast

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    words = [*special.values(), "<mask>", *(f"word{number}" for number in range(VOCABULARY - 5))]
    rust = Rust(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    loaded = PreTrainedTokenizerFast(tokenizer_object=rust, mask_token="<mask>", **special)
    loaded.save_pretrained(directory / "tokenizer")
    return finish(directory, Tokenizer)


def write_blocks(directory: Path, train: int, test: int) -> Blocks:
    """Blocks that repeat one token: an easy thing to learn."""
    for name, count, seed in (("train", train, 0), ("test", test, 1)):
        tokens = np.random.default_rng(seed).integers(5, VOCABULARY, (count, 1)).astype(np.int32)
        with BlockWriter(directory / "dataset" / name, BLOCK_SIZE) as writer:
            writer.write(np.repeat(tokens, BLOCK_SIZE, axis=1))
    reports.write(directory / "report.json", complete.blocks(BLOCK_SIZE))
    return finish(directory, Blocks)


def write_documents(directory: Path, train: int, test: int) -> Blocks:
    """The same, as documents of 1 to 16 tokens, a row each."""
    for name, count, seed in (("train", train, 0), ("test", test, 1)):
        random = np.random.default_rng(seed)
        tokens = random.integers(5, VOCABULARY, (count, 1)).astype(np.int32)
        # Most are short, so that there are batches of several lengths.
        lengths = np.ceil(BLOCK_SIZE * random.random((count, 1)) ** 4)
        document_ids = (np.arange(BLOCK_SIZE) < lengths).astype(np.int16)
        with BlockWriter(directory / "dataset" / name, BLOCK_SIZE) as writer:
            writer.write(np.where(document_ids > 0, tokens, 1).astype(np.int32), document_ids)
    reports.write(directory / "report.json", complete.blocks(BLOCK_SIZE, packing="documents"))
    return finish(directory, Blocks)


def small_step(blocks: Blocks, tokenizer: Tokenizer, **params: Any) -> Train:
    """The step, with params over those of `SMALL`."""
    return Train(blocks, tokenizer, TrainParams(**{**SMALL, **params}))


def train(blocks: Blocks, tokenizer: Tokenizer, directory: Path, **params: Any) -> Checkpoint:
    """Trains a small model into a directory."""
    directory.mkdir(exist_ok=True)
    small_step(blocks, tokenizer, **params).run(directory)
    return finish(directory, Checkpoint)


def weights_of(directory: str | Path) -> list[np.ndarray]:
    """The weights that stock transformers loads from a directory."""
    from transformers import TFAutoModelForMaskedLM

    return TFAutoModelForMaskedLM.from_pretrained(directory).get_weights()


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    """Whether two lists of arrays are the same, bit for bit."""
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def history_of(directory: Path, name: str = "history.json") -> list[dict[str, Any]]:
    """The rows of a history without times."""
    rows = json.loads((directory / name).read_text())
    return [{column: value for column, value in row.items() if column not in TIMES} for row in rows]
