"""The parts of benchmarks/scale.py that are about text, and about what Ray itself takes. See there."""

import argparse
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from components.blocks.encoding import Encoded
from components.blocks.packing import layout_of
from components.blocks.params import PreprocessParams
from components.blocks.segments import fill
from components.blocks.writer import BlockWriter, RecordWriter
from components.config.runner_settings import RayParams
from components.contract.artifacts import Corpus, Tokenizer
from components.contract.workers import THIS_PROCESS, Item, Member, Result, State, Workers
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams

ROOT = Path(__file__).resolve().parent.parent
BLOCK_SIZE = 128
FILLED_BATCHES = 200


class Watched:
    """Workers, with the times at which their results came; also one worker alone is given the work.

    Args:
        workers: Who works.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.started = workers.count
        self.count = max(2, workers.count)
        self.results: list[tuple[float, int]] = []
        """When each came, and how many tokens it has."""

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `components.contract.workers.Workers`."""
        for result in self._workers.map(prepare, function, items):
            tokens = sum(len(batch.token_ids) for batch in result.batches)
            self.results.append((time.perf_counter(), tokens))
            yield result

    def together(self, function: Callable[[Member], None]) -> None:
        """See `components.contract.workers.Workers`."""
        self._workers.together(function)


def preprocess_part(arguments: argparse.Namespace) -> dict[str, Any]:
    """Text to blocks by one process, by one worker on Ray, and by several."""
    from runners.ray.workers import RayWorkers

    runs: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, tokenizer = corpus_of(folder, arguments.megabytes)
        for number in range(arguments.rounds):
            for count in (0, 1, arguments.workers):
                contestant = f"ray, {count}" if count else "alone"
                out = folder / f"{number}-{count}"
                out.mkdir()
                step = Preprocess(corpus, tokenizer, PreprocessParams(text_column="text", block_size=BLOCK_SIZE))
                if count:
                    with RayWorkers(RayParams(workers=count)) as workers:
                        facts = timed(step, out, Watched(workers))
                else:
                    facts = timed(step, out, THIS_PROCESS)
                runs.setdefault(contestant, []).append(facts)
                print(f"preprocess, round {number + 1}, {contestant}: {facts}", file=sys.stderr)
    return {
        name: {figure: statistics.median(run[figure] for run in facts) for figure in facts[0]}
        for name, facts in runs.items()
    }


def timed(step: Preprocess, out: Path, workers: Workers) -> dict[str, float]:
    """Seconds in all; tokens a second in all, of this process' processor time, and of workers once they have begun."""
    started, used = time.perf_counter(), time.process_time()
    step.run_with(out, workers)
    seconds, used = time.perf_counter() - started, time.process_time() - used
    splits = json.loads((out / "report.json").read_text("utf-8"))["splits"]
    tokens = sum(split["tokens"] for split in splits.values())
    facts = {
        "seconds": seconds,
        "rate": tokens / seconds,
        "driver_rate": tokens / used,
        "steady_rate": tokens / seconds,
    }
    if isinstance(workers, Watched):
        # From the time when each worker has given something: what starts processes is left out.
        begun, results = workers.started, workers.results
        seconds = results[-1][0] - results[begun - 1][0]
        facts["steady_rate"] = sum(tokens for _, tokens in results[begun:]) / seconds
    return facts


def corpus_of(folder: Path, megabytes: int) -> tuple[Corpus, Tokenizer]:
    """The embedded corpus' paragraphs, each time with its words in another order, until they are so many bytes."""
    from components.contract import manifest

    (folder / "embedded").mkdir()
    Ingest(IngestParams()).run(folder / "embedded")
    manifest.write(folder / "embedded", {"type": "Corpus"})
    embedded = Corpus(folder / "embedded")
    texts = [" ".join(record["answers"]["text"]) for record in embedded.split("train")]
    chance = random.Random(1)
    (folder / "text").mkdir()
    written = 0
    with open(folder / "text" / "all.jsonl", "w", encoding="utf-8") as file:
        for number in itertools.cycle(range(len(texts))):
            words = texts[number].split(" ")
            chance.shuffle(words)
            written += file.write(json.dumps({"text": " ".join(words)}) + "\n")
            if written >= megabytes << 20:
                break
    kinds = ((Ingest(IngestParams(path=str(folder / "text"), test_size=0.001)), Corpus, "corpus"),)
    for step, kind, name in kinds:
        (folder / name).mkdir()
        step.run(folder / name)
        manifest.write(folder / name, {"type": kind.__name__})
    corpus = Corpus(folder / "corpus")
    (folder / "tokenizer").mkdir()
    PrepareTokenizer(embedded, "answers.text", TokenizerParams(vocab_size=8000)).run(folder / "tokenizer")
    manifest.write(folder / "tokenizer", {"type": "Tokenizer"})
    return corpus, Tokenizer(folder / "tokenizer")


def fill_part(arguments: argparse.Namespace) -> dict[str, Any]:
    """How fast one process puts tokens into blocks and writes them: what workers are bounded by."""
    chance = np.random.default_rng(0)
    lengths = chance.integers(20, 400, 1000).astype(np.int32)
    token_ids = chance.integers(0, 50_000, int(lengths.sum())).astype(np.int32)
    batch = Encoded(token_ids, lengths, lengths * 4, lengths * 4)
    found = {}
    for packing in ("concatenate", "documents", "packed"):
        rates = []
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as name:
                layout, started = layout_of(packing, BLOCK_SIZE, 1), time.process_time()
                with (
                    BlockWriter(Path(name) / "train", BLOCK_SIZE, packing == "packed") as writer,
                    RecordWriter(Path(name) / "records.arrow") as records,
                ):
                    batches = itertools.repeat(batch, FILLED_BATCHES)
                    tokens = fill(batches, layout, writer, records, itertools.count())
                    left = layout.finish()
                    writer.write(left.input_ids, left.document_ids)
                rates.append(tokens / (time.process_time() - started))
        found[packing] = {"rate": statistics.median(rates)}
    return found


def overhead_part(arguments: argparse.Namespace) -> dict[str, Any]:
    """The quickstart with one epoch, up to evaluate, by the local runner and by one worker on Ray with all cores."""
    cores = len(os.sched_getaffinity(0))
    runners = {"local": [], "ray": ["--ray.workers", "1", "--ray.cpus_per_worker", str(cores)]}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(arguments.rounds):
        for runner, options in runners.items():
            with tempfile.TemporaryDirectory() as root:
                command = [sys.executable, str(ROOT / "pipeline.py"), "--runner", runner, *options, "--root", root]
                started = time.perf_counter()
                subprocess.run(
                    [*command, "--until", "evaluate", "--train.epochs", "1"], check=True, stdout=subprocess.DEVNULL
                )
                seconds[runner].append(time.perf_counter() - started)
                print(f"overhead, {runner}: {seconds[runner][-1]:.1f} s", file=sys.stderr)
    found = {name: {"seconds": statistics.median(each)} for name, each in seconds.items()}
    return {**found, "overhead": {"seconds": found["ray"]["seconds"] - found["local"]["seconds"]}}


def print_rates(title: str) -> Callable[[dict[str, Any]], None]:
    """What prints a part's figures under a title."""

    def show(results: dict[str, Any]) -> None:
        print(f"\n{title}")
        for name, figures in results.items():
            print(f"  {name:<12}" + "".join(f"{figure} {value:<16,.1f}" for figure, value in figures.items()))

    return show
