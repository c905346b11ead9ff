"""Which files a path stands for: links, files about the data, files whose names don't tell what they are."""

import gzip
import json
import os
from pathlib import Path

import pyarrow.parquet
import pytest

from components.sources import Loaded
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError


def write(path: Path, *texts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def load(path: Path, tmp_path: Path) -> Loaded:
    cache = tmp_path / ".cache"
    cache.mkdir(exist_ok=True)
    return LocalFiles(str(path)).load(cache)


@pytest.mark.parametrize("pattern", ["", "**/*.jsonl"])
def test_links_are_followed_and_each_file_is_read_once(pattern: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "a.jsonl", "a")
    write(tmp_path / "elsewhere/b.jsonl", "b")
    (data / "c.jsonl").symlink_to("a.jsonl")
    (data / "gone.jsonl").symlink_to("nothing")
    (data / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/again").symlink_to(data)

    loaded = load(data / pattern, tmp_path)

    assert loaded.dataset["text"] == ["a", "b"]
    reasons = {entry["what"]: entry["reason"] for entry in loaded.skipped}
    assert reasons["c.jsonl"] == "another name of a file that is read"
    assert reasons["gone.jsonl"] == "is a link to nothing, where nothing is"


def test_files_about_the_data_are_left_out_of_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "data/a.jsonl", "a")
    for name in ("README.txt", "LICENSE.txt", "requirements.txt", "dataset_info.json", "license_plates.jsonl"):
        write(tmp_path / "data" / name, name)

    loaded = load(tmp_path / "data", tmp_path)

    assert loaded.dataset["text"] == ["a", "license_plates.jsonl"]
    assert {entry["reason"] for entry in loaded.skipped} == {"a file about the data, by its name"}
    assert load(tmp_path / "data/LICENSE.txt", tmp_path).dataset["text"] == ['{"text": "LICENSE.txt"}']


@pytest.mark.parametrize(
    ("content", "records", "kind"),
    [
        (b"# Title\n\nSome *text*.\n", ["# Title", "Some *text*."], "text"),
        (b'{"text": "a"}\n{"text": "b"}\n', ["a", "b"], "JSON"),  # as WikiExtractor names its files
        (b'{\n "text": "a"\n}', ["a"], "JSON"),
        (gzip.compress(b"{x} is text\n\n[2024] too\n", mtime=0), ["{x} is text", "[2024] too"], "text"),
    ],
)
def test_files_whose_names_tell_no_format_are_read_by_what_they_hold(
    content: bytes, records: list[str], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/wiki_00").write_bytes(content)
    (tmp_path / "data/picture.png").write_bytes(b"\x89PNG\0")
    for path in (tmp_path / "data", tmp_path / "data/wiki_00"):
        loaded = load(path, tmp_path)
        assert loaded.dataset["text"] == records
        assert f"wiki_00 was read as {kind}, by what it holds" in loaded.guesses
    write(tmp_path / "data/a.jsonl", "named")
    assert load(tmp_path / "data", tmp_path).dataset["text"] == ["named"]


def test_larger_files_of_other_endings_are_said_to_be_left_out(tmp_path: Path) -> None:
    write(tmp_path / "package.jsonl", "a")
    (tmp_path / "a.py").write_text("print()\n")
    assert load(tmp_path, tmp_path).guesses == []
    (tmp_path / "b.py").write_text("print()\n" * 9)
    assert "left out were a.py and 1 more" in load(tmp_path, tmp_path).guesses[0]


def test_a_table_without_its_ending_is_to_be_renamed(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "blob")
    with pytest.raises(DataError, match=r"Parquet data.*rename it so that it ends in \.parquet"):
        load(tmp_path / "blob", tmp_path)


def test_a_name_that_is_no_text_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(ConfigError, match="is no file"):
        load(tmp_path / "pipe.txt", tmp_path)
    write(tmp_path / "data/a\udcff.jsonl", "a")
    with pytest.raises(ConfigError, match=r"text in UTF-8.*udcff.*rename"):
        load(tmp_path / "data", tmp_path)
