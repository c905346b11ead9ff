"""Local files as a source: one file, a directory or a glob of JSON, CSV, text or Parquet files."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contract import manifest
from components.contract.workers import THIS_PROCESS, Workers
from components.sources import Loaded, delimited, json_records, readers, schema, tables
from components.sources.columns import Columns
from components.sources.compression import compression_of, named_compression
from components.sources.finding import (
    TABLES,
    base,
    format_of,
    left_out_note,
    named_format,
    refuse_formats,
    usable_files,
    why_left_out,
)
from components.sources.parts import PARTS, mixed, parts_of
from components.sources.shared_reading import FileReader, write_shared, write_tables_shared
from foundation.errors import ConfigError, DataError
from foundation.terminal import BYTES, TERMINAL

if TYPE_CHECKING:
    from datasets import Dataset

READERS = {
    ".jsonl": json_records.read_json,
    ".ndjson": json_records.read_json,
    ".json": json_records.read_json,
    ".csv": delimited.read_csv,
    ".tsv": delimited.read_tsv,
    ".txt": readers.read_text,
}
"""The reader for each ending, which that of a compression may follow."""


LEAST_SHARED_BYTES = 32 << 20
"""Smaller sources are read by one process."""


@dataclasses.dataclass(frozen=True)
class LocalFiles:
    """Files of one format below a path.

    Attributes:
        path: A file, a directory (files below it at any depth, hidden ones left out) or a glob pattern.
        encoding: The encoding of text files without a byte order mark; None for UTF-8.
        text_records: What is a record in a text file.
        test_path: The same as `path` for the files of the test part; None where `path` has all files.
        columns: The columns to read; None for all.
        field: The field of each JSON file's one object that has the records; None where that isn't said.

    Example:
        source = LocalFiles("data/*.jsonl")
        digests = source.digests()  # {"a.jsonl": "e3464320...", "b.jsonl": "0f117a2a..."}
        records = source.load(cache).dataset  # a datasets.Dataset
    """

    path: str
    encoding: str | None = None
    text_records: readers.TextRecords = "paragraph"
    test_path: str | None = None
    columns: tuple[str, ...] | None = None
    field: str | None = None

    def files(self) -> tuple[list[Path], list[Path]]:
        """The files to read, sorted, those of the test part last, and those of other formats, which are left out.

        Raises:
            ConfigError: If there are none, or they are of several formats.
        """
        usable, others = usable_files("ingest.path", self.path)
        if self.test_path is not None:
            others += [path for path in usable_files("ingest.test_path", self.test_path)[1] if path not in others]
            usable = [path for path in usable if not self.is_test(path)]
            if not usable:
                raise ConfigError(
                    "ingest.path must name other files than ingest.test_path",
                    received=f"{self.path} and {self.test_path}",
                    remedy="correct one of them, or leave out --ingest.test_path",
                )
            usable += self.test_files
        refuse_formats(self.path, usable)
        return usable, others

    @functools.cached_property
    def test_files(self) -> list[Path]:
        """The files that `test_path` names."""
        return [] if self.test_path is None else usable_files("ingest.test_path", self.test_path)[0]

    @functools.cached_property
    def _test_places(self) -> set[Path]:
        return {path.resolve() for path in self.test_files}

    def is_test(self, path: Path) -> bool:
        """Whether `test_path` names a file, also if `path` names it too, perhaps by another name."""
        return path.resolve() in self._test_places

    def name_of(self, path: Path) -> str:
        """A file's name relative to the path that it is below; a file that `test_path` names has that before it."""
        if self.test_path is not None and (self.is_test(path) or not path.is_relative_to(base(self.path))):
            return f"test_path/{path.relative_to(base(self.test_path)).as_posix()}"
        return path.relative_to(base(self.path)).as_posix()

    def parts_of(self, paths: Iterable[Path]) -> dict[str, str]:
        """The part of each file that has one, by name."""
        if self.test_path is None:
            return parts_of([self.name_of(path) for path in paths])
        return {self.name_of(path): "test" if self.is_test(path) else "train" for path in paths}

    def mixed(self, paths: Iterable[Path]) -> list[str]:
        """The files that are named as another part, although they are read as train or with the others."""
        names = [self.name_of(path) for path in paths if not self.is_test(path)]
        return mixed(names, all_are_train=self.test_path is not None)

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file's bytes, by its name below the path."""
        digests, paths = {}, self.files()[0]
        with TERMINAL.progress("comparing files", size_of(paths), BYTES):
            for path in paths:
                with readers.read_errors(path):
                    digests[self.name_of(path)] = manifest.digest_of_file(path)
        return digests

    def load(self, cache: Path, workers: Workers = THIS_PROCESS) -> Loaded:
        """The records of all files.

        Args:
            cache: A directory for the Arrow file from which the records are memory-mapped.
            workers: Who reads the files, where there are several of both.

        Raises:
            DataError: If a file can't be read, is malformed, or there are no records.
        """
        paths, others = self.files()
        parts = self.parts_of(paths)
        unnamed = [path for path in paths if parts and self.name_of(path) not in parts]
        paths = self.in_order(set(paths) - set(unnamed), parts)
        reading = readers.Reading(self.encoding, self.text_records, self.field)
        target = cache / "records.arrow"
        forms: dict[Path, dict[str, str]] = {}
        guesses: list[str] = []
        self.refuse_field(paths)
        if format_of(paths[0]) in TABLES:
            self.refuse_encoding()
            if is_shared(paths, workers):
                records, anomalies = write_tables_shared(paths, target, Columns(self.columns), workers)
            else:
                records, anomalies = tables.write_tables(paths, target, Columns(self.columns))
        else:
            forms, guesses = self.inspect(paths)
            records, anomalies = self.write(paths, reading, target, workers)
            guesses += [reading.guesses[path] for path in paths if path in reading.guesses]
        self.refuse_unchosen_list(reading, records)
        guesses += left_out_note(others, paths)
        anomalies += [f"{self.name_of(path)} holds no records" for path in paths if not records[path]]
        dataset = open_arrow(target)
        if reading.names:
            Columns(self.columns).refuse_missing([dataset.features.arrow_schema], reading.names)
        return Loaded(
            dataset,
            self.facts(paths, records, forms, parts),
            self.skipped(reading.blank_lines, others, unnamed),
            anomalies,
            parts=self.records_by_part(records, parts),
            unnamed=[self.name_of(path) for path in unnamed],
            mixed=self.mixed(paths),
            guesses=guesses,
        )

    def in_order(self, paths: Iterable[Path], parts: Mapping[str, str]) -> list[Path]:
        """Files in the order in which they are read: by part, where there are parts, and by path."""
        return sorted(paths, key=lambda path: (PARTS.index(parts[self.name_of(path)]) if parts else 0, path))

    def skipped(self, blank_lines: Counter[Path], others: list[Path], unnamed: list[Path]) -> list[dict[str, Any]]:
        """What the files hold besides records, as `Loaded.skipped` has it.

        Args:
            blank_lines: The number of blank lines by file.
            others: The files of other formats.
            unnamed: The files that are named as no part, beside files that are.
        """
        skipped = [
            (f"blank lines of {self.name_of(path)}", count, "a blank line is no record")
            for path, count in sorted(blank_lines.items())
        ]
        skipped += [(self.name_of(path), 1, why_left_out(path)) for path in others]
        reason = "beside files named train and test, one named neither"
        skipped += [(self.name_of(path), 1, reason) for path in unnamed]
        return [dict(zip(("what", "count", "reason"), each, strict=True)) for each in skipped]

    def facts(
        self,
        paths: list[Path],
        records: Counter[Path],
        forms: Mapping[Path, dict[str, str]],
        parts: Mapping[str, str],
    ) -> dict[str, Any]:
        """The facts about the files that were read, as `Loaded.facts` has them.

        Args:
            paths: The files.
            records: The number of records by file.
            forms: What `inspect` found, by file.
            parts: The part by file name, where there are parts.
        """
        files = [
            {
                "name": self.name_of(path),
                "bytes": path.stat().st_size,
                "records": records[path],
                **forms.get(path, {}),
                **({"part": parts[self.name_of(path)]} if parts else {}),
            }
            for path in paths
        ]
        return {"kind": "local files", "path": self.path, "files": files}

    def records_by_part(self, records: Counter[Path], parts: Mapping[str, str]) -> dict[str, int]:
        """The number of records of each part, in the order of the parts; empty where there are none."""
        counts = {part: 0 for part in PARTS if part in parts.values()}
        for path, count in records.items():
            if parts:
                counts[parts[self.name_of(path)]] += count
        return counts

    def refuse_encoding(self) -> None:
        """Refuses an encoding for files that aren't text.

        Raises:
            ConfigError: If one is given.
        """
        if self.encoding is not None:
            raise ConfigError(
                "ingest.encoding must be given only with files of text",
                received=f"{self.encoding!r} for Parquet or Arrow files",
                remedy="leave out --ingest.encoding",
            )

    def refuse_field(self, paths: Sequence[Path]) -> None:
        """Refuses a field for files that aren't JSON.

        Raises:
            ConfigError: If one is given.
        """
        if self.field is not None and READERS.get(format_of(paths[0])) is not json_records.read_json:
            raise ConfigError(
                "ingest.field must be given only with files of JSON",
                received=f"{self.field!r} for {paths[0]}",
                remedy="leave out --ingest.field; a column of text is named by --preprocess.text_column",
            )

    def refuse_unchosen_list(self, reading: readers.Reading, records: Counter[Path]) -> None:
        """Refuses a single object as the only record, where fields of it have lists of records.

        Raises:
            DataError: Naming them.
        """
        lists = [each for path in reading.lists for each in reading.lists[path]]
        if records.total() == 1 and lists:
            [path] = [path for path, count in records.items() if count]
            name = lists[0].split("`")[1]
            raise DataError(
                "a corpus must hold several records",
                received=f"{path}, one object, whose field{'s' * (len(lists) > 1)} {', '.join(lists)} may hold them",
                remedy=f"say where the records are, such as --ingest.field {name}",
            )

    def inspect(self, paths: list[Path]) -> tuple[dict[Path, dict[str, str]], list[str]]:
        """How files are encoded and compressed, where that isn't UTF-8 or not as their names say.

        Returns:
            The facts by file, and a sentence for each thing that was guessed.

        Raises:
            DataError: If a file can't be read, holds no text, or contradicts the given encoding.
        """
        forms: dict[Path, dict[str, str]] = {}
        notes = []
        for path in paths:
            found = readers.encoding(path, self.encoding)
            forms[path] = {"encoding": found.name} if found.name != "utf-8" else {}
            notes += [found.note] if found.note else []
            packed, named = compression_of(path), named_compression(path)
            if packed != named and path.stat().st_size:
                forms[path]["packed"] = packed or "not"
                what = f"{packed} data, and was unpacked" if packed else f"no {named} data, and was read as it is"
                notes.append(f"{path.name} holds {what}")
        unnamed = [path for path in paths if not named_format(path)]
        if unnamed:
            more = f" and {len(unnamed) - 1:,} more" if len(unnamed) > 1 else ""
            kind = "JSON" if format_of(unnamed[0]) == ".json" else "text"
            notes.append(
                f"{unnamed[0].name}{more} were read as {kind}, by what they hold"
                if more
                else f"{unnamed[0].name} was read as {kind}, by what it holds"
            )
        return forms, notes

    def write(
        self, paths: list[Path], reading: readers.Reading, target: Path, workers: Workers
    ) -> tuple[Counter[Path], list[str]]:
        """Writes the records of JSON, CSV or text files to an Arrow file.

        Returns:
            The number of records by file, and a sentence for each thing that could not be kept as it came.

        Raises:
            DataError: If a file can't be read, is malformed, or there are no records.
        """
        reader = FileReader(READERS[format_of(paths[0])], reading, self.columns)
        records: Counter[Path] = Counter()

        def read_all() -> readers.Records:
            # The records are read twice, and counted anew each time.
            records.clear()
            reading.begin_anew()
            with TERMINAL.progress("reading", size_of(paths), BYTES):
                for path in paths:
                    for place, record in reader.records(path, reading):
                        records[path] += 1
                        yield place, record

        shared = write_shared(reader, paths, target, workers) if is_shared(paths, workers) else None
        if shared is None:
            _, anomalies = schema.write_records(read_all, target)
        else:
            found, anomalies = shared
            for path, each in zip(paths, found, strict=True):
                records[path] = each.records
                reading.add(each.reading)
        if not records.total():
            sizes = ", ".join(f"{path} ({path.stat().st_size} bytes)" for path in paths[:3])
            raise no_records(sizes + (f" and {len(paths) - 3} more" if len(paths) > 3 else ""))
        return records, anomalies


def is_shared(paths: Sequence[Path], workers: Workers) -> bool:
    """Whether several processes read the files, which takes them less time than to start."""
    return workers.count > 1 and len(paths) > 1 and size_of(paths) >= LEAST_SHARED_BYTES


def size_of(paths: Iterable[Path]) -> int:
    """The bytes of all files; a file that is gone counts none."""
    return sum(path.stat().st_size for path in paths if path.exists())


def no_records(received: str) -> DataError:
    """The error for files without a record."""
    return DataError(
        "a source must hold records",
        received=f"none in {received}",
        remedy="give files with records with --ingest.path",
    )


def open_arrow(path: Path) -> "Dataset":
    """The records of an Arrow file, memory-mapped.

    Raises:
        DataError: If `datasets` has no feature for a column's type.
    """
    from datasets import Dataset

    try:
        return Dataset.from_file(str(path))
    except (ValueError, NotImplementedError, TypeError) as error:
        raise DataError(
            "a column's type must be one that `datasets` has a feature for",
            received=str(error),
            remedy="leave that column out, or write it with another type",
        ) from error
