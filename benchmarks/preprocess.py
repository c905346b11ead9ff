"""The preprocess step beside Hugging Face's guide and beside the raw tokenizer, which is the limit.

    python benchmarks/preprocess.py [--corpus FILE.jsonl] [--tokenizer NAME_OR_FOLDER] [--rounds 5]

Every measurement is a fresh process; the three take turns, so that a busy machine slows all alike. Times leave
imports and loading the tokenizer out. They are those of

    project   `Preprocess.run`: reads the corpus from disk, writes the blocks and their report
    guide     the two `map` calls of the masked language modeling guide, one process a core
              (https://huggingface.co/docs/transformers/tasks/masked_language_modeling)
    limit     `tokenizers.Tokenizer.encode_batch_fast` on the same texts, held in memory; results thrown away

Peak memory is the resident set of the whole process (VmHWM), libraries included, with the corpus once and 10 times.
Prints a table, then the same as one line of JSON.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Before `datasets` is imported; the processes started below inherit it.
os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", DATASETS_VERBOSITY="error")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foundation.keras_choice import choose_keras

choose_keras()

from components.blocks.encoding import untruncated
from components.blocks.params import PreprocessParams
from components.contract.artifacts import Corpus, Tokenizer
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams

TEXT_COLUMN = "answers.text"
BLOCK_SIZE = 128
CONTESTANTS = ("project", "guide", "limit")
CORES = len(os.sched_getaffinity(0))


def main() -> None:
    """Parses the command line, prepares the corpora and runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, help="records as ELI5 has them, one JSON object a line")
    parser.add_argument("--tokenizer", help="Hub name or local folder (default: a BPE trained on the corpus)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument("--tokens", type=int, default=2_000_000, help="the corpus is repeated up to about so many")
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, arguments.corpus, arguments.tokenizer, arguments.tokens)
        runs: dict[str, list[dict]] = {contestant: [] for contestant in CONTESTANTS}
        for number in range(arguments.rounds):
            for contestant in CONTESTANTS:
                runs[contestant].append(in_fresh_process(contestant, folder / "once"))
            speeds = ", ".join(f"{name} {round(tokens_per_second(runs[name][-1])):,}" for name in CONTESTANTS)
            print(f"round {number + 1}: {speeds} tokens/s", file=sys.stderr)
        large = in_fresh_process("project", folder / "ten_times")
    report(runs, large)


def prepare(folder: Path, corpus: Path | None, tokenizer: str | None, tokens: int) -> None:
    """Writes the corpus, once and ten times as long, and the tokenizer, each as the pipeline's artifact."""
    from datasets import Dataset, DatasetDict

    records = list(read_records(corpus, folder))
    write = folder / "records"
    DatasetDict(train=Dataset.from_list(records), test=Dataset.from_list(records[:100])).save_to_disk(write / "dataset")
    params = TokenizerParams(pretrained=tokenizer)
    (folder / "tokenizer").mkdir()
    PrepareTokenizer(Corpus(write), TEXT_COLUMN, params).run(folder / "tokenizer")
    backend = untruncated(Tokenizer(folder / "tokenizer").load())
    texts = [" ".join(record["answers"]["text"]) for record in records]
    once = sum(len(encoding.ids) for encoding in backend.encode_batch_fast(texts))
    repeats = max(1, round(tokens / once))
    for name, times in (("once", repeats), ("ten_times", 10 * repeats)):

        def repeated(times: int = times) -> Iterator[dict]:
            return itertools.chain.from_iterable(itertools.repeat(records, times))

        train = Dataset.from_generator(repeated, cache_dir=str(folder / "cache"), fingerprint=f"{times:016x}")
        test = Dataset.from_list(records[:100])
        DatasetDict(train=train, test=test).save_to_disk(folder / name / "corpus" / "dataset")
        (folder / name / "tokenizer").symlink_to(folder / "tokenizer")


def read_records(corpus: Path | None, folder: Path) -> Iterator[dict]:
    """The records with text of a file, or of the embedded corpus."""
    if corpus is None:
        from components.ingest import Ingest, IngestParams

        (folder / "embedded").mkdir()
        Ingest(IngestParams()).run(folder / "embedded")
        records = iter(Corpus(folder / "embedded").split("train"))
    else:
        with open(corpus, encoding="utf-8") as file:
            records = iter([json.loads(line) for line in file if line.strip()])
    for record in records:
        texts = (record.get("answers") or {}).get("text") or []
        if any(text and text.strip() for text in texts):
            yield {"q_id": record.get("q_id"), "answers": {"text": texts}}


