"""Train records that are streamed: the same blocks as of records that are kept, also after a run that was killed."""

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import components.blocks.segments
import components.sources.streaming
from components.blocks.params import PreprocessParams
from components.blocks.progress import PROGRESS, Progress
from components.contract.artifacts import Blocks, Corpus, Tokenizer
from components.contract.manifest import describe_files
from components.preprocess import Preprocess
from components.tokenizer import PrepareTokenizer, TokenizerParams
from foundation.errors import DataError
from tests.finished import finish
from tests.pickling_workers import PicklingWorkers
from tests.streamed import ingest, kept, stream_of, train_records, write_shards

SHARDS = [
    [
        {
            "n": number,
            "text": None if number % 13 == 5 else f"Shard {shard}, record {number}: " + "more words " * (number % 9),
        }
        for number in range(60 + 40 * shard)
    ]
    for shard in range(4)
]
STEPS = ("ingest", "preprocess")
KILLED = """
import os, signal, sys
from pathlib import Path
import components.blocks.segments as segments
from components.contract.artifacts import Corpus, Tokenizer
from components.blocks.params import PreprocessParams
from components.preprocess import Preprocess
segments.SEGMENT_BYTES = int(sys.argv[5])
write, left = segments.BlockFile.write, [int(sys.argv[6])]
def counted(self, *arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, *arguments)
segments.BlockFile.write = counted
step = Preprocess(Corpus(Path(sys.argv[1])), Tokenizer(Path(sys.argv[2])), PreprocessParams("text", 16, sys.argv[4]))
step.run(Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    directory = tmp_path_factory.mktemp("streamed")
    return ingest(directory / "corpus", write_shards(directory / "data", SHARDS))


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    PrepareTokenizer(corpus, "text", TokenizerParams(vocab_size=300)).run(directory)
    return finish(directory, Tokenizer)


def preprocess(corpus: Corpus, tokenizer: Tokenizer, packing: Any = "concatenate") -> Preprocess:
    return Preprocess(corpus, tokenizer, PreprocessParams("text", 16, packing))


def run(step: Preprocess, out: Path) -> Blocks:
    out.mkdir(exist_ok=True)
    step.run(out)
    return finish(out, Blocks)


def assert_equal(one: Blocks, other: Blocks) -> None:
    """The same blocks and lengths of records, whatever the files that they are in."""
    for split in ("train", "test"):
        assert one.split(split)[:] == other.split(split)[:]
        for name, values in one.records(split).items():
            np.testing.assert_array_equal(values, other.records(split)[name])
    assert one.report == other.report


texts = st.one_of(st.none(), st.text(st.sampled_from("ab .é\n日"), max_size=30), st.just("words and words " * 30))


@settings(max_examples=8)
@given(
    shards=st.lists(st.lists(texts, max_size=12), min_size=1, max_size=4),
    packing=st.sampled_from(["concatenate", "documents", "packed"]),
    segment_bytes=st.sampled_from([1, 200, 1 << 20]),
)
def test_streamed_blocks_equal_those_of_kept_records(
    tokenizer: Tokenizer, shards: list[list[str | None]], packing: str, segment_bytes: int
) -> None:
    enough = ["Enough for a block: " + "word after word " * 20] * 4
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(components.blocks.segments, "SEGMENT_BYTES", segment_bytes)
        directory = Path(name)
        data = write_shards(directory / "data", [[{"text": text} for text in shard] for shard in [enough, *shards]])
        streamed = ingest(directory / "corpus", data, test_size=0.25)
        one = run(preprocess(streamed, tokenizer, packing), directory / "one")
        other = run(preprocess(kept(streamed, directory / "kept"), tokenizer, packing), directory / "other")
        assert_equal(one, other)


@pytest.mark.parametrize("packing", ["concatenate", "packed"])
def test_a_killed_run_goes_on_to_the_same_files(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    arguments = [corpus.directory, tokenizer.directory, tmp_path / "killed", packing, 3000, 5]
    (tmp_path / "killed").mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], timeout=120)
    assert killed.returncode == -signal.SIGKILL
    step = preprocess(corpus, tokenizer, packing)
    left = Progress.read(tmp_path / "killed")
    assert left is not None
    assert 0 < left.records < sum(map(len, SHARDS))
    assert not left.is_finished
    assert f"{left.records:,}" in str(step.resumes(tmp_path / "killed"))

    monkeypatch.setattr(components.blocks.segments, "SEGMENT_BYTES", 3000)
    read: list[int] = []
    batches = components.sources.streaming.Stream.record_batches

    def counted(self: Any, *place: Any) -> Any:
        for position, batch in batches(self, *place):
            read.append(batch.num_rows)
            yield position, batch

    monkeypatch.setattr(components.sources.streaming.Stream, "record_batches", counted)
    step.run(tmp_path / "killed")
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    assert sum(read) == sum(map(len, SHARDS)) - corpus.report.records.test - left.records
    step.run(undisturbed)
    assert describe_files(tmp_path / "killed", [PROGRESS]) == describe_files(undisturbed, [PROGRESS])


@pytest.mark.parametrize("packing", ["concatenate", "packed"])
def test_workers_take_whole_shards_and_make_the_same_files(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str
) -> None:
    monkeypatch.setattr(components.blocks.segments, "SEGMENT_BYTES", 3000)
    step, workers = preprocess(corpus, tokenizer, packing), PicklingWorkers(2)
    for name in ("alone", "shared"):
        (tmp_path / name).mkdir()
    step.run(tmp_path / "alone")
    step.run_with(tmp_path / "shared", workers)
    assert describe_files(tmp_path / "shared") == describe_files(tmp_path / "alone")
    assert (len(SHARDS) - 1, 0) in workers.items


def test_workers_go_on_from_a_killed_run(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [corpus.directory, tokenizer.directory, tmp_path / "killed", "concatenate", 3000, 5]
    (tmp_path / "killed").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], timeout=120)
    left = Progress.read(tmp_path / "killed")
    assert left is not None
    monkeypatch.setattr(components.blocks.segments, "SEGMENT_BYTES", 3000)
    step, workers = preprocess(corpus, tokenizer, "concatenate"), PicklingWorkers(2)
    (tmp_path / "undisturbed").mkdir()
    step.run_with(tmp_path / "killed", workers)
    step.run(tmp_path / "undisturbed")
    assert describe_files(tmp_path / "killed", [PROGRESS]) == describe_files(tmp_path / "undisturbed", [PROGRESS])
    assert tuple(left.place) in workers.items


def test_several_columns_of_text_are_joined(corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path) -> None:
    rows = [{"a": f"Title {number}", "b": {"c": [f"body {number}", "more"]}} for number in range(200)]
    streamed = ingest(tmp_path / "corpus", write_shards(tmp_path / "data", [rows]))
    blocks = Preprocess(streamed, tokenizer, PreprocessParams("a,b.c", 16))
    (tmp_path / "blocks").mkdir()
    blocks.run(tmp_path / "blocks")
    ids = finish(tmp_path / "blocks", Blocks).split("train")[:]["input_ids"]
    text = tokenizer.load().decode(list(itertools.chain(*ids)))
    assert text.startswith("<s>Title 40 body 40 more</s><s>Title 41 body 41 more</s>")


def test_a_damaged_segment_is_made_anew(
    corpus: Corpus, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components.blocks.segments, "SEGMENT_BYTES", 3000)
    step = preprocess(corpus, tokenizer)
    blocks = run(step, tmp_path / "blocks")
    before = describe_files(blocks.directory, [PROGRESS, "manifest.json"])
    assert len([name for name in before if name.startswith("dataset/train/data-")]) > 2
    (blocks.directory / "dataset/train/data-00001.arrow").write_bytes(b"no longer what it was")
    step.run(blocks.directory)
    assert describe_files(blocks.directory, [PROGRESS, "manifest.json"]) == before


def test_without_text_it_is_refused_and_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    records = [{"text": "words of the test split, enough for a block " * 4}] + [{"text": " "}] * 3
    streamed = ingest(tmp_path / "corpus", write_shards(tmp_path / "data", [records]), test_size=0.25)
    with pytest.raises(DataError, match=r"train split must have at least one record with text.*3 records.*3 empty"):
        run(preprocess(streamed, tokenizer), tmp_path / "blocks")
    with pytest.raises(DataError, match="at least one record with text"):
        PrepareTokenizer(streamed, "text", TokenizerParams(vocab_size=300)).run(tmp_path)


def test_a_tokenizer_is_trained_on_the_beginnings_of_all_shards(corpus: Corpus, tmp_path: Path) -> None:
    step = PrepareTokenizer(corpus, "text", TokenizerParams(vocab_size=300, streaming_characters=4000))
    step.run(tmp_path)
    report = finish(tmp_path, Tokenizer).report
    found = [batch.to_pylist() for batch in stream_of(corpus).beginnings(4000)]
    records = list(itertools.chain(*found))
    assert {record["text"][:7] for record in records if record["text"]} == {f"Shard {number}" for number in range(4)}
    assert 4000 <= sum(len(record["text"] or "") for record in records) < 8000
    assert report.training_records == len(records) < len(train_records(corpus))
    assert f"{len(records)} records at the beginnings" in report.summary


@pytest.mark.slow
def test_memory_and_disk_stay_flat(tmp_path: Path) -> None:
    """Ten times the corpus takes no more memory, and no more disk than the blocks."""
    peaks = []
    for times in (1, 10):
        data = tmp_path / f"data-{times}"
        data.mkdir()
        for number in range(4 * times):
            with gzip.open(data / f"{number:03}.jsonl.gz", "wt") as file:
                file.writelines(
                    json.dumps({"text": f"{number} {line} " + "some words of a text " * 40}) + "\n"
                    for line in range(5000)
                )
        code = (
            "import resource, sys, pipeline\n"
            "from pathlib import Path\n"
            "assert not pipeline.main(sys.argv[1:])\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        root = tmp_path / f"root-{times}"
        options = {"root": root, "ingest.path": data, "ingest.streaming": "true", "until": "preprocess"}
        options |= {"preprocess.text_column": "text", "tokenizer.streaming_characters": 1_000_000}
        command = [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in options.items())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, env={**os.environ})
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]) / 1024)
        assert not list(root.rglob(PROGRESS))
        kept = {step: sum(path.stat().st_size for path in (root / "artifacts" / step).rglob("*.*")) for step in STEPS}
        # Some thousand test records, however many train records there are, and 5 bytes and a little more a token.
        report = json.loads(next((root / "artifacts/preprocess").glob("*/report.json")).read_bytes())
        assert kept["ingest"] < 40e6
        assert kept["preprocess"] < 5.2 * sum(split["tokens"] for split in report["splits"].values()) + 10e6
    print("peak MB", peaks)
    assert peaks[1] < peaks[0] + 60
