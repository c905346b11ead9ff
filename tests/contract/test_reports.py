"""Reports come back from disk as they were written; a file of another version is refused, and says what is wrong."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from components.contract import reports
from components.contract.artifacts import Corpus, Evaluation, Pushed
from foundation.errors import DamagedArtifact
from tests import reports as complete
from tests.finished import finish

EVERY_REPORT = [
    complete.corpus(parts=reports.Parts("train", "validation", {"test": 3}), mixed=("a.txt",), available=9),
    complete.corpus(skipped=(reports.Skipped("paragraphs", 2, "of code"),)),
    complete.tokenizer(training_records=4, training_records_skipped=reports.RecordsWithoutText(1, 0)),
    complete.tokenizer(model_max_length=10**30),
    complete.blocks(packing="packed"),
    complete.training(),
    complete.epoch_row(1, 2.5),
    complete.step_row(1, 2.5),
    complete.evaluation({"blocks": 4, "top1_accuracy": 0.5}, intervals={"top1_accuracy": (0.25, 0.75)}),
    complete.evaluation({}, slices=(complete.empty_slice(),)),
    complete.blessing(baseline=reports.ComparedModel("another", "digest", "perplexity")),
    complete.blessing(checks=(reports.Check("x", True, "better", 0.5, reports.Interval(0.25, 0.75), 0.99),)),
    reports.Sample("a <mask>", (), (reports.Answer("b", 0.5),)),
    complete.serving_model(),
    complete.serving_model(
        signatures={"tokens": reports.SignatureReport({"ids": reports.TensorReport("int32", (None, 4))}, {})},
        example=reports.Example("<mask>", (reports.Candidate(0.5, 3, "b"),)),
    ),
    complete.validation("digest"),
    complete.push(),
    complete.push(hub=None, page="what would be pushed"),
]  # fmt: skip


@pytest.mark.parametrize("report", EVERY_REPORT, ids=lambda report: type(report).__name__)
def test_a_report_comes_back_as_it_was_written(report: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    reports.write(path, report)
    again = reports.from_plain(type(report), json.loads(path.read_text()), path)
    assert again == report


def test_only_what_has_its_default_is_left_out_of_the_file() -> None:
    plain = reports.as_plain(complete.corpus())
    assert not {"parts", "available", "unnamed", "mixed"} & plain.keys()
    assert "with_zeros" not in plain["columns"]["answers.text"]["train"]
    assert reports.as_plain(complete.blessing())["baseline"] is None
    assert reports.as_plain(complete.blocks(packing="documents"))["packing"] == "documents"
    assert list(reports.as_plain(complete.blocks())["splits"]) == ["train", "test"]


def changed(content: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The content with another value at a dotted path; without the key where that is None."""
    at = content
    *above, last = path.split("/")
    for key in above:
        at = at[key]
    at.pop(last, None)
    if value is not None:
        at[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        ("records", None, 'missing value for field "records"'),
        ("records/test", None, 'missing value for field "records.test"'),
        ("mood", 1, '"mood"'),
        ("columns/answers.text/train/vowels", 1, '"vowels"'),
        ("test_records_in_train", "three", '"test_records_in_train"'),
    ],
)
def test_a_report_of_another_version_is_refused_with_its_key(tmp_path: Path, path: str, value: Any, why: str) -> None:
    content = changed(reports.as_plain(complete.corpus()), path, value)
    (tmp_path / "report.json").write_text(json.dumps(content))
    with pytest.raises(DamagedArtifact) as refusal:
        _ = finish(tmp_path, Corpus).report
    assert why in str(refusal.value)
    assert f"{tmp_path / 'report.json'}, which is no CorpusReport of this version of the program" in str(refusal.value)
    assert f"remove {tmp_path} and run the pipeline again" in str(refusal.value)


def test_a_row_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.json").write_text('["a <mask>"]')
    with pytest.raises(DamagedArtifact, match=r"samples\.json, which holds no Sample"):
        _ = finish(tmp_path, Evaluation).samples


def test_a_report_that_was_changed_since_it_was_written_is_refused(tmp_path: Path) -> None:
    reports.write(tmp_path / "pushed.json", complete.push())
    pushed = finish(tmp_path, Pushed)
    assert pushed.report == complete.push()
    text = (tmp_path / "pushed.json").read_text()
    (tmp_path / "pushed.json").write_text(text.replace("fill_mask", "feel_mask"))
    with pytest.raises(DamagedArtifact, match="SHA-256"):
        _ = Pushed(tmp_path).report


def test_every_attribute_is_documented() -> None:
    for kind in vars(reports).values():
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not reports.SignatureReport:
            described = str(kind.__doc__)
            for field in dataclasses.fields(kind):
                assert f"        {field.name}: " in described, f"{kind.__name__}.{field.name}"
