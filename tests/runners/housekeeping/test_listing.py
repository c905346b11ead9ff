"""The two tables of --list, in 80 columns, whatever the runs are like."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.contract import manifest
from foundation.process_lock import ProcessLock
from foundation.terminal import size_text, table
from runners.housekeeping.inventory import take_inventory
from runners.housekeeping.listing import age_text, as_text, span_text
from runners.run_record import OWN_DIGEST, RUNNING
from tests.runners.small_steps import Failing, Write, graph, quiet

REPOSITORY = Path(__file__).resolve().parents[3]


def rows(text):
    """The lines of the runs' table, by the run's id."""
    runs = text.split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: f"{line}\n{below}" for line, below in zip(runs, [*runs[1:], ""], strict=True)}


def change(record, **values):
    path = record.directory / "run.json"
    content = {**json.loads(path.read_text()), **values}
    manifest.write_json(path, manifest.sealed(content, OWN_DIGEST))


def test_each_run_has_a_line_that_says_how_it_ended(tmp_path):
    root = tmp_path
    good = quiet(root).execute(graph("sky"), {}, "configs/a_rather_long_name_of_a_configuration.yaml")
    change(good, metrics={"perplexity_after": 25.4812}, started="2026-01-01T00:00:00+00:00")
    change(good, finished="2026-01-01T01:02:03+00:00")
    with pytest.raises(KeyboardInterrupt):
        quiet(root).execute(lambda run: run(Failing("interrupt")), {}, "quickstart")
    interrupted = json.loads((root / "runs/latest/run.json").read_text())["id"]
    running, killed, damaged = (quiet(root).execute(graph("sun"), {}) for _ in range(3))
    change(running, status="running", finished=None)
    change(killed, status="running", finished=None)
    (damaged.directory / "run.json").write_text('{"id"')
    with ProcessLock(running.directory / RUNNING, "run") as lock:
        lock.note("artifacts/write/0123456789abcdef")
        text = as_text(take_inventory(root))
    found = rows(text)
    assert max(len(line) for part in text.split("\n\n")[:2] for line in part.splitlines()) <= 80
    assert "succeeded" in found[good.id]
    assert "25.48" in found[good.id]
    assert "1:02:03" in found[good.id]
    assert "…" in found[good.id]
    assert "interrupted" in found[interrupted]
    assert "quickstart"[:7] in found[interrupted]
    assert "running" in found[running.id]
    assert "killed" in found[killed.id]
    assert "damaged" in found[damaged.id]
    assert f"damaged: {damaged.directory / 'run.json'}" in text


def test_each_artifact_has_a_line_with_those_that_use_it(tmp_path):
    first = quiet(tmp_path).execute(graph("sky"), {})
    second = quiet(tmp_path).execute(graph("sun"), {})  # begins alike, so the last artifact is the same
    left = tmp_path / "artifacts/write/0123456789abcdef.partial"
    left.mkdir()
    (left / "text").write_text("half")
    artifacts = as_text(take_inventory(tmp_path)).split("\n\n")[1].splitlines()
    assert max(map(len, artifacts)) <= 80
    [shared] = [line for line in artifacts if line.startswith("double")]
    assert shared.endswith("and 1 more")
    assert sum(line.endswith(first.id) for line in artifacts) == 2
    assert sum(line.endswith(second.id) for line in artifacts) == 2
    [partial] = [line for line in artifacts if ".partial" in line]
    assert "4 B" in partial
    assert partial.endswith("–")


def test_a_root_without_runs(tmp_path):
    text = as_text(take_inventory(tmp_path))
    assert text.split("\n\n")[:2] == ["no runs", "no artifacts"]


def test_a_long_cell_of_one_column_is_cut():
    text = table(["a", "b"], [["x" * 50, "y"], ["x", "yy"]], cut=0, right=(1,), columns=20)
    assert text.splitlines()[1:] == [f"{'x' * 15}…   y", f"x{' ' * 17}yy"]
    text = table(["a", "b"], [["/home/me/experiments/job.yaml", "y"]], cut=0, right=(1,), columns=20)
    assert text.splitlines()[1:] == ["…riments/job.yaml  y"]


def test_quantities_are_short():
    from datetime import timedelta

    assert [size_text(size) for size in (0, 999, 1000, 9_960, 999_499, 999_600, 4_210_000_000, 10**16)] == [
        "0 B", "999 B", "1.0 kB", "10 kB", "999 kB", "1.0 MB", "4.2 GB", "10,000 TB"
    ]  # fmt: skip
    assert [span_text(timedelta(seconds=seconds)) for seconds in (7, 754, 90_061)] == ["0:07", "12:34", "25:01:01"]
    assert [age_text(timedelta(seconds=seconds)) for seconds in (40, 300, 7_300, 10**6)] == [
        "40 s",
        "5 min",
        "2 h",
        "11 d",
    ]


def test_it_needs_no_tensorflow(tmp_path):
    quiet(tmp_path).execute(lambda run: run(Write()), {})
    code = "import sys, pipeline; pipeline.main(sys.argv[1:]); assert 'tensorflow' not in sys.modules"
    for task in ("--list", "--verify", "--gc"):
        done = subprocess.run(
            [sys.executable, "-c", code, "--root", tmp_path, task], cwd=REPOSITORY, capture_output=True, text=True
        )
        assert done.stderr == ""
        assert "1 artifact" in done.stdout
