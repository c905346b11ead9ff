"""The report: complete in itself, honest about what is missing, and small."""

import dataclasses
import html.parser
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from components.blocks.writer import RecordWriter
from components.contract import manifest, reports
from components.contract.reports import Answer, BySplit, Check, Sample, TokenExample, WorstTokens
from foundation.errors import ConfigError
from runners.report.comparison import as_typed, open_run, open_runs
from runners.report.comparison_page import write_comparison
from runners.report.comparison_text import as_text
from runners.report.run_report import write_report
from runners.report.training_charts import averaged
from tests import reports as complete

EVIL = "<script>alert(1)</script> & <b>"


def finish(directory, kind, step, **more):
    facts = {"type": kind, "component": step, "inputs": {}, "sources": {}, **more}
    return manifest.write(directory, facts)["digest"]


def write_run(root, name, *, loss=4.0, seed=0, masks="same", learning_rate=1e-3, records=60):
    """A run with the artifacts that a report reads, of one model that a loss a token is typical of."""
    artifacts = root / "artifacts" / name
    for step in ("ingest", "preprocess", "train", "evaluate", "push"):
        (artifacts / step).mkdir(parents=True)

    def write(step, file, value):
        reports.write(artifacts / step / file, value)

    corpus = complete.corpus((900, 100), EVIL, records=BySplit(10, 60), anomalies=(EVIL,))
    write("ingest", "report.json", corpus)
    digest = finish(artifacts / "ingest", "Corpus", "ingest", sources={"file.jsonl": "ab" * 32})
    write("preprocess", "report.json", complete.blocks())
    with RecordWriter(artifacts / "preprocess/records/test.arrow") as writer:
        row = np.arange(records)
        writer.write(row, row % 5 + 12, row * 0 + 50, row * 0 + 52)
    finish(artifacts / "preprocess", "Blocks", "preprocess", inputs={"corpus": digest})
    first = complete.epoch_row(1, 6.0, val_loss=5.5, learning_rate=learning_rate)
    write("train", "history.json", [first, complete.epoch_row(2, 5.0)])
    write("train", "history_steps.json", [complete.step_row(20 * number, 6.5) for number in range(1, 1000)])
    write("train", "report.json", complete.training(parameters=1000))
    finish(artifacts / "train", "Checkpoint", "train")
    metrics = {"masked_tokens": 600, "blocks": 10, "records": records, "contaminated_blocks": 1}
    metrics |= {"perplexity_after": float(np.exp(loss)), "perplexity_before": 900.5, "perplexity_unigram": 200.25}
    metrics |= {"cross_entropy_after": loss, "top1_accuracy": 0.25, "top5_accuracy": 0.5}
    report = complete.evaluation(
        metrics,
        intervals={"perplexity_after": (50.25, 60.75)},
        slices=(complete.empty_slice(),),
        calibration=(complete.calibration(expected_calibration_error=0.125, accuracy=0.25),),
        how=complete.measurement(masks_digest=masks, seed=1),
    )
    write("evaluate", "metrics.json", report)
    check = Check("improvement_over_start", True, "perplexity is 0.06 times", None, None, None)
    write("evaluate", "blessing.json", complete.blessing(sentence="blessed: x", checks=(check,)))
    guesses = (Answer(" spiral", 0.5), Answer("ing", 0.25, continues_word=True), Answer("\ufffd", 0.125))
    write("evaluate", "samples.json", [Sample(f"A <mask> galaxy. {EVIL}", (), guesses, "spiral")])
    place = TokenExample(f"{EVIL} السلام ", "؟ 天气", Answer(EVIL, 0.25), 0.001)
    worst = (complete.token_loss(" عليكم", place), complete.token_loss("##s", place, continues_word=True))
    write("evaluate", "worst_tokens.json", WorstTokens(fewest_masked=10, by_excess_loss=worst, by_mean_loss=()))
    record = np.repeat(np.arange(records), 10)
    noise = np.random.default_rng(seed).normal(0, 0.3, len(record))
    np.savez(artifacts / "evaluate/scores.npz", record=record, log_probability_after=-(loss + noise))
    finish(artifacts / "evaluate", "Evaluation", "evaluate")
    write("push", "pushed.json", complete.push())
    finish(artifacts / "push", "Pushed", "push")

    directory = root / "runs" / name
    directory.mkdir(parents=True)
    steps = [
        {"name": path.name, "status": "ran", "seconds": 1.5, "artifact": str(path), "summary": EVIL}
        for path in (artifacts / step for step in ("ingest", "preprocess", "train", "evaluate", "push"))
    ]
    run = {"id": name, "status": "succeeded", "started": "2024", "finished": "2025", "error": None, "steps": steps}
    run |= {
        "configuration": "quickstart",
        "command": "python pipeline.py --runner local",
        "code": {"version": "0.1.0", "commit": "c0ffee" * 6 + "c0ff", "changed": True},
        "config": {
            "train": {"learning_rate": learning_rate, "mlm_probability": 0.3, "eval_mlm_probability": 0.2},
        },
        "library_versions": {"numpy": "2"},
    }
    (directory / "run.json").write_text(json.dumps(run))
    return directory


