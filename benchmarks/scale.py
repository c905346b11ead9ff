"""What several workers gain over one.

    python benchmarks/scale.py [--parts train preprocess fill overhead] [--workers 2] [--rounds 2]
                               [--shape a b] [--steps 9] [--only one several] [--megabytes 200]

Parts:

    train   a step of training, of 16 blocks (`--blocks`) of 128 tokens, on the shapes of benchmarks/train.py
            (vocabulary of 50,265 tokens, 15% masked, random weights), in float32:
                one        one process with all cores (`Train.run`)
                several    as many processes as there are workers, which share the cores and each batch
                           (`Train.run_with`)
                one_core   one process with as many cores as one worker has
                guide_tf   the same workers, with the TensorFlow code of the masked language modeling guide under
                           `tf.distribute.MultiWorkerMirroredStrategy`, whose head runs at every position
                           (https://huggingface.co/docs/transformers/tasks/masked_language_modeling)
                sums       no training: the sum of a step's gradients over the workers, alone

    preprocess  a corpus of so many megabytes to blocks: by one process without Ray, and on Ray by one and by several,
            each with a core (`Preprocess.run_with`). The steady rate leaves out what starts Ray and its processes; the
            driver's is of the processor time of the process that fills the blocks.
    fill    tokens into blocks and onto the disk, which one process does, in its processor time: the most that any
            number of workers can come to
    overhead  what Ray takes of a quickstart with one epoch, up to evaluate, beside the local runner

The workers are processes of this machine, which find each other on 127.0.0.1. Each measurement has fresh processes, and
the contestants take turns. The step rate is one over the median time between the ends of two batches, without the first
three; core seconds are the processor time of all processes, which a busy machine bends less.

Prints a table a part, then all as one line of JSON.
"""

import argparse
import dataclasses
import json
import os
import pickle
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()

from benchmarks.scale_text import fill_part, overhead_part, preprocess_part, print_rates
from benchmarks.train import (
    EPOCHS,
    LEARNING_RATE,
    WEIGHT_DECAY,
    Clock,
    config_object,
    config_values,
    keras_clock,
    load_data,
    make_data,
)
from benchmarks.training_floor import BATCH_SIZE, BLOCK_SIZE, PROBABILITY, SHAPES
from components.contract.artifacts import Blocks
from components.contract.workers import THIS_PROCESS, Item, Member, Result, State

CLOCK = "CLOCK_FILE"
"""The environment variable that says where a process writes what its clock measured."""
SUMS = 12


class TrainOnly(Blocks):
    """The blocks, and an empty test split, which can't be saved."""

    def split(self, name: str) -> Any:
        """See `Blocks`."""
        blocks = super().split("train")
        return blocks if name == "train" else blocks.select([])


