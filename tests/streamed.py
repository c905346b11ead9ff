"""Corpora that are streamed from local files, and the same records kept, to compare with."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from components.contract.artifacts import Corpus
from components.ingest import Ingest, IngestParams
from components.sources.streaming import Stream
from tests.finished import finish

Records = Sequence[Mapping[str, Any]]


def write_shards(directory: Path, shards: Sequence[Records]) -> Path:
    """A folder with one compressed file of JSON Lines a shard."""
    directory.mkdir(parents=True)
    for number, records in enumerate(shards):
        with gzip.open(directory / f"part-{number:03}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    return directory


def ingest(out: Path, path: Path | str, **params: Any) -> Corpus:
    """What ingest keeps of a source that is streamed."""
    out.mkdir(parents=True)
    Ingest(IngestParams(path=str(path), streaming=True, **params)).run(out)
    return finish(out, Corpus)


def stream_of(corpus: Corpus, *paths: tuple[str, ...]) -> Stream:
    """The train records, of which the columns at some paths are wanted."""
    return Stream(corpus.stream, corpus.columns().data.schema, list(paths) or [("text",)])


def train_records(corpus: Corpus) -> list[dict[str, Any]]:
    """The stream's records, of which the column `text` was asked for."""
    return [record for _, batch in stream_of(corpus).record_batches() for record in batch.to_pylist()]


def kept(corpus: Corpus, out: Path) -> Corpus:
    """A corpus with the same records in the same order, which keeps its train split."""
    test = corpus.split("test").select_columns(["text"])
    train = datasets.Dataset.from_list(train_records(corpus), features=test.features)
    datasets.DatasetDict(train=train, test=test).save_to_disk(out / "dataset")
    return finish(out, Corpus)