def in_fresh_process(contestant: str, folder: Path) -> dict:
    """One measurement, in a process of its own."""
    command = [sys.executable, __file__, "--only", contestant, "--folder", str(folder)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(contestant: str, folder: Path) -> dict:
    """Seconds, tokens and peak memory of one contestant."""
    tokenizer = Tokenizer(folder / "tokenizer").load()
    run = {"project": run_project, "guide": run_guide, "limit": run_limit}[contestant]
    seconds, tokens = run(folder, tokenizer)
    return {"seconds": seconds, "tokens": tokens, "peak_mib": peak_mib()}


def run_project(folder: Path, tokenizer) -> tuple[float, int]:
    """The preprocess step as the pipeline runs it."""
    import datasets  # noqa: F401
    import pyarrow.compute  # noqa: F401

    class LoadedTokenizer(Tokenizer):
        def load(self):
            return tokenizer

    step = Preprocess(
        Corpus(folder / "corpus"), LoadedTokenizer(folder / "tokenizer"), PreprocessParams(TEXT_COLUMN, BLOCK_SIZE)
    )
    with tempfile.TemporaryDirectory(dir=folder) as out:
        start = time.perf_counter()
        step.run(Path(out))
        seconds = time.perf_counter() - start
        splits = json.loads((Path(out) / "report.json").read_text("utf-8"))["splits"]
    return seconds, sum(split["tokens"] for split in splits.values())


def run_guide(folder: Path, tokenizer) -> tuple[float, int]:
    """The guide's code, with as many processes as cores."""
    from datasets import load_from_disk

    tokenizer.model_max_length = int(1e30)  # else it warns of every long text

    def preprocess_function(examples):
        return tokenizer([" ".join(x) for x in examples["answers.text"]])

    def group_texts(examples):
        concatenated = {k: sum(examples[k], []) for k in examples}  # noqa: RUF017
        total_length = len(concatenated[next(iter(examples))])
        if total_length >= BLOCK_SIZE:
            total_length = (total_length // BLOCK_SIZE) * BLOCK_SIZE
        return {k: [t[i : i + BLOCK_SIZE] for i in range(0, total_length, BLOCK_SIZE)] for k, t in concatenated.items()}

    start = time.perf_counter()
    dataset = load_from_disk(str(folder / "corpus" / "dataset")).flatten()
    columns = dataset["train"].column_names
    arguments = {"batched": True, "num_proc": CORES, "load_from_cache_file": False}
    tokenized = dataset.map(preprocess_function, remove_columns=columns, **arguments)
    blocks = tokenized.map(group_texts, **arguments)
    seconds = time.perf_counter() - start
    tokens = sum(split.num_rows for split in blocks.values()) * BLOCK_SIZE
    for split in (*tokenized.values(), *blocks.values()):
        for file in split.cache_files:
            Path(file["filename"]).unlink(missing_ok=True)
    return seconds, tokens


def run_limit(folder: Path, tokenizer) -> tuple[float, int]:
    """The Rust tokenizer alone: 1,000 texts at a time, which are already Python strings."""
    from datasets import load_from_disk

    splits = load_from_disk(str(folder / "corpus" / "dataset")).flatten()
    texts = [" ".join(record) for split in splits.values() for record in split[TEXT_COLUMN]]
    batches = [texts[start : start + 1000] for start in range(0, len(texts), 1000)]
    backend = untruncated(tokenizer)
    seconds = tokens = 0
    for batch in batches:
        start = time.perf_counter()
        encodings = backend.encode_batch_fast(batch)
        seconds += time.perf_counter() - start
        tokens += sum(len(encoding) for encoding in encodings)
        start = time.perf_counter()
        del encodings  # freeing them is part of the work
        seconds += time.perf_counter() - start
    return seconds, tokens


def peak_mib() -> int:
    """The most resident memory that this process has had, in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) // 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def tokens_per_second(run: dict) -> float:
    """Speed of one measurement."""
    return run["tokens"] / run["seconds"]


def report(runs: dict[str, list[dict]], large: dict) -> None:
    """Prints the table and the JSON."""
    speed = {name: statistics.median(map(tokens_per_second, runs[name])) for name in CONTESTANTS}
    peak = max(run["peak_mib"] for run in runs["project"])
    by_round = list(zip(*(map(tokens_per_second, runs[name]) for name in CONTESTANTS), strict=True))
    ratios = {
        "project_over_guide": statistics.median(project / guide for project, guide, _ in by_round),
        "project_over_limit": statistics.median(project / limit for project, _, limit in by_round),
    }
    print(f"\n{runs['limit'][0]['tokens']:,} tokens, {CORES} cores, medians of {len(by_round)} rounds\n")
    print(f"{'':10}{'tokens/s':>12}{'against guide':>16}{'against limit':>16}")
    for name in CONTESTANTS:
        guide, limit = speed[name] / speed["guide"], speed[name] / speed["limit"]
        if name == "project":
            guide, limit = ratios["project_over_guide"], ratios["project_over_limit"]
        print(f"{name:10}{speed[name]:>12,.0f}{guide:>15.2f}x{limit:>15.0%}")
    print(f"\nproject's peak memory: {peak:,} MiB, with 10 times the corpus {large['peak_mib']:,} MiB\n")
    facts = {
        "tokens": runs["limit"][0]["tokens"],
        "cores": CORES,
        "tokens_per_second": {name: round(value) for name, value in speed.items()},
        **{name: round(value, 3) for name, value in ratios.items()},
        "peak_mib": peak,
        "peak_mib_ten_times": large["peak_mib"],
        "tokens_per_second_ten_times": round(tokens_per_second(large)),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
