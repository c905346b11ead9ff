"""Files as other programs write them: every encoding is read right, or refused; gzip is what holds gzip data."""

import codecs
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest import IngestParams
from components.sources import Loaded
from components.sources.encodings import canonical_encoding
from components.sources.local import LocalFiles
from foundation.errors import ConfigError, DataError

TEXTS = [f'Zeile {index}: Über den Fluss führt eine Brücke, "schön" und alt.' for index in range(30)]
FORMATS = {
    "a.txt": "".join(f"{text}\r\n" for text in TEXTS),
    "a.jsonl": "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in TEXTS),
    "a.json": json.dumps([{"text": text} for text in TEXTS], ensure_ascii=False, indent=1),
    "b.json": json.dumps({"data": [{"text": text} for text in TEXTS]}, ensure_ascii=False),
    "a.csv": "id,text\r\n" + "".join('{},"{}"\r\n'.format(1, text.replace('"', '""')) for text in TEXTS),
}
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


def load(path: Path, encoding: str | None = None) -> Loaded:
    cache = path.parent / "cache"
    cache.mkdir(exist_ok=True)
    return LocalFiles(str(path), encoding, "line").load(cache)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", MARKS)
def test_a_byte_order_mark_tells_the_encoding(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(MARKS[encoding] + FORMATS[name].encode(encoding))

    for given_encoding in (None, "windows-1252", "utf-16"):  # the mark goes before what a person says
        loaded = load(tmp_path / name, given_encoding)
        assert loaded.dataset["text"] == TEXTS
        assert loaded.guesses == []
    assert loaded.facts["files"][0].get("encoding", "utf-8") == encoding


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_recognised_and_said(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMATS[name].encode(encoding))

    for given_encoding in (None, "utf-16"):
        loaded = load(tmp_path / name, given_encoding)
        assert loaded.dataset["text"] == TEXTS
        assert loaded.guesses == [
            f"{name} was read as {encoding.upper()}: it has no byte order mark, but zeros in every second place"
        ]
    assert load(tmp_path / name, encoding).guesses == []
    for other in ("windows-1252", "utf-8", {"utf-16-le": "utf-16-be", "utf-16-be": "utf-16-le"}[encoding]):
        with pytest.raises(DataError, match=f"{encoding.upper()}'s, for {other}"):
            load(tmp_path / name, other)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("encoding", "texts"),
    [
        ("windows-1252", TEXTS),
        ("latin-1", TEXTS),
        ("shift_jis", ["日本の天気は明日も晴れでしょう。"] * 9),
        ("gb18030", ["联通", "今天的天气很好。"] * 5),
        ("utf-16-le", ["今天的天气很好，我们去公园散步吧。"] * 9),
        ("utf-32-le", TEXTS),
    ],
)
def test_other_encodings_are_refused_until_they_are_named(
    name: str, encoding: str, texts: list[str], tmp_path: Path
) -> None:
    content = FORMATS[name]
    for index, text in enumerate(TEXTS):
        content = content.replace(
            text if name != "a.csv" else text.replace('"', '""'), texts[index % len(texts)]
        ).replace(json.dumps(text, ensure_ascii=False)[1:-1], texts[index % len(texts)])
    texts = [texts[index % len(texts)] for index in range(len(TEXTS))]
    if texts[0] == TEXTS[0]:
        content, texts = FORMATS[name], TEXTS
    (tmp_path / name).write_bytes(content.encode(encoding))

    if encoding == "utf-16-le" and name != "a.txt":  # the names and quotes are Latin enough
        assert load(tmp_path / name).guesses
    else:
        with pytest.raises(DataError, match=r"--ingest\.encoding") as caught:
            load(tmp_path / name)
        assert "iconv" not in str(caught.value)
    assert load(tmp_path / name, encoding).dataset["text"] == texts


def test_the_line_that_breaks_the_encoding_is_named(tmp_path: Path) -> None:
    for name, lines in (("a.txt", 5000), ("a.jsonl", 3), ("a.json", 70_000)):
        good = {"a.txt": "é\n", "a.jsonl": '{"a": "é"}\n', "a.json": '{"a": "é"},\n'}[name].encode()
        start = b"[" if name == "a.json" else b""
        (tmp_path / name).write_bytes(start + good * lines + good.replace("é".encode(), b"\xe9"))
        with pytest.raises(DataError, match=f"line {lines + 1}: bytes e9 .*, which are not utf-8"):
            load(tmp_path / name)
    (tmp_path / "a.txt").write_bytes(codecs.BOM_UTF16_LE + "é\n".encode("utf-16-le") * 20_000 + b"\x00\xdc")
    with pytest.raises(DataError, match=r"line 20001: bytes 00 dc"):
        load(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"a\x81\n")
    with pytest.raises(DataError, match=r"which are not .*Way out: give another encoding with --ingest\.encoding"):
        load(tmp_path / "a.txt", "windows-1252")


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.json", "b.json", "a.jsonl"])
@pytest.mark.parametrize("encoding", [None, "latin-1"])
def test_zero_bytes_are_never_trained_on(name: str, encoding: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMATS[name].replace("Zeile 7:", "Zeile\0 7:").encode(encoding or "utf-8"))

    with pytest.raises(DataError, match=r"line \d+: a zero byte, read as"):
        load(tmp_path / name, encoding)


