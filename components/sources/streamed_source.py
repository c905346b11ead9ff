"""What ingest keeps of a source that is streamed: the test split, and where the train records are read from."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from components.contract.reports import CorpusReport, Parts, Shard, Skipped, Streamed, StreamReport
from components.sources import corpus_report, corpus_sentences, schema, tables
from components.sources.beginnings import Limits, Take, divided, too_few, write_tables
from components.sources.columns import Columns
from components.sources.finding import TABLES, format_of
from components.sources.hub import PARQUET_BRANCH, HubDataset
from components.sources.hub_shards import HubShards
from components.sources.local import LocalFiles, open_arrow
from components.sources.local_shards import LocalShards
from components.sources.parts import held_out
from components.sources.readers import Records
from components.sources.streaming import evenly

if TYPE_CHECKING:
    from datasets import Dataset


@dataclasses.dataclass(frozen=True)
class StreamedSource:
    """A source of which the beginnings were read.

    Attributes:
        stream: Where the train records are read from.
        train: The records that were looked at, which belong to the stream.
        test: The test split.
        facts: Facts about the source, as `Loaded` has them, and so the others.
        held_out: The part that is the test split, where the source has parts of its own.
        skipped: What the source has besides records.
        anomalies: What a person should know about the records, a sentence each.
        guesses: What was guessed about how files are encoded or compressed.
        unnamed: The files that are named as no part, and were left out.
        mixed: The files that are named as another part, although they were read with the others.
    """

    stream: StreamReport
    train: "Dataset"
    test: "Dataset"
    facts: dict[str, Any]
    held_out: str | None
    skipped: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    anomalies: list[str] = dataclasses.field(default_factory=list)
    guesses: list[str] = dataclasses.field(default_factory=list)
    unnamed: list[str] = dataclasses.field(default_factory=list)
    mixed: list[str] = dataclasses.field(default_factory=list)

    def report(self) -> CorpusReport:
        """The report of the corpus: statistics of the records that were looked at."""
        report = corpus_report.describe(
            {"train": self.train, "test": self.test}, corpus_report.Choice(unnamed=self.unnamed, mixed=self.mixed)
        )
        shards, train, test = len(self.stream.shards), len(self.train), len(self.test)
        size = f"{counted_shards(shards)} of {self.stream.bytes:,} bytes"
        how = "the first of each shard" if self.held_out is None else f"its own {self.held_out} part"
        summary = f"train streams from {size}; {test:,} test records ({how}); {train:,} train records looked at"
        if report.columns:
            longest = max(report.columns, key=lambda name: corpus_sentences.words_of(report.columns[name]))
            summary += f", {report.columns[longest].train.words:,} words in {longest}"
        if (most := self.stream.max_train_records) is not None:
            summary += f"; of train the first {most:,} at most (ingest.max_train_records)"
        summary += "".join(f"; {note}" for note in self.guesses[:1])
        return dataclasses.replace(
            report,
            summary=summary + (f" (and {len(self.guesses) - 1:,} more)" if len(self.guesses) > 1 else ""),
            streamed=Streamed(shards=shards, bytes=self.stream.bytes),
            parts=Parts("train", self.held_out, {}) if self.held_out else None,
            anomalies=(
                f"train is streamed from {size}: what is said of train is said of the {train:,} records that were "
                "read at their beginnings",
                *self.guesses,
                *self.anomalies,
                *report.anomalies,
            ),
            source=self.facts,
            skipped=tuple(Skipped(**skipped) for skipped in self.skipped),
        )


def counted_shards(count: int) -> str:
    """How many shards there are, in words."""
    return "1 shard" if count == 1 else f"{count:,} shards"


def of_local_files(files: LocalFiles, digests: Mapping[str, str], limits: Limits, cache: Path) -> StreamedSource:
    """Reads the beginnings of local files.

    Args:
        files: The files.
        digests: What `files.digests()` returned.
        limits: How much is read.
        cache: A directory for the Arrow file from which the records are memory-mapped.

    Raises:
        DataError: If a file can't be read or is malformed, or there are too few records.
    """
    paths, others = files.files()
    parts = files.parts_of(paths)
    unnamed = [path for path in paths if parts and files.name_of(path) not in parts]
    paths = files.in_order(set(paths) - set(unnamed), parts)
    train = [path for path in paths if not parts or parts[files.name_of(path)] == "train"]
    test = [path for path in paths if parts and parts[files.name_of(path)] == held_out(parts.values())]
    source = LocalShards(files.path, files.encoding, files.text_records, files.test_path)
    takes = limits.takes(len(train), len(test))
    target, columns = cache / "records.arrow", Columns(files.columns)
    forms: dict[Path, dict[str, str]] = {}
    notes: list[str] = []
    anomalies: list[str] = []
    if format_of(paths[0]) in TABLES:
        files.refuse_encoding()
        each = (
            (
                path.name,
                take,
                tables.batches_of(path, [name for name in tables.schema_of(path).names if columns.below(name)]),
            )
            for path, take in paired(train, test, takes)
        )
        anomalies = write_tables(each, columns, cache, target)
    else:
        forms, notes = files.inspect([*train, *test])

        def read_all() -> Records:
            # The records are read twice, and counted anew each time.
            source.reading.begin_anew()
            for take in takes:
                take.read.clear()
            for path, take in paired(train, test, takes):
                for place, record in take.of_records(source.records(path)):
                    source.reading.names.update(dict.fromkeys(record))
                    yield place, columns.of_record(record)

        count, anomalies = schema.write_records(read_all, target)
        if not count:
            raise too_few(limits)
        columns.refuse_missing([open_arrow(target).features.arrow_schema], source.reading.names)
        notes += source.reading.guesses.values()
    shards = [
        Shard(name=name, bytes=path.stat().st_size, digest=digests[name], test_records=records)
        for path, records in zip(train, takes[0].test_records, strict=True)
        for name in [files.name_of(path)]
    ]
    stream = StreamReport(
        kind="local files",
        source=dataclasses.asdict(source),
        shards=tuple(shards),
        max_train_records=limits.max_train_records,
    )
    facts = {
        "kind": "local files",
        "path": files.path,
        "files": [
            {"name": files.name_of(path), "bytes": path.stat().st_size, **forms.get(path, {})}
            for path in [*train, *test]
        ],
    }
    records, test_records = divided(target, takes, limits)
    for some, take in zip((train, test), takes, strict=True):
        if take.records >= take.shards:  # else there are shards of which none was to be read
            read = zip(some, take.read, strict=True)
            anomalies += [f"{files.name_of(path)} holds no records" for path, count in read if not count]
    left_out = [path for path in paths if path not in {*train, *test}]
    if left_out:
        anomalies.append(f"the {len(left_out):,} files named {parts[files.name_of(left_out[0])]} were left out")
    return StreamedSource(
        stream,
        records,
        test_records,
        facts,
        held_out(parts.values()) if parts else None,
        files.skipped(source.reading.blank_lines, others, unnamed),
        anomalies,
        notes,
        [files.name_of(path) for path in unnamed],
        files.mixed(paths),
    )


def of_hub(dataset: HubDataset, split: str | None, limits: Limits, cache: Path) -> StreamedSource:
    """Reads the beginnings of a Hub dataset's files over the network.

    Args:
        dataset: The dataset.
        split: The split that is streamed, and from whose beginnings the test split is; None for train, with the test
            split from the dataset's own test or validation split where it has one.
        limits: How much is read.
        cache: A directory for the Arrow file from which the records are memory-mapped.

    Raises:
        ConfigError: If there is no such configuration or split.
        HubError: If the Hub is out of reach, or the dataset can't be read.
        DataError: If there are too few records.
    """
    revision, commit, stands_in = dataset.resolved
    source = HubShards(dataset.dataset, dataset.config, split or "train", revision, commit)
    shards = source.shards
    other = next((name for name in ("test", "validation") if split is None and name in source.files), None)
    held = dataclasses.replace(source, split=other) if other else None
    looked_at = [evenly(one.shards if one else (), HubShards.most_beginnings) for one in (source, held)]
    takes = limits.takes(*map(len, looked_at))
    each = (
        (PurePosixPath(shard.name).name, take, one.tables(shard.name))
        for one, some, take in zip((source, held), looked_at, takes, strict=True)
        if one
        for shard in some
    )
    target = cache / "records.arrow"
    notes = write_tables(each, Columns(dataset.columns), cache, target)
    test_records = dict(zip((shard.name for shard in looked_at[0]), takes[0].test_records, strict=True))
    stream = StreamReport(
        kind="hub",
        source=dataclasses.asdict(source),
        shards=tuple(dataclasses.replace(each, test_records=test_records.get(each.name, 0)) for each in shards),
        max_train_records=limits.max_train_records,
    )
    facts = {
        "kind": "hub",
        "dataset": dataset.dataset,
        "config": dataset.config,
        "split": source.split,
        "revision": revision,
        "commit": commit,
        "fallback": f"main holds {dataset.script}, which `datasets` no longer runs" if stands_in else None,
        "files": [{"name": shard.name, "bytes": shard.bytes} for shard in shards],
    }
    if revision == PARQUET_BRANCH and any("/partial-" in shard.name for shard in shards):
        notes.append("the Hub converted only the first 5 GB of this dataset to Parquet")
    return StreamedSource(stream, *divided(target, takes, limits), facts, other, anomalies=notes)


def paired(train: list[Path], test: list[Path], takes: tuple[Take, Take]) -> Iterator[tuple[Path, Take]]:
    """Each file with what says how much of it is read, those of the test part last."""
    return itertools.chain(zip(train, itertools.repeat(takes[0])), zip(test, itertools.repeat(takes[1])))
