"""`ingest.field`: the records are in one field of a JSON file's object."""

import json

import pytest

from components.ingest import IngestParams
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError

CAPTIONS = [{"id": number, "caption": f"a picture of {number} cats"} for number in range(12)]
COCO = {"info": {"year": 2026}, "images": [{"id": number} for number in range(5)], "annotations": CAPTIONS}


def write(path, value, indent=None):
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("value", "field"),
    [
        (COCO, "annotations"),
        ({"result": {"items": CAPTIONS, "next": None}}, "result.items"),
        ({"a.b": CAPTIONS, "a": {"b": "another"}}, "a.b"),
        ({"captions": {f"k{each['id']}": each for each in CAPTIONS}, "images": []}, "captions"),
    ],
)
def test_the_records_of_a_field_are_read(tmp_path, value, field, indent):
    path = write(tmp_path / "coco.json", value, indent)
    assert LocalFiles(path, field=field).load(tmp_path).dataset.to_list() == CAPTIONS


def test_texts_are_records_too(tmp_path):
    path = write(tmp_path / "texts.json", {"lines": ["one", "two"], "more": [1, 2]})
    assert LocalFiles(path, field="lines").load(tmp_path).dataset.to_list() == [{"text": "one"}, {"text": "two"}]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_object_with_several_lists_names_them(tmp_path, indent):
    path = write(tmp_path / "coco.json", COCO, indent)
    with pytest.raises(DataError, match=r"`images` \(5\), `annotations` \(12\).*--ingest.field images"):
        LocalFiles(path).load(tmp_path)


def test_a_single_record_beside_others_may_have_lists(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", {"title": name, "messages": [{"content": "one"}, {"content": "two"}]})
    assert len(LocalFiles(str(tmp_path / "*.json")).load(tmp_path / "..").dataset) == 2


@pytest.mark.parametrize(
    ("name", "value", "field", "message"),
    [
        ("coco.json", COCO, "anotations", r"has nothing there.*images \(5\), annotations \(12\)"),
        ("coco.json", COCO, "info.year", "has no records there"),
        ("array.json", CAPTIONS, "annotations", "which holds an array"),
        (
            "lists.json",
            {"rows": [[1, 2], [3, 4]], "captions": CAPTIONS},
            "rows",
            r"has no records there.*captions \(12\)",
        ),
        ("notes.txt", "text", "annotations", "only with files of JSON"),
    ],
)
def test_a_field_that_has_no_records_is_refused(tmp_path, name, value, field, message):
    with pytest.raises(ConfigError, match=message):
        LocalFiles(write(tmp_path / name, value), field=field).load(tmp_path)


def test_a_field_goes_with_local_files_that_are_not_streamed():
    with pytest.raises(ConfigError, match=r"ingest\.field must be given only with local files"):
        IngestParams(dataset="a/b", field="data")
    with pytest.raises(ConfigError, match=r"ingest\.field must be left out where ingest.streaming is set"):
        IngestParams(path="a.json", field="data", streaming=True)
