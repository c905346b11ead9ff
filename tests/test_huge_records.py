"""A record of 52 MB, and 1,000 records that together pass 2 GiB, need little more memory than one of them takes."""

import json
import os
import pydoc_data.topics
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHILD = """
import sys, threading, time
from pathlib import Path
from foundation.keras_choice import choose_keras
choose_keras()
from components.contract.artifacts import Corpus, Tokenizer
from components.ingest import Ingest, IngestParams
from components.blocks.params import PreprocessParams
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams

def own_mebibytes():
    # Without the pages of files that are memory-mapped, which the system takes back when it needs them.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon:"))

name, folder, records = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
(folder / name).mkdir()
corpus, tokenizer = Corpus(folder / "ingest"), Tokenizer(folder / "tokenizer")
step = {
    "ingest": lambda: Ingest(IngestParams(path=records)),
    "tokenizer": lambda: PrepareTokenizer(corpus, "text", TokenizerParams(vocab_size=1000)),
    "preprocess": lambda: Preprocess(corpus, tokenizer, PreprocessParams(text_column="text", packing="documents")),
}[name]()
import datasets, pyarrow.compute, transformers
transformers.AutoTokenizer, transformers.RobertaTokenizerFast
before = most = own_mebibytes()
done = threading.Event()

def watch():
    global most
    while not done.wait(0.01):
        most = max(most, own_mebibytes())

watching = threading.Thread(target=watch)
watching.start()
try:
    step.run(folder / name)
finally:
    done.set()
    watching.join()
print(most - before)
"""


def peak_mebibytes(step: str, folder: Path, records: Path) -> int:
    """The most memory that a step takes in a process of its own, beyond what its libraries take."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read from /proc")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", CHILD, step, str(folder), str(records)]
    result = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return int(result.stdout.splitlines()[-1])


def prose(characters: int) -> str:
    words = " ".join(pydoc_data.topics.topics.values())
    return (words * (characters // len(words) + 1))[:characters]


@pytest.mark.slow
def test_a_record_of_52_mb_takes_a_few_times_its_size(tmp_path: Path) -> None:
    """All at once, its tokens took 5 GB in preprocessing and 4 GB in training a tokenizer."""
    records = tmp_path / "records.jsonl"
    with open(records, "w") as file:
        for text in [*(prose(900 + number) for number in range(40)), prose(52_000_000)]:
            file.write(json.dumps({"text": text}) + "\n")
    for step, most in (("ingest", 700), ("tokenizer", 700), ("preprocess", 1000)):
        assert peak_mebibytes(step, tmp_path, records) < most, step


@pytest.mark.long
@pytest.mark.slow
def test_a_batch_of_more_than_2_gib_is_divided(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    text = json.dumps(prose(2_200_000))
    with open(records, "w") as file:
        file.writelines(f'{{"id": {number}, "text": {text}}}\n' for number in range(1000))
    assert records.stat().st_size > 2 << 30
    try:
        assert peak_mebibytes("ingest", tmp_path, records) < 700
    finally:
        shutil.rmtree(tmp_path)  # 5 GB, which pytest would keep