class Page(html.parser.HTMLParser):
    """A page's elements: their attributes, their balance and their text."""

    VOID = ("meta", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.words = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture
def page(tmp_path):
    return Page(write_report(write_run(tmp_path, "one")).read_text("utf-8"))


def test_it_needs_neither_network_nor_scripts(page):
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not re.match(r"[a-z]+:|//", attributes.get("href", ""))
    assert not re.search(r"url\(|@import", page.words)
    policy = next(each["content"] for _, each in page.tags if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy


def test_it_is_readable_in_light_and_dark_and_on_a_phone(page):
    assert "prefers-color-scheme:dark" in page.words
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in page.tags


def test_text_from_outside_stays_text(page):
    assert EVIL in page.words


@pytest.mark.parametrize(
    "words",
    ["Run one", "Blessed: x", "54.60", "50.25 – 60.75", "unigram baseline", "empty: nothing there", "spiral (50.0%)",
     "1 of 10 test blocks (10.0%)", "me/m at commit c0ffee", "version 3", "ababab", "tokens/s: 900",
     "validation: 244.7", "after training, test: 54.60", "gradient norm: 1.25", "Training loss by step", 
     "model flops utilization: 0.375",
     "python pipeline.py --runner local", "commit c0ffeec0ffee, with changes that are in no commit (version 0.1.0)",
     "float32", "2 CPU cores", "spiral (50.0%) ✓", "-ing (25.0%)", "part of a character (12.5%)",
     "after training: the expected calibration error is 12.5%, where chance alone would give about 1.0%: on the whole "
     "it is too sure. Its first guesses have a probability of 50.0% on average, and 25.0% of them are right.",
     "600 tokens · said 50.0% · right 50.0%", "عليكم", "None: no token was masked 10 times.",
     "Training masks 30% of the tokens, the validation and the evaluation 20%: more masks are harder"],
)  # fmt: skip
def test_it_says_what_happened(page, words):
    assert words in page.words


def test_text_is_shown_in_the_direction_of_its_script(page):
    directions = [attributes.get("dir") for tag, attributes in page.tags if tag == "bdi"]
    assert directions.count("auto") >= 4  # the sample, its word, and both examples
    assert {name for name, _ in page.tags if name == "bdo"} == set()


def test_there_is_one_chart_of_the_learning_rate(page):
    assert page.words.count("Learning rate") - page.words.count("Learning rate by step") == 0
    titles = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    assert sum(title.startswith("Learning rate") for title in titles) == 1


def test_every_chart_has_its_values_as_text_too(page):
    charts = sum(tag == "figure" for tag, _ in page.tags)
    assert charts >= 7
    assert page.words.count("Values") == charts
    assert "step 19,980 · loss 6.500" in page.words
    for tag, attributes in page.tags:
        if tag == "svg":
            assert (attributes["role"], bool(attributes["aria-label"])) == ("img", True)


def test_its_headings_are_in_order_and_its_tables_have_headers(page):
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.tags if tag == "th")


def test_a_run_of_an_earlier_version_has_a_report(tmp_path):
    """Its record names neither command nor code, and its evaluation has no calibration and no tokens."""
    directory = write_run(tmp_path, "one")
    run = json.loads((directory / "run.json").read_text())
    for key in ("configuration", "command", "code"):
        del run[key]
    (directory / "run.json").write_text(json.dumps(run))
    evaluation = tmp_path / "artifacts/one/evaluate"
    metrics = json.loads((evaluation / "metrics.json").read_text())
    del metrics["calibration"]
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    for name in ("worst_tokens.json", "manifest.json"):
        (evaluation / name).unlink()
    finish(evaluation, "Evaluation", "evaluate")
    page = Page(write_report(directory).read_text("utf-8"))
    assert "54.60" in page.words
    assert not {"calibration", "tokens-it-is-worst-at"} & {attributes.get("id") for _, attributes in page.tags}


def test_it_is_small(tmp_path):
    assert write_report(write_run(tmp_path, "one")).stat().st_size < 300_000


def test_its_links_lead_to_files(tmp_path):
    directory = write_run(tmp_path, "one")
    page = Page(write_report(directory).read_text("utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    names = [f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names)) > 5
    assert len(links) > 10 + len(names)
    assert all(link in names if link[0] == "#" else (directory / link).exists() for link in links)


def test_a_run_with_a_name_is_called_by_it(tmp_path):
    directory = write_run(tmp_path, "one")
    assert "<title>Run one</title>" in write_report(directory).read_text("utf-8")
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps(run | {"name": "<long>"}))
    page = write_report(directory).read_text("utf-8")
    assert "<title>Run &lt;long&gt; (one)</title>" in page
    assert "<h1>Run &lt;long&gt; (one) " in page


def test_settings_that_train_nothing_anew_count_when_the_page_is_written(tmp_path):
    """A point averages `train.logging_steps` steps; the utilisation is that of `train.peak_tflops`."""
    directory = write_run(tmp_path, "one")
    row = dataclasses.replace(complete.step_row(5, 1.0), gradient_norm=None, tflops_per_second=0.5)
    rows = [dataclasses.replace(row, step=5 * number, loss=float(number)) for number in range(1, 8)]
    train = tmp_path / "artifacts/one/train"
    reports.write(train / "history_steps.json", rows)
    (train / "manifest.json").unlink()
    finish(train, "Checkpoint", "train")

    def page(**settings):
        run = json.loads((directory / "run.json").read_text())
        run["config"]["train"] |= settings
        (directory / "run.json").write_text(json.dumps(run))
        return write_report(directory).read_text("utf-8")

    assert "model flops utilization: 0.5" in page(logging_steps=1)
    assert "model flops utilization: 0.25" in page(peak_tflops=2.0)
    assert "model flops utilization" not in page(peak_tflops=0.4)  # more than the peak can't be
    assert averaged(rows, 1) == averaged(rows, 5) == rows
    points = [(point.step, point.loss, point.gradient_norm) for point in averaged(rows, 20)]
    assert points == [(20, 2.5, None), (35, 6.0, None)]
    assert len(averaged([dataclasses.replace(row, step=5 * n) for n in range(1, 2000)], 1)) <= 300


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_run_that_ended_early_has_a_report_too(tmp_path, steps):
    directory = write_run(tmp_path, "one")
    run = json.loads((directory / "run.json").read_text())
    run |= {"steps": run["steps"][:steps], "status": "failed", "error": "no disk left", "finished": None}
    (directory / "run.json").write_text(json.dumps(run))
    page = Page(write_report(directory).read_text("utf-8"))
    assert "No disk left" in page.words


@pytest.mark.parametrize("error", [None, "only a blessed model is pushed: it is worse than guessing by word frequency"])
def test_a_model_worse_than_counting_words_is_named_once_at_the_top(tmp_path, error):
    directory = write_run(tmp_path, "one")
    run = json.loads((directory / "run.json").read_text())
    (directory / "run.json").write_text(json.dumps({**run, "error": error}))
    path = tmp_path / "artifacts/one/evaluate/blessing.json"
    blessing = json.loads(path.read_text()) | {"beside_counting": "worse than guessing by word frequency"}
    path.write_text(json.dumps(blessing))
    finish(path.parent, "Evaluation", "evaluate")
    words = Page(write_report(directory).read_text("utf-8")).words
    assert words.count("worse than guessing by word frequency") == 1


def test_a_comparison_that_push_did_again_is_reported(tmp_path):
    directory = write_run(tmp_path, "one")
    path = tmp_path / "artifacts/one/push/pushed.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compared_again": "perplexity is 9% below"}))
    finish(path.parent, "Pushed", "push")
    assert "removed since the evaluation: perplexity is 9% below." in Page(write_report(directory).read_text()).words


