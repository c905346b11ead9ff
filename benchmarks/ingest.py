"""The ingest step beside `datasets.load_dataset`, and ingest with preprocess beside the raw tokenizer.

    python benchmarks/ingest.py [--megabytes 20] [--rounds 3] [--records short long]
                                [--formats jsonl json csv parquet text]

For each format, the same records (a text with an id, a title, a date and numbers) are read by

    reader    our reader of that format, into one Arrow file: what `datasets` does
    datasets  `load_dataset("json" | "csv" | "parquet" | "text")` with an empty cache
    pipeline  the ingest step (with its split, statistics and digests), then preprocess: from the file to blocks
    raw       `tokenizers.Tokenizer.encode_batch_fast` on the same texts, 1,000 at a time, which are Python strings in
              memory already, with all cores; results thrown away

The records are of two kinds. Short ones are the paragraphs of the embedded corpus, repeated as often as needed. Long
ones, of about 1,600 characters as those of ELI5, are cut from the docstrings of the installed packages, and none is
repeated: preprocess tokenizes each different word once, so that repeated text would flatter it. Code in docstrings has
more different words than prose.

Every measurement is a fresh process; they take turns, so that a busy machine slows all alike. Times leave imports out.
Beside the times of the clock stand those of the processor, of all threads together, which a busy machine changes less.
The raw tokenizer uses all cores, most of the pipeline one, so the first ratio depends on how many there are.
Peak memory is the most resident memory of a process (VmHWM), that of the reader and of the pipeline, with the file once
and four times as long; the pages of memory-mapped files count in it. Prints a table, then the same as a line of JSON.
"""

import argparse
import ast
import csv
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
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
from components.blocks.params import PreprocessParams
from components.contract import manifest
from components.contract.artifacts import Corpus, Tokenizer
from components.ingest import Ingest, IngestParams
from components.preprocess import Preprocess
from components.sources.local import LocalFiles
from components.tokenizer import PrepareTokenizer, TokenizerParams

FORMATS = {"jsonl": "json", "json": "json", "csv": "csv", "parquet": "parquet", "text": "text"}
"""The formats, and how `datasets` calls their reader."""
CONTESTANTS = ("reader", "datasets", "pipeline", "raw")
RECORDS = ("short", "long")
LONG_CHARACTERS = 1600
TIMES_AS_LONG = 4