@dataclasses.dataclass
class Processes:
    """Workers that are processes of this machine, each of which notes the times of its steps.

    Attributes:
        count: How many.
        environment: What is set in each.
        clocks: What they noted.
    """

    count: int
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    clocks: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `components.contract.workers.Workers`; here, this process does it."""
        return THIS_PROCESS.map(prepare, function, items)

    def together(self, function: Callable[[Member], object]) -> None:
        """See `components.contract.workers.Workers`; one that dies ends all."""
        sockets = [socket.socket() for _ in range(self.count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        cluster = {"worker": [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]}
        for each in sockets:
            each.close()
        with tempfile.TemporaryDirectory() as name:
            files = [Path(name) / str(rank) for rank in range(self.count)]
            processes = []
            for rank, file in enumerate(files):
                file.write_bytes(pickle.dumps((function, Member(rank, self.count))))
                told = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
                environment = {**os.environ, **self.environment, "TF_CONFIG": told, CLOCK: f"{file}.json"}
                command = [sys.executable, __file__, "--member", str(file)]
                processes.append(subprocess.Popen(command, env=environment, stdout=sys.stderr))
            codes = [process.wait() for process in processes]
            if any(codes):
                raise RuntimeError(f"the processes ended with {codes}")
            self.clocks = [json.loads(Path(f"{file}.json").read_text()) for file in files]


def work_as_member(file: Path) -> None:
    """Calls the function in a file, with every training under a clock."""
    import tensorflow as tf

    from components.training import fit

    clock = Clock()

    class TimedTraining(fit.MaskedLMTraining):
        """The training, with the clock as its last callback."""

        def fit(self, *arguments: Any, callbacks: list[Any], **named: Any) -> Any:
            return super().fit(*arguments, callbacks=[*callbacks, keras_clock(clock, tf.keras)], **named)

    fit.MaskedLMTraining = TimedTraining
    function, member = pickle.loads(file.read_bytes())
    facts = function(member)
    Path(os.environ[CLOCK]).write_text(json.dumps(facts or clock.facts()))


@dataclasses.dataclass(frozen=True)
class GuideTraining:
    """The guide's TensorFlow code in each of the processes; its batch is that of all."""

    shape: str
    folder: Path
    blocks: int

    def __call__(self, member: Member) -> dict[str, Any]:
        """Trains."""
        import tensorflow as tf
        from transformers import AdamWeightDecay, DataCollatorForLanguageModeling, TFAutoModelForMaskedLM

        from components.training.members import cores_of_each

        cores = cores_of_each(json.loads(os.environ["TF_CONFIG"]), member.rank)
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        train, tokenizer = load_data(self.folder)
        collator = DataCollatorForLanguageModeling(
            tokenizer=tokenizer, mlm_probability=PROBABILITY, return_tensors="tf"
        )
        clock = Clock()
        with strategy.scope():
            model = TFAutoModelForMaskedLM.from_config(config_object(self.shape))
            dataset = model.prepare_tf_dataset(train, shuffle=True, batch_size=self.blocks, collate_fn=collator)
            options = tf.data.Options()
            options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
            model.compile(optimizer=AdamWeightDecay(learning_rate=LEARNING_RATE, weight_decay_rate=WEIGHT_DECAY))
            model.fit(dataset.with_options(options), epochs=EPOCHS, callbacks=[keras_clock(clock, tf.keras)], verbose=0)
        clock.trained()
        return clock.facts()


@dataclasses.dataclass(frozen=True)
class Sums:
    """The sum of as many bytes as a step's gradients have, in each of the processes."""

    sizes: tuple[int, ...]

    def __call__(self, member: Member) -> dict[str, Any]:
        """Sums."""
        import tensorflow as tf

        from components.training.members import SeveralMembers
        from components.training.replicas import sum_over_replicas

        strategy = SeveralMembers(member).strategy
        gradients = [tf.ones(size) for size in self.sizes]

        @tf.function
        def summed() -> tf.Tensor:
            sums = strategy.run(lambda: sum_over_replicas(gradients))
            return tf.add_n([each[0] for each in sums])

        seconds, core_seconds = [], []
        for _ in range(SUMS):
            started, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
            summed().numpy()
            seconds.append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_SELF)
            core_seconds.append(after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime)
        return {"seconds": seconds[2:], "core_seconds": core_seconds[2:], "peak_mib": 0}


def train_on(workers: Processes, shape: str, folder: Path, blocks: int) -> dict[str, Any]:
    """Trains with workers; what their clocks noted, and the report's execution."""
    from components.contract.artifacts import Tokenizer
    from components.train import Train
    from components.training.params import TrainParams

    params = TrainParams(
        model_type=SHAPES[shape]["model_type"],
        model_config=config_values(shape),
        epochs=EPOCHS,
        batch_size=blocks,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        mlm_probability=PROBABILITY,
        precision="float32",
        checkpoint_every_steps=None,
    )
    with tempfile.TemporaryDirectory() as out:
        Train(TrainOnly(folder / "blocks"), Tokenizer(folder / "tokenizer"), params).run_with(Path(out), workers)
        return dict(json.loads((Path(out) / "report.json").read_text())["execution"])


def gradient_sizes(shape: str) -> tuple[int, ...]:
    """The numbers of each weight of a model, the output layer's aside, which are the embedding's."""
    from transformers import TFAutoModelForMaskedLM

    model = TFAutoModelForMaskedLM.from_config(config_object(shape))
    model(model.dummy_inputs)
    return tuple(int(weight.shape.num_elements()) for weight in model.trainable_variables)


def train_part(arguments: argparse.Namespace) -> dict[str, Any]:
    """A step of training by one process and by several."""
    return {shape: train_shape(shape, arguments) for shape in arguments.shape}