def compared(tmp_path, **second):
    write_run(tmp_path, "one")
    write_run(tmp_path, "two", **second)
    return open_runs(tmp_path, ("one", "two"))


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ({"loss": 3.5, "seed": 1}, "The second is better: perplexity of the second is 39."),
        ({"loss": 4.5, "seed": 1}, "The second is worse: perplexity"),
        ({"seed": 2}, "Chance, or another seed, can explain the difference: perplexity"),
        ({}, "There is no real difference: perplexity of the second is 0.0% below that of the first (inter"),
        ({"loss": 3.995}, "There is no real difference: perplexity of the second is 0.5% below"),
        ({"loss": 4.005}, "There is no real difference: perplexity of the second is 0.5% above"),
        ({"loss": 3.5, "masks": "other"}, "The second is better: bits per character"),
    ],
)
def test_two_runs_are_compared_on_the_same_records(tmp_path, second, sentence):
    assert compared(tmp_path, **second).verdicts[0].startswith(sentence)


@pytest.mark.parametrize("absolute", [False, True])
def test_runs_of_a_root_that_was_moved_are_compared(tmp_path, absolute):
    """Whether their records hold paths relative to the root, or absolute ones, as earlier versions wrote them."""
    before, after = tmp_path / "before", tmp_path / "after"
    for name, loss in (("one", 4.0), ("two", 3.5)):
        directory = write_run(before, name, loss=loss, seed=name == "two")
        run = json.loads((directory / "run.json").read_text())
        assert Path(run["steps"][0]["artifact"]).is_absolute()
        if not absolute:
            for step in run["steps"]:
                step["artifact"] = Path(step["artifact"]).relative_to(before).as_posix()
            (directory / "run.json").write_text(json.dumps(run))
    before.rename(after)
    comparison = open_runs(after, ("one", "two"))
    assert comparison.verdicts[0].startswith("The second is better: perplexity of the second is 39.")
    page = write_report(after / "runs/two")
    links = [attributes["href"] for tag, attributes in Page(page.read_text("utf-8")).tags if tag == "a"]
    files = [link for link in links if link[0] != "#"]
    assert len(files) > 10
    assert all((page.parent / link).exists() for link in files)
    assert str(before) not in page.read_text("utf-8")


