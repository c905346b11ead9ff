"""Tokenizers in the graph beside the Rust tokenizers that they were made from.

    python benchmarks/text_tokenizers.py [--tokenizer NAME_OR_FOLDER ...] [--rounds 200]

Texts are 64 words of English prose each, from this Python's own documentation; one text, and a batch of 64. Times are
medians, in milliseconds, of

    graph   the tokenizer in the graph, special tokens around each text, as the exported model runs it
    rust    a call of the fast tokenizer on the same texts

The two take turns, so that a busy machine slows both alike. Prints a table, then the same as one line of JSON.
"""

import argparse
import json
import pydoc_data.topics
import statistics
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()


WORDS_A_TEXT = 64
BATCHES = (1, 64)


def main() -> None:
    """Parses the command line, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tokenizer", nargs="+", default=[], help="Hub names or local folders (default: trained here on the prose)"
    )
    parser.add_argument("--rounds", type=int, default=200, help="measurements of each (default: 200)")
    arguments = parser.parse_args()
    words = " ".join(pydoc_data.topics.topics.values()).split()
    texts = [" ".join(words[start : start + WORDS_A_TEXT]) for start in range(0, len(words), WORDS_A_TEXT)][10:]
    rows = []
    for name, tokenizer in tokenizers(arguments.tokenizer, texts):
        rows += [measure(name, tokenizer, texts[:batch], arguments.rounds) for batch in BATCHES]
    print(f"{'tokenizer':<34}{'texts':>6}{'graph ms':>10}{'rust ms':>10}{'graph words/s':>15}{'rust words/s':>14}")
    for row in rows:
        print(
            f"{row['tokenizer'][-33:]:<34}{row['texts']:>6}{row['graph_milliseconds']:>10.2f}"
            f"{row['rust_milliseconds']:>10.2f}{row['graph_words_per_second']:>15,}{row['rust_words_per_second']:>14,}"
        )
    print(json.dumps(rows))


def tokenizers(names: list[str], texts: list[str]) -> list[tuple[str, Any]]:
    """The tokenizers asked for, or one of each family, trained here."""
    from transformers import AutoTokenizer

    if names:
        return [(name, AutoTokenizer.from_pretrained(name, use_fast=True)) for name in names]
    return [
        ("byte-level BPE, 8,192 tokens", train_byte_level(texts)),
        ("WordPiece, 8,192 tokens", train_wordpiece(texts)),
        ("unigram, 8,000 tokens", train_unigram(texts)),
    ]


def train_byte_level(texts: list[str]) -> Any:
    """A tokenizer like RoBERTa's."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=8192, special_tokens=special, show_progress=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, pad_token="<pad>", mask_token="<mask>")


def train_wordpiece(texts: list[str]) -> Any:
    """A tokenizer like BERT's."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import PreTrainedTokenizerFast

    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=8192, show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, pad_token="[PAD]", mask_token="[MASK]")


def train_unigram(texts: list[str]) -> Any:
    """A tokenizer like XLM-RoBERTa's."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    from serving.graph.tokenizers.normalization import charsmap

    compatible = {chr(point): unicodedata.normalize("NFKC", chr(point)) for point in range(0x20, 0xD800)}
    replacements = {key: text for key, text in compatible.items() if text != key}
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(charsmap.write(replacements)),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), "▁"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=8000,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", mask_token="<mask>")


def measure(name: str, tokenizer: Any, texts: list[str], rounds: int) -> dict[str, Any]:
    """One row of the table."""
    import tensorflow as tf

    from serving.graph.tokenizers.build import build_in_graph_tokenizer

    encode = tf.function(
        build_in_graph_tokenizer(tokenizer).encode, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False
    )
    tensor = tf.constant([text.encode() for text in texts])
    if encode(tensor).to_list() != tokenizer(texts)["input_ids"]:
        raise SystemExit(f"{name}: the graph's ids differ")
    seconds: dict[str, list[float]] = {"graph": [], "rust": []}
    contestants: dict[str, Callable[[], Any]] = {"graph": lambda: encode(tensor), "rust": lambda: tokenizer(texts)}
    for _ in range(rounds):
        for contestant, call in contestants.items():
            started = time.perf_counter()
            call()
            seconds[contestant].append(time.perf_counter() - started)
    row: dict[str, Any] = {"tokenizer": name, "texts": len(texts)}
    for contestant, measured in seconds.items():
        median = statistics.median(measured)
        row[f"{contestant}_milliseconds"] = round(1000 * median, 3)
        row[f"{contestant}_words_per_second"] = round(len(texts) * WORDS_A_TEXT / median)
    return row


if __name__ == "__main__":
    main()
