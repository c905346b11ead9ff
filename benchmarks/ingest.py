"""The ingest step beside `datasets.load_dataset`, and ingest with preprocess beside the raw tokenizer.

    python benchmarks/ingest.py [--megabytes 40] [--rounds 3] [--formats jsonl json csv parquet text]

For each format, the same records (the embedded corpus, repeated, with an id, a title, a date and numbers) are read by

    reader    our reader of that format, into one Arrow file: what `datasets` does
    datasets  `load_dataset("json" | "csv" | "parquet" | "text")` with an empty cache
    pipeline  the ingest step (with its split, statistics and digests), then preprocess
    limit     `tokenizers.Tokenizer.encode_batch_fast` on the same texts, held in memory; results thrown away

Every measurement is a fresh process; they take turns, so that a busy machine slows all alike. Times leave imports out.
Peak memory is the most resident memory of the reader's process (VmHWM), with the file once and four times as long; the
pages of memory-mapped files count in it. Prints a table, then the same as one line of JSON.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before `datasets` is imported; the processes started below inherit it.
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", DATASETS_VERBOSITY="error")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()

from components.blocks.encoding import untruncated
from components.contract import manifest
from components.contract.artifacts import Corpus, Tokenizer
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess, PreprocessParams
from components.sources.local import LocalFiles
from components.tokenizer import PrepareTokenizer, TokenizerParams

FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet", "text": "text"}
"""The formats, and how `datasets` calls their reader."""
CONTESTANTS = ("reader", "datasets", "pipeline", "limit")
TIMES_AS_LONG = 4


def main() -> None:
    """Parses the command line, writes the files and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=40, help="the size of each file, about (default: 40)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.file, arguments.tokenizer)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.megabytes * 10**6)
        rows = [compare(kind, folder, arguments.rounds) for kind in arguments.formats]
    print_table(rows)
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "formats": rows}))


def prepare(folder: Path, size: int) -> None:
    """Writes the file of each format, once and `TIMES_AS_LONG` times as long, and trains the tokenizer."""
    import pyarrow
    import pyarrow.parquet

    (folder / "embedded").mkdir()
    Ingest(IngestParams()).run(folder / "embedded")
    (folder / "tokenizer").mkdir()
    PrepareTokenizer(Corpus(folder / "embedded"), "answers.text", TokenizerParams()).run(folder / "tokenizer")
    texts = [" ".join(record["answers"]["text"]) for record in Corpus(folder / "embedded").split("train")]
    once = list(records_of(texts, size))
    for name, records in (("once", once), ("longer", once * TIMES_AS_LONG)):
        (folder / name).mkdir()
        with open(folder / name / "a.jsonl", "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(record) + "\n" for record in records)
        with open(folder / name / "a.json", "w", encoding="utf-8") as array:
            json.dump(records, array)
        with open(folder / name / "a.csv", "w", encoding="utf-8", newline="") as table:
            writer = csv.DictWriter(table, list(records[0]))
            writer.writeheader()
            writer.writerows(records)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), folder / name / "a.parquet")
        with open(folder / name / "a.text.txt", "w", encoding="utf-8") as lines:
            lines.writelines(record["text"].replace("\n", " ") + "\n" for record in records)


def records_of(texts: list[str], size: int) -> Iterator[dict[str, Any]]:
    """Records with texts and small fields, of about so many bytes together."""
    number = written = 0
    while written < size:
        text = texts[number % len(texts)]
        yield {
            "id": f"q{number}",
            "title": text[:40].replace("\n", " "),
            "date": f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            "score": number % 97,
            "weight": number / 7,
            "text": text,
        }
        number += 1
        written += len(text) + 120


