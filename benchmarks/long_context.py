"""A training step of ModernBERT by length: windows by chunks, windows as a mask over all pairs, and PyTorch's classes.

    python benchmarks/long_context.py [--length 512 1024 2048 4096 8192] [--tokens 8192] [--form chunks dense sdpa]

The shape is ModernBERT's at small size: 6 layers x 256, 4 heads, a gate of 384, of which every third layer sees all
tokens and the others 64 on either side; a vocabulary of 8,192 tokens, random weights and tokens, 15% of them masked.
A batch has as many blocks as `--tokens` holds, at least one. A step is the forward and the backward pass in float32,
without an optimizer. The forms:

    chunks      this project's model: windows are computed by chunks
    recomputed  the same with `train.gradient_checkpointing`: the inside of layers is computed again for the gradients
    dense       the same model, each window a mask over all pairs of tokens
    sdpa        PyTorch's ModernBertForMaskedLM with its fused attention, which takes each window as such a mask
    eager       the same with attention as single operations

This project's head is at masked positions only, PyTorch's at all, as their users have them. PyTorch and transformers
are left out where they aren't installed; `--peer-python` names an interpreter of another environment that has them.

Each measurement is a fresh process. Core seconds are its processor time in a step, user and system, the median of
`--steps` after one that doesn't count; the memory is the most that the whole process had (VmHWM), and what of that it
hadn't before the first step. Layers that see all tokens stay quadratic in every form.

Prints a table, then the same as one line of JSON.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training_floor import memory_mib

LENGTHS = (512, 1024, 2048, 4096, 8192)
FORMS = ("chunks", "recomputed", "dense", "sdpa", "eager")
PYTORCHS = ("sdpa", "eager")
PROBABILITY, VOCABULARY = 0.15, 8192
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 384,
    "max_position_embeddings": 8192,
    "pad_token_id": 0,
}


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", nargs="+", type=int, default=list(LENGTHS), help="tokens in a block")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens in a batch (default: 8192)")
    parser.add_argument("--form", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--steps", type=int, default=3, help="steps that count (default: 3)")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter for PyTorch")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        [form], [length] = arguments.form, arguments.length
        measure = pytorch_step if form in PYTORCHS else keras_step
        print(json.dumps(measure(form, max(1, arguments.tokens // length), length, arguments.steps)))
        return
    results: dict[str, dict[int, dict[str, float]]] = {form: {} for form in arguments.form}
    for length in arguments.length:
        for form in list(results):
            facts = in_fresh_process(form, length, arguments)
            if "missing" in facts:
                print(f"{form} is left out: no {facts['missing']}", file=sys.stderr)
                del results[form]
                continue
            results[form][length] = facts
            print(f"{form}, {length} tokens: {facts}", file=sys.stderr)
    print_table(results, arguments.tokens)
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "tokens": arguments.tokens, "forms": results}))


def in_fresh_process(form: str, length: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One measurement."""
    python = arguments.peer_python if form in PYTORCHS else sys.executable
    command = [python, __file__, "--measure", "--form", form, "--length", length]
    command += ["--tokens", arguments.tokens, "--steps", arguments.steps]
    settings = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error"}
    settings.update({"USE_TF": "0"} if form in PYTORCHS else {"USE_TORCH": "0"})
    # On a busy machine PyTorch's threads, which wait by spinning, would count the waiting as work.
    settings["OMP_WAIT_POLICY"] = "passive"
    environment = {**os.environ, **settings}
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return dict(json.loads(result.stdout.splitlines()[-1]))


def batch(rows: int, length: int) -> tuple[Any, Any]:
    """Random tokens, (rows, length) int32, and the positions to predict, (rows, predictions) int32."""
    import numpy as np

    random = np.random.default_rng(0)
    count = round(PROBABILITY * length)
    asked = np.stack([np.sort(random.choice(length, count, replace=False)) for _ in range(rows)])
    return random.integers(5, VOCABULARY, (rows, length), np.int32), asked.astype(np.int32)


def timed(step: Callable[[], float], steps: int, tokens: int) -> dict[str, float]:
    """What a step takes; it answers its loss, and so ends when that is there."""
    before = memory_mib("VmHWM")
    loss, times, core_times = step(), [], []
    for _ in range(steps):
        start, core_start = time.perf_counter(), time.process_time()
        step()
        times.append(time.perf_counter() - start)
        core_times.append(time.process_time() - core_start)
    return {
        "core_seconds": round(statistics.median(core_times), 3),
        "tokens_per_second": round(tokens / statistics.median(times), 1),
        "peak_mib": memory_mib("VmHWM"),
        "step_mib": memory_mib("VmHWM") - before,
        "loss": round(loss, 4),
    }


def keras_step(form: str, rows: int, length: int, steps: int) -> dict[str, Any]:
    """This project's model."""
    from foundation.keras_choice import choose_keras

    choose_keras()

    import tensorflow as tf
    from transformers import ModernBertConfig

    from components.modeling.encoder import local_attention
    from components.modeling.new_model import new_masked_lm

    if form == "dense":
        local_attention.SHORT = length  # in chunks: every block is one
    model = new_masked_lm(ModernBertConfig(**SHAPE))
    ids, asked = map(tf.constant, batch(rows, length))

    @tf.function(autograph=False)
    def gradients() -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            inputs = {"input_ids": ids, "attention_mask": tf.ones_like(ids)}
            logits = model.logits_at(inputs, asked, recomputed=form == "recomputed", fused=True)
            labels = tf.gather(ids, asked, batch_dims=1)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        return loss, tape.gradient(loss, model.trainable_variables)

    return timed(lambda: float(gradients()[0]), steps, rows * length)


def pytorch_step(form: str, rows: int, length: int, steps: int) -> dict[str, Any]:
    """PyTorch's class."""
    if importlib.util.find_spec("torch") is None:
        return {"missing": "torch"}
    import torch
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = ModernBertConfig(**SHAPE, attn_implementation=form, reference_compile=False)
    model = ModernBertForMaskedLM(config).train()
    ids, asked = (torch.tensor(array, dtype=torch.long) for array in batch(rows, length))
    labels = torch.full_like(ids, -100).scatter(1, asked, ids.gather(1, asked))

    def step() -> float:
        model.zero_grad(set_to_none=True)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        return loss.item()

    return timed(step, steps, rows * length)


def print_table(results: dict[str, dict[int, dict[str, float]]], tokens: int) -> None:
    """A row a length and form."""
    print(f"\nModernBERT, {SHAPE['num_hidden_layers']} layers x {SHAPE['hidden_size']}, {tokens} tokens a step\n")
    heads = f"{'length':>8}  {'form':12}{'core s/step':>12}{'tokens/s':>10}"
    print(f"{heads}{'chunks is':>11}{'peak MiB':>10}{'step MiB':>10}")
    for length in sorted({length for lengths in results.values() for length in lengths}):
        for form, facts in ((form, lengths[length]) for form, lengths in results.items() if length in lengths):
            chunks = results.get("chunks", {}).get(length)
            ratio = f"{facts['core_seconds'] / chunks['core_seconds']:.2f}x" if chunks else ""
            print(
                f"{length:>8,}  {form:12}{facts['core_seconds']:>12.2f}{facts['tokens_per_second']:>10,.0f}{ratio:>11}"
                f"{facts['peak_mib']:>10,}{facts['step_mib']:>10,}"
            )


if __name__ == "__main__":
    main()
