"""What uploading to the Hub during training costs the training, with a hub that answers at once.

    python benchmarks/upload.py [--rounds 3] [--epochs 4] [--steps 150] [--hidden-size 128]

Each round trains the same model twice in fresh processes, without and with uploads after every epoch, taking turns
in who goes first, so that a busy machine slows both alike. The hub is the tests' own, on loopback, in a process of
its own. Measured are

    seconds     wall-clock time of `fit`, from its first step to its return, final upload included
    processor   processor time of the training process over the same, its upload thread included
    waited      wall-clock time that Keras' thread spent in the callback: what training can't but wait for

Prints a table, then the same as one line of JSON. `waited` over `seconds` is the cost on a machine with a core to
spare for the thread; it doesn't depend on what else the machine does, as a difference of two times would.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

TOKEN = "hf_benchmark"
VOCABULARY, BLOCK_SIZE, BATCH_SIZE = 2048, 64, 8


def main() -> None:
    """Parses the command line, starts the hub and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--epochs", type=int, default=4, help="epochs, each with an upload (default: 4)")
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps an epoch (default: 150)")
    parser.add_argument("--hidden-size", type=int, default=128, help="of the two-layer RoFormer (default: 128)")
    parser.add_argument("--only", choices=("without", "with"), help=argparse.SUPPRESS)
    parser.add_argument("--repo", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = multiprocessing.Pipe()
        hub = multiprocessing.get_context("spawn").Process(target=run_hub, args=(Path(name), theirs), daemon=True)
        hub.start()
        environment = {**os.environ, "HF_ENDPOINT": ours.recv(), "HF_TOKEN": TOKEN, "HF_HOME": name}
        environment.pop("HF_HUB_OFFLINE", None)
        runs: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
        for number in range(arguments.rounds):
            order = ("without", "with") if number % 2 == 0 else ("with", "without")
            for which in order:
                command = [sys.executable, __file__, *sys.argv[1:], "--only", which, "--repo", f"round-{number}"]
                done = subprocess.run(command, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(done.stderr[-3000:])
                runs[which].append(json.loads(done.stdout.splitlines()[-1]))
            seconds = ", ".join(f"{which} {runs[which][-1]['seconds']:.1f} s" for which in runs)
            print(f"round {number + 1}: {seconds}", file=sys.stderr)
        hub.terminate()
        hub.join()
    show(runs)


def run_hub(directory: Path, connection: Connection) -> None:
    """Serves a hub until this process is ended."""
    from tests.loopback_hub.server import Account, serve

    with serve(directory / "hub") as hub:
        hub.accounts[TOKEN] = Account("ada")
        connection.send(hub.endpoint)
        while True:
            time.sleep(60)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains once, with or without uploads."""
    from foundation.keras_choice import choose_keras

    choose_keras()
    import numpy as np
    import tensorflow as tf
    from transformers import create_optimizer

    from components.hub.access import HubTarget
    from components.modeling.checkpoint import build_masked_lm
    from components.publishing.uploads_during_training import UploadsDuringTraining
    from components.training.batches import without_autotune
    from components.training.observer import ObservedTraining
    from components.training.observing import Observing
    from components.training.training_model import MaskedLMTraining
    from tests.loopback_hub.small_artifacts import bpe

    waited = [0.0]

    class Timed(Observing):
        """Counts how long Keras waits for it."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            started = time.perf_counter()
            super().on_epoch_end(epoch, logs)
            waited[0] += time.perf_counter() - started

        def on_train_end(self, logs: Any = None) -> None:
            started = time.perf_counter()
            super().on_train_end(logs)
            waited[0] += time.perf_counter() - started

    class Clock(tf.keras.callbacks.Callback):
        """Starts when the first step, which builds the graph, is over."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if not hasattr(self, "started"):
                self.started, self.processor = time.perf_counter(), time.process_time()

    size = arguments.hidden_size
    tokenizer = bpe()
    sizes = {
        "embedding_size": size,
        "hidden_size": size,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 4 * size,
        "max_position_embeddings": 512,
    }
    model = build_masked_lm("roformer", sizes, tokenizer, seed=1)
    model.resize_token_embeddings(VOCABULARY)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, VOCABULARY, (arguments.steps * BATCH_SIZE, BLOCK_SIZE)).astype(np.int32)
    labels = np.where(rng.random(ids.shape) < 0.15, ids, -100).astype(np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    dataset = without_autotune(tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(BATCH_SIZE).repeat())
    training = MaskedLMTraining(model, predictions=24)
    steps = arguments.steps * arguments.epochs
    training.compile(optimizer=create_optimizer(init_lr=1e-3, num_train_steps=steps, num_warmup_steps=0)[0])
    with tempfile.TemporaryDirectory() as scratch:
        callbacks: list[Any] = [clock := Clock()]
        if arguments.only == "with":
            observed = ObservedTraining(model, tokenizer, Path(scratch))
            uploading = UploadsDuringTraining(HubTarget(arguments.repo), "mit").training_begins(observed)
            callbacks.append(Timed(uploading))
        training.fit(dataset, epochs=arguments.epochs, steps_per_epoch=arguments.steps, callbacks=callbacks, verbose=0)
        result = {
            "seconds": time.perf_counter() - clock.started,
            "processor": time.process_time() - clock.processor,
            "waited": waited[0],
            "parameters": int(model.count_params()),
        }
        if arguments.only == "with":
            result |= {"commits": len(uploading.commits), "failures": uploading.failures}
    return result


def show(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Prints the medians."""
    medians = {
        which: {name: statistics.median(run[name] for run in results) for name in ("seconds", "processor", "waited")}
        for which, results in runs.items()
    }
    last = runs["with"][-1]
    print(f"\n{last['parameters']:,} parameters, {last['commits']} commits, ", end="")
    print(f"medians of {len(runs['with'])} rounds\n\n{'':10}{'seconds':>10}{'processor':>11}{'waited':>9}")
    for which, values in medians.items():
        print(f"{which:10}{values['seconds']:>10.2f}{values['processor']:>11.2f}{values['waited']:>9.2f}")
    facts: dict[str, Any] = {
        **medians,
        "waited_part": medians["with"]["waited"] / medians["with"]["seconds"],
        "slower_part": medians["with"]["seconds"] / medians["without"]["seconds"] - 1,
        "failures": [reason for run in runs["with"] for reason in run["failures"]],
        "parameters": last["parameters"],
    }
    print(f"\ntraining waits for {facts['waited_part']:.2%} of its time, and took {facts['slower_part']:+.1%}\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