def compare(kind: str, folder: Path, rounds: int) -> dict[str, Any]:
    """The figures of one format."""
    name = "a.text.txt" if kind == "text" else f"a.{kind}"
    runs: dict[str, list[dict[str, Any]]] = {contestant: [] for contestant in CONTESTANTS}
    for _ in range(rounds):
        for contestant in CONTESTANTS:
            runs[contestant].append(in_fresh_process(contestant, folder / "once" / name, folder / "tokenizer"))
    seconds = {contestant: statistics.median(run["seconds"] for run in runs[contestant]) for contestant in CONTESTANTS}
    longer = in_fresh_process("reader", folder / "longer" / name, folder / "tokenizer")
    print(f"{kind}: {seconds}", file=sys.stderr)
    return {
        "format": kind,
        "megabytes": round((folder / "once" / name).stat().st_size / 1e6, 1),
        "seconds": {contestant: round(value, 3) for contestant, value in seconds.items()},
        "reader_over_datasets": round(seconds["datasets"] / seconds["reader"], 2),
        "pipeline_over_limit": round(seconds["limit"] / seconds["pipeline"], 2),
        "ingest_seconds": round(statistics.median(run["ingest"] for run in runs["pipeline"]), 3),
        "peak_mib": max(run["peak_mib"] for run in runs["reader"]),
        "peak_mib_longer": longer["peak_mib"],
    }


def in_fresh_process(contestant: str, file: Path, tokenizer: Path) -> dict[str, Any]:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--only", contestant, "--file", str(file), "--tokenizer", str(tokenizer)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(contestant: str, file: Path, tokenizer: Path) -> dict[str, Any]:
    """Seconds and peak memory of one contestant."""
    import datasets
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        out = Path(name)
        start = time.perf_counter()
        if contestant == "reader":
            LocalFiles(str(file)).load(out)
        elif contestant == "datasets":
            kind = FORMATS["text" if file.suffix == ".txt" else file.suffix[1:]]
            datasets.load_dataset(kind, data_files=str(file), cache_dir=str(out))
        elif contestant == "pipeline":
            facts["ingest"] = run_pipeline(file, tokenizer, out)
        else:
            facts["seconds"] = run_limit(file, tokenizer, out)
        facts.setdefault("seconds", time.perf_counter() - start)
    return {**facts, "peak_mib": peak_mib()}


def run_pipeline(file: Path, tokenizer: Path, out: Path) -> float:
    """Ingest, then preprocess; returns the seconds of ingest."""
    start = time.perf_counter()
    for name in ("corpus", "blocks"):
        (out / name).mkdir()
    step = Ingest(IngestParams(path=str(file)))
    manifest.digest_of(dict(step.sources()))
    step.run(out / "corpus")
    seconds = time.perf_counter() - start
    Preprocess(Corpus(out / "corpus"), Tokenizer(tokenizer), PreprocessParams("text")).run(out / "blocks")
    return seconds


def run_limit(file: Path, tokenizer: Path, out: Path) -> float:
    """The Rust tokenizer alone: 1,000 texts at a time, which are already Python strings."""
    texts = LocalFiles(str(file)).load(out).dataset["text"][:]
    backend = untruncated(Tokenizer(tokenizer).load())
    start = time.perf_counter()
    for first in range(0, len(texts), 1000):
        backend.encode_batch_fast(texts[first : first + 1000])
    return time.perf_counter() - start


def peak_mib() -> int:
    """The most resident memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


def print_table(rows: list[dict[str, Any]]) -> None:
    """The figures for people."""
    print(
        f"\n{'':10}{'MB':>6}{'reader':>10}{'datasets':>10}{'ratio':>8}{'pipeline':>10}{'limit':>8}{'ratio':>8}{'MiB':>7}",
        end="",
    )
    print(f"{f'x{TIMES_AS_LONG}':>7}")
    for row in rows:
        seconds = row["seconds"]
        print(
            f"{row['format']:10}{row['megabytes']:>6.0f}{seconds['reader']:>8.2f} s{seconds['datasets']:>8.2f} s"
            f"{row['reader_over_datasets']:>8.2f}{seconds['pipeline']:>8.2f} s{seconds['limit']:>6.2f} s"
            f"{row['pipeline_over_limit']:>8.2f}{row['peak_mib']:>7}{row['peak_mib_longer']:>7}"
        )
    print()


if __name__ == "__main__":
    main()