def test_utf_8_that_is_called_otherwise_is_read_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(FORMATS["a.txt"], "utf-8")
    (tmp_path / "b.txt").write_text("Größe\n", "windows-1252")
    (tmp_path / "c.txt").write_text("Müller\n", "utf-8")

    loaded = load(tmp_path / "*.txt", "windows-1252")

    assert loaded.dataset["text"] == [*TEXTS, "Größe", "Müller"]
    assert loaded.guesses == [
        f"{name} is UTF-8, not windows-1252 as ingest.encoding says, and was read as such"
        for name in ("a.txt", "c.txt")
    ]
    assert load(tmp_path / "a.txt", "gb18030").dataset["text"] == TEXTS


@pytest.mark.parametrize("name", FORMATS)
def test_gzip_is_what_holds_gzip_data_whatever_its_name(name: str, tmp_path: Path) -> None:
    content = FORMATS[name].encode("utf-16")
    (tmp_path / name).write_bytes(gzip.compress(content))
    (tmp_path / f"{name}.gz").write_bytes(content)
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / f"{name}.gz").write_bytes(gzip.compress(content))

    packed, plain, right = (load(tmp_path / each) for each in (name, f"{name}.gz", f"right/{name}.gz"))

    assert packed.dataset["text"] == plain.dataset["text"] == right.dataset["text"] == TEXTS
    assert packed.guesses == [f"{name} holds gzip data, and was unpacked"]
    assert plain.guesses == [f"{name}.gz holds no gzip data, and was read as it is"]
    assert right.guesses == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00", "a ZIP archive"),
        (gzip.compress(gzip.compress(b"a\n", mtime=0), mtime=0), "gzip data inside of compressed data"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "complete Zstandard data"),
        (b"PAR1\x15\x00", "Parquet data"),
    ],
)
@pytest.mark.parametrize("encoding", [None, "latin-1"])
def test_what_is_no_text_is_called_by_its_name(content: bytes, what: str, encoding: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)

    with pytest.raises(DataError, match=what):
        load(tmp_path / "a.csv", encoding)


def test_text_may_begin_as_another_format_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("PAR1 is how it begins\n%PDF-\n")
    assert load(tmp_path / "a.txt").dataset["text"] == ["PAR1 is how it begins", "%PDF-"]


@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\ufeff")), max_size=5),
    encoding=st.sampled_from([*MARKS, "gb18030", "utf-7"]),
)
@settings(deadline=None, max_examples=100)
def test_a_named_encoding_gives_back_every_text(
    texts: list[str], encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The bytes may contradict the name, which is an error then or is said; they are never read wrong."""
    texts = [text for text in texts if text and not text.isspace()] or ["a"]
    path = tmp_path_factory.mktemp("encoding") / "a.txt"
    path.write_bytes("\n".join(texts).encode(encoding))

    try:
        loaded = load(path, encoding)
    except DataError:
        return
    assert loaded.guesses or loaded.dataset["text"] == texts


@pytest.mark.parametrize("wrong", ["", "utf-9", "rot13", "base64", "idna", "unicode_escape", "hex"])
def test_what_is_no_encoding_of_text_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.encoding must be an encoding of text"):
        IngestParams(path="a.txt", encoding=wrong)
    assert canonical_encoding("UTF_8_SIG") == "utf-8"


def test_an_encoding_is_of_local_text_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ingest\.encoding must be given only with local files"):
        IngestParams(dataset="some/data", encoding="latin-1")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"'latin-1' for Parquet or Arrow files"):
        load(tmp_path / "a.parquet", "latin-1")


@pytest.mark.parametrize("encoding", [None, "windows-1252"])
def test_utf8_with_a_damaged_place_is_no_other_encoding(encoding: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("café\n".encode() * 50 + b"caf\xe9\n")
    with pytest.raises(DataError, match=r"line 51: bytes e9.* as what is before them is.*iconv -c"):
        LocalFiles(str(tmp_path / "a.txt"), encoding).load(tmp_path)
