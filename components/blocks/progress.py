"""How far a stream of records was turned into blocks, on disk: written when what it speaks of is there."""

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from components.contract import manifest
from foundation import disk

if TYPE_CHECKING:
    import numpy as np

PROGRESS = "progress"
"""Where a step has it, in its directory."""

Place = tuple[int, int]
"""A shard's number, and how many of its records are before."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stream was read, and what came of it.

    Attributes:
        segments: The number of whole segments.
        place: Where the stream goes on.
        bytes: What was read, in bytes of memory.
        records: The records read, with and without text.
        null: Those that have none because it is null.
        empty: Those that have none because it is empty.
        tokens: The tokens of all records.
        blocks: The blocks written.
        files: The SHA-256 of each segment's file, by its name in the step's directory.
        is_finished: Whether that is the whole stream.
    """

    segments: int = 0
    place: Place = (0, 0)
    bytes: int = 0
    records: int = 0
    null: int = 0
    empty: int = 0
    tokens: int = 0
    blocks: int = 0
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    is_finished: bool = False

    @classmethod
    def read(cls, out: Path) -> "Progress | None":
        """What was written last in a step's directory; None where nothing of use is."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            content = json.loads((out / PROGRESS / "progress.json").read_bytes())
            found = cls(**{**content, "place": tuple(content["place"])})
            if all((out / name).is_file() for name in found.files) and found.segments and found._held(out).is_file():
                return found
        return None

    def is_whole(self, out: Path) -> bool:
        """Whether all of the segments' files are those that were written."""
        return all(manifest.digest_of_file(out / name) == digest for name, digest in self.files.items())

    def held(self, out: Path) -> "tuple[np.ndarray, np.ndarray]":
        """The tokens that are in no block yet, as `Layout.held` has them."""
        import numpy as np

        with np.load(self._held(out)) as arrays:
            return arrays["token_ids"], arrays["lengths"]

    def write(self, out: Path, held: "tuple[np.ndarray, np.ndarray]") -> None:
        """Writes it, when all that it speaks of is on the disk."""
        import numpy as np

        disk.make_directory(out / PROGRESS)
        np.savez(self._held(out), token_ids=held[0], lengths=held[1])
        for path in (*(out / name for name in self.files if f"-{self.segments - 1:05}." in name), self._held(out)):
            disk.flush(path)
            disk.flush(path.parent)
        manifest.write_json(out / PROGRESS / "progress.json", dataclasses.asdict(self))
        disk.flush(out / PROGRESS)
        for path in (out / PROGRESS).glob("held-*.npz"):
            if path != self._held(out):
                path.unlink()

    def _held(self, out: Path) -> Path:
        return out / PROGRESS / f"held-{self.segments:05}.npz"