def main() -> None:
    """Parses the command line, writes the files and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=20, help="the size of each file, about (default: 20)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--records", nargs="+", choices=RECORDS, default=list(RECORDS))
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tokenizer", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.file, arguments.tokenizer)))
        return
    rows = []
    for records in arguments.records:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder, records, arguments.megabytes * 10**6, arguments.formats)
            rows += [{"records": records, **compare(kind, folder, arguments.rounds)} for kind in arguments.formats]
    print_table(rows)
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "formats": rows}))


def prepare(folder: Path, kind: str, size: int, formats: list[str]) -> None:
    """Writes the file of each format, once and `TIMES_AS_LONG` times as long, and trains the tokenizer."""
    import pyarrow
    import pyarrow.parquet

    (folder / "embedded").mkdir()
    Ingest(IngestParams()).run(folder / "embedded")
    (folder / "tokenizer").mkdir()
    PrepareTokenizer(Corpus(folder / "embedded"), "answers.text", TokenizerParams()).run(folder / "tokenizer")
    if kind == "short":
        paragraphs = [" ".join(record["answers"]["text"]) for record in Corpus(folder / "embedded").split("train")]
        texts: Iterator[str] = itertools.cycle(paragraphs)
    else:
        texts = cut_docstrings()
    once = list(records_of(texts, size))
    for name, records in (("once", once), ("longer", once * TIMES_AS_LONG)):
        (folder / name).mkdir()
        for form in formats:
            path = folder / name / file_of(form)
            if form == "parquet":
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
                continue
            with open(path, "w", encoding="utf-8", newline="") as file:
                if form == "jsonl":
                    file.writelines(json.dumps(record) + "\n" for record in records)
                elif form == "json":
                    json.dump(records, file)
                elif form == "csv":
                    writer = csv.DictWriter(file, list(records[0]))
                    writer.writeheader()
                    writer.writerows(records)
                else:
                    file.writelines(record["text"].replace("\n", " ") + "\n" for record in records)


def file_of(form: str) -> str:
    """The name of the file of a format."""
    return "a.text.txt" if form == "text" else f"a.{form}"


def cut_docstrings() -> Iterator[str]:
    """The docstrings of the installed packages, each once, in pieces of about `LONG_CHARACTERS` characters."""
    seen = set()
    for path in sorted(Path(sysconfig.get_paths()["purelib"]).rglob("*.py")):
        try:
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        except (SyntaxError, ValueError, OSError):
            continue
        text = ""
        for node in nodes:
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            found = ast.get_docstring(node) or ""
            if found in seen or "\0" in found:  # no file of text may hold zero bytes
                continue
            seen.add(found)
            text += found + "\n\n"
            if len(text) >= LONG_CHARACTERS:
                yield text[:LONG_CHARACTERS]
                text = ""


def records_of(texts: Iterator[str], size: int) -> Iterator[dict[str, Any]]:
    """Records with texts and small fields, of about so many bytes together, or fewer where the texts end."""
    written = 0
    for number, text in enumerate(texts):
        yield {
            "id": f"q{number}",
            "title": text[:40].replace("\n", " "),
            "date": f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}",
            "score": number % 97,
            "weight": number / 7,
            "text": text,
        }
        written += len(text) + 120
        if written >= size:
            return


def compare(kind: str, folder: Path, rounds: int) -> dict[str, Any]:
    """The figures of one format."""
    name = file_of(kind)
    runs: dict[str, list[dict[str, Any]]] = {contestant: [] for contestant in CONTESTANTS}
    for _ in range(rounds):
        for contestant in CONTESTANTS:
            runs[contestant].append(in_fresh_process(contestant, folder / "once" / name, folder / "tokenizer"))
    seconds, processor = (
        {contestant: statistics.median(run[clock] for run in runs[contestant]) for contestant in CONTESTANTS}
        for clock in ("seconds", "processor")
    )
    longer = {
        contestant: in_fresh_process(contestant, folder / "longer" / name, folder / "tokenizer")["peak_mib"]
        for contestant in ("reader", "pipeline")
    }
    print(f"{kind}: {seconds}, processor: {processor}", file=sys.stderr)
    return {
        "format": kind,
        "megabytes": round((folder / "once" / name).stat().st_size / 1e6, 1),
        "seconds": {contestant: round(value, 3) for contestant, value in seconds.items()},
        "processor_seconds": {contestant: round(value, 3) for contestant, value in processor.items()},
        "reader_over_datasets": [round(clock["datasets"] / clock["reader"], 2) for clock in (seconds, processor)],
        "pipeline_over_raw": [round(clock["raw"] / clock["pipeline"], 2) for clock in (seconds, processor)],
        "ingest_processor_seconds": round(statistics.median(run["ingest"] for run in runs["pipeline"]), 3),
        "peak_mib": {name: max(run["peak_mib"] for run in runs[name]) for name in longer},
        "peak_mib_longer": longer,
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
        backend = untruncated(Tokenizer(tokenizer).load())  # which imports what the pipeline needs, too
        if contestant == "raw":
            texts = LocalFiles(str(file)).load(out).dataset["text"][:]
        start, started = time.perf_counter(), processor_seconds()
        if contestant == "reader":
            LocalFiles(str(file)).load(out)
        elif contestant == "datasets":
            kind = FORMATS["text" if file.suffix == ".txt" else file.suffix[1:]]
            datasets.load_dataset(kind, data_files=str(file), cache_dir=str(out))
        elif contestant == "pipeline":
            facts["ingest"] = run_pipeline(file, tokenizer, out)
        else:
            for first in range(0, len(texts), 1000):
                backend.encode_batch_fast(texts[first : first + 1000])
        facts.update(seconds=time.perf_counter() - start, processor=processor_seconds() - started)
    return {**facts, "peak_mib": peak_mib()}


def run_pipeline(file: Path, tokenizer: Path, out: Path) -> float:
    """Ingest, then preprocess; returns the processor's seconds of ingest."""
    start = processor_seconds()
    for name in ("corpus", "blocks"):
        (out / name).mkdir()
    step = Ingest(IngestParams(path=str(file)))
    manifest.digest_of(dict(step.sources()))
    step.run(out / "corpus")
    seconds = processor_seconds() - start
    Preprocess(Corpus(out / "corpus"), Tokenizer(tokenizer), PreprocessParams("text")).run(out / "blocks")
    return seconds


def processor_seconds() -> float:
    """The processor time of this process so far, of all threads, in user and system code."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mib() -> int:
    """The most resident memory that this process has had, in MiB."""
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM:"))


def print_table(rows: list[dict[str, Any]]) -> None:
    """The figures for people: of each time, the clock's and the processor's."""
    print("\nseconds of the clock / of the processor\n")
    print(
        f"{'records':8}{'format':9}{'MB':>4}{'reader':>14}{'datasets':>14}{'ratio':>13}{'pipeline':>14}{'raw':>14}"
        f"{'ratio':>13}{'reader MiB':>13}{'pipeline MiB':>14}"
    )
    for row in rows:
        times = {name: f"{row['seconds'][name]:.2f} / {row['processor_seconds'][name]:.2f}" for name in row["seconds"]}
        ratios = {name: "{:.2f} / {:.2f}".format(*row[name]) for name in ("reader_over_datasets", "pipeline_over_raw")}
        peaks = {name: f"{row['peak_mib'][name]} → {row['peak_mib_longer'][name]}" for name in row["peak_mib"]}
        print(
            f"{row['records']:8}{row['format']:9}{row['megabytes']:>4.0f}{times['reader']:>14}{times['datasets']:>14}"
            f"{ratios['reader_over_datasets']:>13}{times['pipeline']:>14}{times['raw']:>14}"
            f"{ratios['pipeline_over_raw']:>13}{peaks['reader']:>13}{peaks['pipeline']:>14}"
        )
    print()


if __name__ == "__main__":
    main()
