"""Hub datasets, through the library's own client against a Hub on loopback, each in a process of its own."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from components.sources.hub import PARQUET_BRANCH
from tests.sources.dataset_hub import commit_of, serving

ROOT = Path(__file__).parents[2]
INGEST = """
import json, sys
from pathlib import Path
from components.contract.artifacts import Corpus
from foundation.errors import PipelineError
from components.ingest import Ingest, IngestParams
answers = []
for index, params in enumerate(json.loads(sys.argv[1])):
    step, out, answer = Ingest(IngestParams(**params)), Path(sys.argv[2]) / str(index), {}
    try:
        answer["sources"] = dict(step.sources())
        if sys.argv[3] == "run":
            out.mkdir(parents=True)
            step.run(out)
            answer["report"] = json.loads((out / "report.json").read_text())
            answer["rows"] = [row for name in ("train", "test") for row in Corpus(out).split(name).to_list()]
            answer["files"] = sorted(path.name for path in out.iterdir())
    except PipelineError as error:
        answer["error"] = [[kind.__name__ for kind in type(error).__mro__], str(error)]
    answers.append(answer)
Path(sys.argv[4]).write_text(json.dumps(answers))
"""


def records(split: str, count: int) -> list[dict[str, Any]]:
    return [{"q_id": f"{split}-{i}", "answers": {"text": [f"{split} answer {i}"], "score": [i]}} for i in range(count)]


def parquet(split: str, count: int) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records(split, count)), file)
    return file.getvalue()


SCRIPTED = {
    "main": {"README.md": b"# about\n", "eli5_category.py": b"raise SystemExit('never run')\n"},
    PARQUET_BRANCH: {
        "default/train/0000.parquet": parquet("train", 30),
        "default/validation1/0000.parquet": parquet("validation1", 5),
        "default/test/0000.parquet": parquet("test", 6),
        "other/train/0000.parquet": parquet("other", 7),
    },
    "v1": {"eli5_category.py": b""},
}
PLAIN = {"main": {"train.jsonl": "".join(json.dumps(row) + "\n" for row in records("plain", 12)).encode()}}
LONELY = {"main": {"lonely.py": b""}}
BROKEN = {"main": {"train.parquet": b"not Parquet"}}


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[str, list[str]]]:
    repositories = {"dany/eli5_category": SCRIPTED, "dany/plain": PLAIN, "dany/lonely": LONELY, "dany/broken": BROKEN}
    with serving(repositories) as (endpoint, requests):
        yield endpoint, requests


def ingest_each(endpoint: str, home: Path, each: list[dict[str, Any]], action: str = "run") -> list[dict[str, Any]]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "NO_PROXY": "127.0.0.1",
    }
    out = home.parent / f"out-{len(os.listdir(home.parent))}"
    answers = out.with_suffix(".json")
    command = [sys.executable, "-c", INGEST, json.dumps(each), str(out), action, str(answers)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(answers.read_text())


def ingest(endpoint: str, home: Path, action: str = "run", **params: Any) -> dict[str, Any]:
    (answer,) = ingest_each(endpoint, home, [params], action)
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    return sorted(row["q_id"] for row in answer["rows"])


def test_a_dataset_of_data_files_loads_from_main_at_its_commit(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, requests = hub

    answer = ingest(endpoint, tmp_path / "home", dataset="dany/plain", split="train[:10]")

    commit = commit_of("dany/plain", "main")
    assert answer.get("error") is None
    assert answer["sources"] == {"dany/plain@main": commit}
    assert answer["files"] == ["dataset", "report.json"]
    assert answer["report"]["summary"].startswith("10 of 12 records by ingest.split (8 train, 2 test), ")
    assert ids(answer) == sorted(f"plain-{i}" for i in range(10))
    source = answer["report"]["source"]
    assert (source["revision"], source["commit"], source["fallback"]) == ("main", commit, None)
    assert [file["name"] for file in source["files"]] == ["train.jsonl"]
    assert f"GET datasets/dany/plain/resolve/{commit}/train.jsonl" in requests


def test_a_dataset_with_a_script_loads_from_the_parquet_branch(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    endpoint, requests = hub

    answer = ingest(
        endpoint, tmp_path / "home", dataset="dany/eli5_category", config="default", split="train[:20]", test_size=0.25
    )

    commit = commit_of("dany/eli5_category", PARQUET_BRANCH)
    assert answer.get("error") is None
    assert answer["sources"] == {f"dany/eli5_category@{PARQUET_BRANCH}": commit}
    assert ids(answer) == sorted(f"train-{i}" for i in range(20))
    source = answer["report"]["source"]
    assert (source["revision"], source["commit"]) == (PARQUET_BRANCH, commit)
    assert "eli5_category.py" in source["fallback"]
    assert answer["report"]["records"] == {"train": 15, "test": 5}
    assert answer["report"]["columns"]["answers.text"]["train"]["words"] == 45
    assert f"GET datasets/dany/eli5_category/resolve/{commit}/default/train/0000.parquet" in requests

    # Offline, the commit comes from the cache, so that the step's key stays what it was.
    offline = ingest(
        "http://127.0.0.1:9", tmp_path / "home", action="sources", dataset="dany/eli5_category", config="default"
    )
    assert offline == {"sources": answer["sources"]}


def test_configurations_and_unusual_splits_of_the_branch_stay_apart(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    params = {"dataset": "dany/eli5_category", "revision": PARQUET_BRANCH}

    unusual, other = ingest_each(
        hub[0], tmp_path / "home", [{**params, "split": "validation1"}, {**params, "config": "other"}]
    )

    assert ids(unusual) == [f"validation1-{i}" for i in range(5)]
    assert ids(other) == [f"other-{i}" for i in range(7)]


WRONG = [
    ({"dataset": "dany/missing"}, "HubError", "dany/missing"),
    ({"dataset": "dany/plain", "revision": "nowhere"}, "HubError", "nowhere"),
    ({"dataset": "dany/lonely"}, "HubError", "loading scripts"),
    ({"dataset": "dany/broken"}, "HubError", "dany/broken"),
    ({"dataset": "dany/eli5_category", "revision": "v1"}, "HubError", f"--ingest.revision {PARQUET_BRANCH}"),
    ({"dataset": "dany/eli5_category", "config": "none"}, "ConfigError", "default, other"),
    ({"dataset": "dany/eli5_category", "split": "none"}, "ConfigError", "ingest.split"),
    ({"dataset": "dany/plain", "split": "none"}, "ConfigError", "ingest.split"),
    ({"dataset": "dany/plain", "config": "none"}, "ConfigError", "ingest.config"),
]


def test_what_the_hub_lacks_is_one_clear_error(hub: tuple[str, list[str]], tmp_path: Path) -> None:
    answers = ingest_each(hub[0], tmp_path / "home", [params for params, _, _ in WRONG])

    for answer, (params, kind, message) in zip(answers, WRONG, strict=True):
        kinds, text = answer["error"]
        assert kind in kinds, (params, text)
        assert message in text
        assert "Way out: " in text


def test_without_network_the_error_names_the_way_out(tmp_path: Path) -> None:
    answer = ingest("http://127.0.0.1:9", tmp_path / "home", dataset="dany/plain")

    kinds, text = answer["error"]
    assert "HubError" in kinds
    assert "--ingest.path" in text
