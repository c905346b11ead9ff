"""Comparing runs whose files are damaged or gone: a clear error or an honest page, and never another exception."""

import os
import random
import shutil

import pytest

from foundation.errors import PipelineError
from runners.report.comparison import open_runs
from runners.report.comparison_page import write_comparison
from runners.report.comparison_text import as_text
from runners.report.run_report import write_report
from tests.runners.report.test_run_report import write_run

CONTENTS = [b"", b"[]", b"{}", b"null", b"3", b'"text"', b"\xff\xfe\0", b'{"steps": 1}', b"[" * 100_000]
FILES = ("run.json", "manifest.json", "metrics.json", "blessing.json", "samples.json", "scores.npz", "report.json",
         "history.json", "history_steps.json", "test.arrow", "pushed.json")  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A root with two runs, which nobody changes."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root, "one")
    write_run(root, "two", loss=3.5, seed=1)
    return root


def compare(root, first="one", second="two"):
    """What --compare does; the error's text, or nothing."""
    try:
        comparison = open_runs(root, (first, second))
        as_text(comparison)
        write_comparison(comparison, root / "runs/page.html")
    except PipelineError as error:
        return str(error)
    return ""


def paths_of(root):
    """The files that a comparison or a report reads of the second run."""
    found = sorted(path for path in root.rglob("*") if path.is_file() and "two" in path.parts)
    return [path for path in found if path.name in FILES]


def changed(data, rng):
    """The file's content with a bit flipped, cut short, or longer."""
    position = rng.randrange(len(data))
    flipped = bytearray(data)
    flipped[position] ^= 1 << rng.randrange(8)
    return [bytes(flipped), data[:position], data + b"\0"]


def test_every_damage_of_every_file_is_an_error_with_its_name_or_harms_nobody(runs, tmp_path):
    rng = random.Random(1)
    tried, noticed = 0, 0
    for path in paths_of(runs):
        root = tmp_path / "root"
        shutil.copytree(runs, root)
        there = root / path.relative_to(runs)
        data = there.read_bytes()
        for content in [None, *CONTENTS, *changed(data, rng), *changed(data, rng)]:
            if content is None:
                there.unlink()
            else:
                there.write_bytes(content)
            tried += 1
            message = compare(root)
            noticed += bool(message)
            if message:
                assert "two" in message, message
                assert len(message) < 700, message
        shutil.rmtree(root)
    assert tried > 200
    assert noticed > 0.8 * tried


def test_a_run_whose_artifacts_were_removed_is_compared_as_far_as_it_goes(runs, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(runs, root)
    shutil.rmtree(root / "artifacts/two")
    assert compare(root) == ""
    [verdict] = open_runs(root, ("one", "two")).verdicts
    assert verdict.startswith("The second has no evaluation")
    write_report(root / "runs/two")


@pytest.mark.parametrize("values", [
    {"steps": [3]}, {"steps": [{"name": "x"}]}, {"steps": {}}, {"config": []}, {"config": {"train": 3}}, {"id": "../x"},
    {"metrics": {"perplexity_after": "x"}}, {"started": 3}, {"status": None}, {"library_versions": 3}, {"error": 3},
])  # fmt: skip
def test_a_record_of_the_wrong_form_is_refused_with_its_path(runs, tmp_path, values):
    import json

    root = tmp_path / "root"
    shutil.copytree(runs, root)
    record = root / "runs/two/run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))
    assert f"{record}: " in compare(root)


@pytest.mark.parametrize("name", ["latest", "nowhere", "", "x" * 300, "..", "/", "a\nb"])
def test_a_run_that_is_not_there_is_refused(runs, name):
    assert "--compare must name two different runs" in compare(runs, "one", name)


def test_latest_that_leads_nowhere_is_refused(runs, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(runs, root)
    (root / "runs/latest").symlink_to("gone")
    assert "use two of one, two" in compare(root, "one", "latest")
    os.unlink(root / "runs/latest")
    (root / "runs/latest").symlink_to("two")
    assert compare(root, "one", "latest") == ""
