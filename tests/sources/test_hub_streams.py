"""Hub datasets that are streamed, through the library's own client against a Hub on loopback, in one process."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.sources.hub import PARQUET_BRANCH
from tests.sources.dataset_hub import commit_of, serving
from tests.sources.test_hub_datasets import parquet

ROOT = Path(__file__).parents[2]
READ = """
import dataclasses, json, sys
from pathlib import Path
from components.contract.artifacts import Corpus
from components.ingest import Ingest, IngestParams
from components.sources import hub_shards
from components.sources.streaming import Stream
from foundation.errors import PipelineError
from tests.finished import finish
hub_shards.ATTEMPTS = 2
answers = []
for index, (params, column, change) in enumerate(json.loads(sys.argv[1])):
    out, answer = Path(sys.argv[2]) / str(index), {}
    hub_shards.HubShards.most_beginnings = change.get("most_beginnings", 64)
    try:
        out.mkdir(parents=True)
        Ingest(IngestParams(streaming=True, **params)).run(out)
        corpus = finish(out, Corpus)
        answer["test"], answer["summary"] = corpus.split("test").to_list(), corpus.summary
        answer["shards"] = [shard.name for shard in corpus.stream.shards]
        shards = [dataclasses.replace(shard, **change.get("shard", {})) for shard in corpus.stream.shards]
        report = dataclasses.replace(corpus.stream, shards=tuple(shards))
        stream = Stream(report, corpus.columns().data.schema, [tuple(column.split("."))])
        places = list(stream.record_batches())
        answer["train"] = [row for _, batch in places for row in batch.to_pylist()]
        answer["files"] = sorted(path.name for path in out.rglob("*") if path.is_file())
    except PipelineError as error:
        answer["error"] = [type(error).__name__, str(error)]
    answers.append(answer)
Path(sys.argv[3]).write_text(json.dumps(answers))
"""


def shard(number: int, count: int) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows(number, count)).encode())


def rows(number: int, count: int) -> list[dict[str, Any]]:
    return [{"text": f"shard {number} record {record}", "n": record} for record in range(count)]


REPOSITORIES = {
    "dany/big": {"main": {f"data/train-{number:05}-of-00003.jsonl.gz": shard(number, 20) for number in range(3)}},
    "dany/parts": {"main": {"train.jsonl.gz": shard(0, 9), "test.jsonl.gz": shard(1, 5)}},
    "dany/scripted": {
        "main": {"scripted.py": b"raise SystemExit('never run')\n"},
        PARQUET_BRANCH: {f"default/train/{number:04}.parquet": parquet(f"p{number}", 10) for number in range(2)},
    },
}
BIG = {"dataset": "dany/big"}
TRIED = {
    "evenly": (BIG, "text", {}),
    "some shards": (BIG, "text", {"most_beginnings": 2}),
    "other size": (BIG, "text", {"shard": {"bytes": 7}}),
    "parts": ({"dataset": "dany/parts"}, "text", {}),
    "one split": ({"dataset": "dany/parts", "split": "test"}, "text", {}),
    "no split": ({"dataset": "dany/parts", "split": "dev"}, "text", {}),
    "converted": ({"dataset": "dany/scripted"}, "answers.text", {}),
}


def read_each(endpoint: str, directory: Path, tried: list[Any], **environment: str) -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(directory / "home"),
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(ROOT),
        **environment,
    }
    answers = directory / "answers.json"
    command = [sys.executable, "-c", READ, json.dumps(tried), str(directory / "out"), str(answers)]
    subprocess.run(command, check=True, timeout=120, env=environment, cwd=directory)
    found: list[dict[str, Any]] = json.loads(answers.read_bytes())
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    with serving(REPOSITORIES) as (endpoint, _):
        found = read_each(endpoint, tmp_path_factory.mktemp("hub"), list(TRIED.values()))
        yield dict(zip(TRIED, found, strict=True))


def texts_of(records: list[dict[str, Any]]) -> list[str]:
    return [record["text"] for record in records]


def test_every_record_is_in_one_split_in_the_order_of_the_files(answers: dict[str, dict[str, Any]]) -> None:
    found = answers["evenly"]
    everything = [texts_of(rows(number, 20)) for number in range(3)]
    assert texts_of(found["test"]) == [text for texts in everything for text in texts[:4]]
    assert texts_of(found["train"]) == [text for texts in everything for text in texts[4:]]
    assert found["shards"] == list(REPOSITORIES["dany/big"]["main"])
    assert not [name for name in found["files"] if name.endswith(".gz") or "train" in name]
    assert "train streams from 3 shards" in found["summary"]


def test_of_many_files_the_beginnings_of_some_are_the_test_split(answers: dict[str, dict[str, Any]]) -> None:
    found = answers["some shards"]
    assert {text[:7] for text in texts_of(found["test"])} == {"shard 0", "shard 1"}
    assert len(found["test"]) + len(found["train"]) == 60
    assert not set(texts_of(found["test"])) & set(texts_of(found["train"]))


def test_the_dataset_s_own_parts_are_kept(answers: dict[str, dict[str, Any]]) -> None:
    assert texts_of(answers["parts"]["test"]) == texts_of(rows(1, 5))
    assert texts_of(answers["parts"]["train"]) == texts_of(rows(0, 9))
    assert "its own test part" in answers["parts"]["summary"]
    assert texts_of(answers["one split"]["test"] + answers["one split"]["train"]) == texts_of(rows(1, 5))


def test_converted_files_stream(answers: dict[str, dict[str, Any]]) -> None:
    found = answers["converted"]
    assert [record["q_id"] for record in found["test"]] == ["p0-0", "p0-1", "p1-0", "p1-1"]
    assert [record["answers"]["text"] for record in found["train"]][:2] == [["p0 answer 2"], ["p0 answer 3"]]


def test_what_is_not_there_or_not_the_same_is_named(answers: dict[str, dict[str, Any]]) -> None:
    kind, message = answers["other size"]["error"]
    assert kind == "HubError"
    assert "train-00000-of-00003.jsonl.gz" in message
    assert "had 7" in message
    kind, message = answers["no split"]["error"]
    assert kind == "ConfigError"
    assert "--ingest.split" in message
    assert "train, test" in message


@pytest.mark.slow
def test_a_connection_that_breaks_off_goes_on_at_the_same_record(tmp_path: Path) -> None:
    """The server sends half of a shard, once for each place where it is asked for it."""
    big = {"dany/big": {"main": {"train.jsonl": b"".join(gzip.decompress(shard(0, 40_000)) for _ in range(1))}}}
    name = "datasets/dany/big/resolve/" + commit_of("dany/big", "main") + "/train.jsonl"
    with serving(big, breaking={name: 3}) as (endpoint, requests):
        (found,) = read_each(endpoint, tmp_path, [TRIED["evenly"]])
    assert len([request for request in requests if request == f"GET {name}"]) > 3
    assert texts_of(found["test"] + found["train"]) == texts_of(rows(0, 40_000))
