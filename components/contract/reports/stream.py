"""Where the train records of a Corpus are read from when they are streamed: `stream.json`."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shard:
    """One of the files that a stream consists of.

    Attributes:
        name: Its name below `ingest.path`, or in the Hub's repository.
        bytes: Its size as it is stored, compressed or not.
        digest: What its content must be: of a local file the SHA-256, of the Hub's what the Hub calls it by.
        test_records: How many records at its beginning are in the test split, and so not in the stream.
    """

    name: str
    bytes: int
    digest: str
    test_records: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamReport:
    """`stream.json` of a Corpus: all that is needed to read the train records again, in the same order.

    Attributes:
        kind: Whether the shards are local files or the Hub's.
        source: The settings by which `components.sources.streaming` opens them.
        shards: The shards in the order in which they are read; the records of each come in their own order.
        max_train_records: After how many records the stream ends; None for all.
    """

    kind: Literal["local files", "hub"]
    source: Mapping[str, Any]
    shards: tuple[Shard, ...]
    max_train_records: int | None = None

    @property
    def bytes(self) -> int:
        """The size of all shards, as they are stored."""
        return sum(shard.bytes for shard in self.shards)
