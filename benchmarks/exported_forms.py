"""An exported model in float32, in bfloat16 and in eight-bit integers, in one thread.

    python benchmarks/exported_forms.py [--layers 6] [--turns 15]

All have distilroberta's shape and the same random weights, which don't change the speed, and answer `tokens`: one mask
a row. They take turns. Counted is the processor time of the fastest turn, which a busy machine disturbs least:

    float32    the SavedModel in a session with one thread, without batching, as TensorFlow Serving runs it
    bfloat16   the same of `export.precision bfloat16`
    int8       `model.tflite` in TensorFlow Lite's interpreter with one thread, as TensorFlow Serving runs it
    plain      the same without XNNPACK, as in a server that is built without it

Prints a table, with the times of float32 as multiples of the others', then the same as one line of JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from foundation.keras_choice import choose_keras

choose_keras()

SHAPES = ((1, 32), (1, 128), (16, 64))
VOCABULARY, MASK = 50265, 50264


def main() -> None:
    """Parses the command line, measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=6, help="layers of the model (default: 6)")
    parser.add_argument("--turns", type=int, default=15, help="turns of each (default: 15)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        peers, sizes = prepare(Path(directory), arguments.layers)
        found = {f"{rows} x {length}": measure(peers, (rows, length), arguments.turns) for rows, length in SHAPES}
    print(f"{'rows x tokens':<14}{'float32 ms':>11}" + "".join(f"{name:>10}" for name in list(peers)[1:]))
    for shape, seconds in found.items():
        ratios = [f"{seconds['float32'] / seconds[name]:>9.1f}x" for name in list(peers)[1:]]
        print(f"{shape:<14}{1000 * seconds['float32']:>11.1f}" + "".join(ratios))
    for name in ("bfloat16", "int8"):
        print(f"{name} has {sizes[name] / sizes['float32']:.0%} of the size of float32")
    print(json.dumps({"seconds": found, "bytes": sizes}))


def prepare(directory: Path, layers: int) -> tuple[dict[str, Callable[..., Any]], dict[str, int]]:
    """Writes all forms, and loads them.

    Returns:
        What answers ids and attention mask, by name, and the bytes of each file or of the variables.
    """
    import tensorflow as tf
    from transformers import RobertaConfig

    from components.modeling.library.adapter import as_masked_lm
    from components.modeling.new_model import new_masked_lm
    from serving.graph.bfloat16 import Bfloat16Model
    from serving.graph.language_model import LanguageModel
    from serving.graph.lite.conversion import convert
    from serving.graph.lite.functions import LiteFunctions
    from serving.graph.token_signatures import TokenSignatures
    from serving.lite.interpreter import LiteModel
    from serving.server.models.loading import Loading
    from serving.server.models.saved_model import SavedModel

    class WithoutXnnpack(LiteModel):
        """The same by TensorFlow Lite's own operations alone."""

        def _load(self) -> Any:
            kind = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            loaded = tf.lite.Interpreter(str(path), num_threads=1, experimental_op_resolver_type=kind)
            loaded.allocate_tensors()
            return loaded

    config = RobertaConfig(
        vocab_size=VOCABULARY, num_hidden_layers=layers, max_position_embeddings=514, type_vocab_size=1
    )
    model = as_masked_lm(new_masked_lm(config))
    path = directory / "model.tflite"
    path.write_bytes(convert(LiteFunctions(LanguageModel(model), MASK, 5, 512, None)))
    peers: dict[str, Callable[..., Any]] = {}
    sizes = {"int8": path.stat().st_size}
    for name, form in (("float32", model), ("bfloat16", Bfloat16Model(model))):
        TokenSignatures(form, MASK, top_k=5, max_sequence_length=512).save(directory / name)
        peers[name] = answers_of(SavedModel(directory / name, 600.0, Loading(intra_op_threads=1, inter_op_threads=1)))
        sizes[name] = sum(file.stat().st_size for file in (directory / name / "variables").iterdir())
    return {**peers, "int8": LiteModel(path).tokens, "plain": WithoutXnnpack(path).tokens}, sizes


def answers_of(model: Any) -> Callable[..., Any]:
    """What answers ids and attention mask by a loaded SavedModel."""
    return lambda ids, mask: model.run("tokens", {"input_ids": ids, "attention_mask": mask})


def measure(peers: dict[str, Callable[..., Any]], shape: tuple[int, int], turns: int) -> dict[str, float]:
    """The processor seconds of each one's fastest turn."""
    import numpy as np

    ids = np.random.default_rng(0).integers(5, VOCABULARY - 10, shape).astype(np.int32)
    ids[:, 3] = MASK
    attention_mask = np.ones(shape, np.int32)
    best = dict.fromkeys(peers, float("inf"))
    for _ in range(turns):
        for name, ask in peers.items():
            began = time.process_time()
            ask(ids, attention_mask)
            best[name] = min(best[name], time.process_time() - began)
    return best


if __name__ == "__main__":
    main()