def train_shape(shape: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What each contestant came to."""
    cores = max(1, len(os.sched_getaffinity(0)) // arguments.workers)
    facts: dict[str, list[dict[str, Any]]] = {name: [] for name in arguments.only}
    gradient_bytes = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder, arguments.steps * arguments.blocks // BATCH_SIZE)
        for number in range(arguments.rounds):
            for contestant in arguments.only:
                workers = Processes(1 if contestant in ("one", "one_core") else arguments.workers)
                if contestant == "one_core":
                    workers.environment = {"TF_NUM_INTRAOP_THREADS": str(cores), "TF_NUM_INTEROP_THREADS": str(cores)}
                if contestant == "guide_tf":
                    workers.together(GuideTraining(shape, folder, arguments.blocks))
                elif contestant == "sums":
                    workers.together(Sums(gradient_sizes(shape)))
                else:
                    gradient_bytes = train_on(workers, shape, folder, arguments.blocks).get("gradient_bytes")
                facts[contestant].append(together(workers.clocks))
                rate = arguments.blocks * BLOCK_SIZE / facts[contestant][-1]["seconds"]
                print(f"shape {shape}, round {number + 1}, {contestant}: {rate:,.0f} tokens/s", file=sys.stderr)
    found = {
        name: {
            figure: statistics.median(run[figure] for run in runs) for figure in ("seconds", "core_seconds", "peak_mib")
        }
        for name, runs in facts.items()
    }
    tokens = arguments.blocks * BLOCK_SIZE
    return {"workers": arguments.workers, "tokens": tokens, "gradient_bytes": gradient_bytes, "contestants": found}


def together(clocks: list[dict[str, Any]]) -> dict[str, Any]:
    """The chief's seconds a step, all processes' core seconds, and the memory of the largest."""
    return {
        "seconds": statistics.median(clocks[0]["seconds"]),
        "core_seconds": sum(statistics.median(clock["core_seconds"]) for clock in clocks),
        "peak_mib": max(clock["peak_mib"] for clock in clocks),
    }


def print_train(results: dict[str, Any]) -> None:
    """A table a shape."""
    for shape, found in results.items():
        several, tokens = found["workers"], found["tokens"]
        size = (found["gradient_bytes"] or 0) / 2**20
        print(f"\ntrain, shape {shape}: {several} workers, {tokens:,} tokens and {size:,.1f} MiB of gradients a step")
        print(f"{'':<10}{'tokens/s':>10}{'of one':>8}{'s a step':>10}{'core s':>9}{'peak MiB':>10}")
        one = found["contestants"].get("one")
        for name, figures in found["contestants"].items():
            rate = tokens / figures["seconds"]
            share = f"{one['seconds'] / figures['seconds']:.2f}" if one else ""
            print(
                f"{name:<10}{rate:>10,.0f}{share:>8}{figures['seconds']:>10.3f}{figures['core_seconds']:>9.3f}"
                f"{figures['peak_mib']:>10,.0f}"
            )


PARTS: dict[str, tuple[Callable[[argparse.Namespace], dict[str, Any]], Callable[[dict[str, Any]], None]]] = {
    "train": (train_part, print_train),
    "preprocess": (preprocess_part, print_rates("preprocess, seconds and tokens a second")),
    "fill": (fill_part, print_rates("fill, tokens a second of processor time")),
    "overhead": (overhead_part, print_rates("overhead, seconds")),
}
"""What measures each part, and what prints it."""
TRAIN_CONTESTANTS = ("one", "several", "one_core", "guide_tf", "sums")


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shape", nargs="+", choices=("a", "b"), default=["a", "b"])
    parser.add_argument("--workers", type=int, default=2, help="processes that train together (default: 2)")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each contestant (default: 2)")
    parser.add_argument("--steps", type=int, default=9, help="steps of each of the two epochs (default: 9)")
    parser.add_argument("--blocks", type=int, default=BATCH_SIZE, help="blocks of a step (default: %(default)s)")
    parser.add_argument("--megabytes", type=int, default=200, help="text for preprocess (default: 200)")
    parser.add_argument("--only", nargs="+", choices=TRAIN_CONTESTANTS, default=list(TRAIN_CONTESTANTS))
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member:
        work_as_member(arguments.member)
        return
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    results = {}
    for name in arguments.parts:
        measure, show = PARTS[name]
        results[name] = measure(arguments)
        show(results[name])
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "parts": results}))


if __name__ == "__main__":
    main()