def test_too_few_records_in_common_are_reported(tmp_path):
    write_run(tmp_path, "one", records=19)
    write_run(tmp_path, "two", records=19, loss=1)
    comparison = open_runs(tmp_path, ("one", "two"))
    assert "too few records" in comparison.verdicts[0]


@pytest.mark.parametrize(
    ("value", "typed"), [(None, "null"), (True, "true"), (2e-05, "2e-05"), ("ü", "ü"), (["a", "ü"], '["a", "ü"]')]
)
def test_a_comparison_shows_settings_as_they_are_typed(value, typed):
    assert as_typed(value) == typed


def test_a_comparison_shows_what_was_set_differently(tmp_path):
    comparison = compared(tmp_path, learning_rate=2e-3, loss=3.9995)
    assert re.search(r"perplexity, after training\s+54\.60\s+54\.57", as_text(comparison))
    assert comparison.settings() == [("train.learning_rate", "0.001", "0.002")]
    assert re.search(r"train.learning_rate\s+0.001\s+0.002", as_text(comparison))
    write_comparison(comparison, tmp_path / "runs/page.html")
    page = Page((tmp_path / "runs/page.html").read_text("utf-8"))
    assert "train.learning_rate" in page.words
    assert "54.57" in page.words
    assert "mlm_probability" not in page.words


def test_an_unknown_run_is_refused_with_the_known_ones(tmp_path):
    write_run(tmp_path, "one")
    with pytest.raises(ConfigError, match=r"Received: three\. Way out: use two of one"):
        open_run(tmp_path, "three")


def change_record(directory, **values):
    run = json.loads((directory / "run.json").read_text()) | values
    (directory / "run.json").write_text(json.dumps(run))


def test_any_number_of_runs_is_compared_with_the_first(tmp_path):
    for number, loss in enumerate((4.0, 3.5, 4.5, 4.0)):
        write_run(tmp_path, f"run{number}", loss=loss, seed=number, learning_rate=1e-3 * (number + 1))
    change_record(tmp_path / "runs/run1", name="better")
    comparison = open_runs(tmp_path, ("run0", "better", "run2", "run3"))
    assert comparison.letters == ("A", "B", "C", "D")
    assert [sentence.split(":")[0] for sentence in comparison.verdicts] == [
        "B is better",
        "C is worse",
        "Chance, or another seed, can explain the difference",
    ]
    text = as_text(comparison)
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"perplexity, after training +54\.60 +33\.12\* +90\.02", text)
    assert re.search(r"top-1 accuracy, after training +25\.0% +25\.0%", text)
    assert "B  better (run1)" in text
    assert "same masks of the same tokens" in text
    write_comparison(comparison, tmp_path / "runs/run3" / comparison.page_name)
    page = Page((tmp_path / "runs/run3" / comparison.page_name).read_text("utf-8"))
    assert comparison.page_name == "compared_with_run0_run1_run2.html"
    assert "33.12" in page.words
    assert "★" in page.words
    assert "../run1/report.html" not in page.words


def test_nothing_is_marked_best_where_numbers_cannot_be_compared(tmp_path):
    write_run(tmp_path, "one", loss=4.0)
    write_run(tmp_path, "two", loss=3.5, masks="other")
    comparison = open_runs(tmp_path, ("one", "two"))
    assert not any(row.best for row in comparison.metrics if "bits" not in row.label)
    assert "different masks" in as_text(comparison)


def test_many_columns_go_on_below_and_the_page_has_a_name_that_fits(tmp_path):
    for number in range(9):
        write_run(tmp_path, f"a-rather-long-name-of-{number}", loss=4.0 + number / 10, learning_rate=number / 7)
    comparison = open_runs(tmp_path, tuple(f"a-rather-long-name-of-{number}" for number in range(9)))
    lines = as_text(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("perplexity, after training") for line in lines) == 2
    assert sum(line.startswith("train.learning_rate") for line in lines) > 2
    assert len(comparison.page_name) < 100
