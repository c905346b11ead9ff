"""How records become blocks: joined end to end, one document a row, or as many whole documents as fit."""

import dataclasses
from collections import defaultdict
from typing import ClassVar, Protocol

import numpy as np

from components.blocks.writer import BlockCutter

WINDOW_TOKENS = 1 << 20
"""Tokens of the documents that are packed together: bounds memory, and hardly costs padding."""
WINDOW_BLOCKS = 256
"""Blocks that a window fills at least."""


@dataclasses.dataclass(frozen=True)
class Laid:
    """Some blocks.

    Attributes:
        input_ids: (blocks, block_size) int32.
        document_ids: (blocks, block_size) int16, which of its block's documents, from 1, each token belongs to, and 0
            for padding; None where blocks know no documents.
    """

    input_ids: np.ndarray
    document_ids: np.ndarray | None

    @property
    def attention_mask(self) -> np.ndarray:
        """(blocks, block_size) int8, 1 for tokens and 0 for padding."""
        if self.document_ids is None:
            return np.ones_like(self.input_ids, np.int8)
        return (self.document_ids > 0).astype(np.int8)


class Layout(Protocol):
    """Turns a stream of records, which comes in batches of any size, into blocks."""

    def lay(self, token_ids: np.ndarray, lengths: np.ndarray) -> Laid:
        """The blocks that more records fill.

        Args:
            token_ids: (tokens,) int32, of all of them one after the other.
            lengths: (records,) of each, at least 1, in tokens.
        """

    def rest(self) -> Laid:
        """The blocks that are left when no record is."""

    @property
    def dropped(self) -> int:
        """Tokens that are left in no block."""


class Concatenated:
    """Records end to end, cut at every block_size; what is left at the very end is dropped."""

    def __init__(self, block_size: int) -> None:
        self._cutter = BlockCutter(block_size)

    def lay(self, token_ids: np.ndarray, lengths: np.ndarray) -> Laid:
        """See `Layout`."""
        return Laid(self._cutter.cut(token_ids), None)

    def rest(self) -> Laid:
        """None: the remainder is dropped."""
        return Laid(np.empty((0, self._cutter.block_size), np.int32), None)

    @property
    def dropped(self) -> int:
        """See `Layout`."""
        return len(self._cutter.remainder)


class OneDocumentARow:
    """Every document in a row of its own, padded at the end; a longer one in as many rows as it takes."""

    dropped: ClassVar[int] = 0

    def __init__(self, block_size: int, pad_token_id: int) -> None:
        self._block_size = block_size
        self._pad_token_id = pad_token_id

    def lay(self, token_ids: np.ndarray, lengths: np.ndarray) -> Laid:
        """See `Layout`."""
        pieces = pieces_of(lengths, self._block_size)
        return _placed(token_ids, pieces, np.arange(len(pieces)), self._block_size, self._pad_token_id)

    def rest(self) -> Laid:
        """None: nothing is held back."""
        nothing = np.empty(0, np.int32)
        return self.lay(nothing, nothing)


class Packed:
    """As many whole documents a block as fit; of a longer one, the pieces that fill a block, then what is left of it.

    Documents are packed window by window: best fit decreasing (Johnson 1973), as `best_fit` says.
    """

    dropped: ClassVar[int] = 0

    def __init__(self, block_size: int, pad_token_id: int, window_tokens: int = WINDOW_TOKENS) -> None:
        self._block_size = block_size
        self._pad_token_id = pad_token_id
        self._window = max(window_tokens, WINDOW_BLOCKS * block_size)
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._held_tokens = 0

    def lay(self, token_ids: np.ndarray, lengths: np.ndarray) -> Laid:
        """See `Layout`. Blocks come when a window is full."""
        self._held.append((token_ids, pieces_of(lengths, self._block_size)))
        self._held_tokens += len(token_ids)
        if self._held_tokens >= self._window:
            return self.rest()
        return Laid(np.empty((0, self._block_size), np.int32), np.empty((0, self._block_size), np.int16))

    def rest(self) -> Laid:
        """The blocks of the last window."""
        nothing = np.empty(0, np.int32)
        token_ids, pieces = (np.concatenate(held) for held in zip(*self._held, (nothing, nothing), strict=True))
        self._held, self._held_tokens = [], 0
        return _placed(token_ids, pieces, best_fit(pieces, self._block_size), self._block_size, self._pad_token_id)


def layout_of(packing: str, block_size: int, pad_token_id: int | None) -> Layout:
    """The layout by its name: concatenate, documents or packed; the last two need a padding token."""
    if packing == "concatenate":
        return Concatenated(block_size)
    if pad_token_id is None:
        raise ValueError(f"{packing} needs a padding token")
    return (OneDocumentARow if packing == "documents" else Packed)(block_size, pad_token_id)


def pieces_of(lengths: np.ndarray, block_size: int) -> np.ndarray:
    """Documents' lengths (documents,) cut at every block_size: (pieces,) of 1 to block_size, in the same order."""
    counts = -(-lengths // block_size)  # (documents,)
    pieces = np.full(int(counts.sum()), block_size, np.int32)
    pieces[np.cumsum(counts) - 1] = lengths - (counts - 1) * block_size
    return pieces


def best_fit(lengths: np.ndarray, block_size: int) -> np.ndarray:
    """Puts pieces, the longest first, where they leave the least room; opens a block where there is no room.

    Args:
        lengths: (pieces,) from 1 to block_size.
        block_size: Tokens a block.

    Returns:
        (pieces,) int64, the block of each, from 0.
    """
    block_of = np.empty(len(lengths), np.int64)
    with_room: defaultdict[int, list[int]] = defaultdict(list)  # blocks by the room they have
    rooms = 0  # bit r is set where a block has room r, so that the least sufficient one is found at once
    blocks = 0
    order = np.argsort(-lengths, kind="stable")
    for piece, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        enough = rooms >> length
        if enough:
            room = length + (enough & -enough).bit_length() - 1
            block = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
        else:
            room, block = block_size, blocks
            blocks += 1
        block_of[piece] = block
        if room > length:
            with_room[room - length].append(block)
            rooms |= 1 << (room - length)
    return block_of


def _placed(
    token_ids: np.ndarray, pieces: np.ndarray, block_of: np.ndarray, block_size: int, pad_token_id: int
) -> Laid:
    """Writes pieces (pieces,), whose tokens come one after the other, into the blocks (pieces,) that they belong to."""
    shape = (int(block_of.max(initial=-1)) + 1, block_size)
    input_ids, document_ids = np.full(shape, pad_token_id, np.int32), np.zeros(shape, np.int16)
    order = np.argsort(block_of, kind="stable")  # pieces by block
    first = np.searchsorted(block_of[order], np.arange(shape[0]))  # (blocks,)
    before = np.cumsum(pieces[order]) - pieces[order]
    offset, number = np.empty(len(pieces), np.int64), np.empty(len(pieces), np.int16)
    offset[order] = before - before[first][block_of[order]]
    number[order] = np.arange(len(pieces)) - first[block_of[order]] + 1
    within = np.arange(len(token_ids)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    place = np.repeat(block_of * block_size + offset, pieces) + within  # (tokens,)
    input_ids.ravel()[place] = token_ids
    document_ids.ravel()[place] = np.repeat(number, pieces)
    return Laid(input_ids, document_ids)
