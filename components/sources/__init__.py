"""Where records come from, one module for each kind of source: the Hub, local files, the embedded corpus.

Each kind is a frozen dataclass with two methods, which `components.ingest` calls:

- `digests()` returns exact revisions or SHA-256 digests of what will be read, by name.
- `load(cache)` returns the records as one `Loaded`, and writes files only inside the directory `cache`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


@dataclasses.dataclass(frozen=True)
class Loaded:
    """All records of a source, before they are split.

    Attributes:
        dataset: The records, nested as they came.
        facts: Facts about what was read: the kind of source, its revision or files.
        skipped: What the source holds besides records, as `{"what", "count", "reason"}` each.
        anomalies: What a person should know about the records, a sentence each.
        available: The number of records that the source has, where `dataset` holds only some of them.
        parts: The number of records of each of the source's own parts (`train`, `validation`, `test`), in the order
            in which they stand in `dataset`; empty where it has none.
        unnamed: The files that are named as no part, and were left out.
        guesses: What was guessed about how files are encoded or compressed, a sentence each, which the run shows.
        mixed: The files that are named as another part, although they were read with the others.
    """

    dataset: "Dataset"
    facts: dict[str, Any]
    skipped: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    anomalies: list[str] = dataclasses.field(default_factory=list)
    available: int | None = None
    parts: dict[str, int] = dataclasses.field(default_factory=dict)
    unnamed: list[str] = dataclasses.field(default_factory=list)
    guesses: list[str] = dataclasses.field(default_factory=list)
    mixed: list[str] = dataclasses.field(default_factory=list)

    def place(self, row: int) -> str:
        """Where a record of `dataset` came from, for messages: its number, counted from 1, in its file if known."""
        files = self.facts.get("files", [])
        if sum(file.get("records", 0) for file in files) == len(self.dataset):
            for file in files:
                if row < file["records"]:
                    return f"record {row + 1:,} of {file['name']}"
                row -= file["records"]
        return f"record {row + 1:,}"
