"""Fills blocks with records: joined end to end, one document a row, or as many whole documents as fit."""

import dataclasses
import itertools
from collections import defaultdict
from typing import ClassVar, Protocol

import numpy as np

WINDOW_TOKENS = 1 << 20
"""Tokens of the documents that are packed at once. It bounds memory, and adds hardly any padding."""
PLACED_TOKENS = 1 << 20
"""Tokens that are put into blocks at once, because the indices by which it is done take 40 bytes for each."""
WINDOW_BLOCKS = 256
"""The number of blocks that a window fills at least."""


@dataclasses.dataclass(frozen=True)
class BlockBatch:
    """Some blocks.

    Attributes:
        input_ids: (blocks, block_size) int32.
        document_ids: (blocks, block_size) int16, which of its block's documents, from 1, each token belongs to, and 0
            for padding; None where blocks don't keep documents apart.
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

    def add(self, token_ids: np.ndarray, lengths: np.ndarray) -> BlockBatch:
        """Adds records; returns the blocks that are full now.

        Args:
            token_ids: (tokens,) int32, the records' tokens, one record after the other.
            lengths: (records,) of each record, at least 1, in tokens.
        """

    def finish(self) -> BlockBatch:
        """Returns the blocks that are left when there are no more records."""

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that are in no block yet, and the lengths of the documents that they are of.

        A new layout to which these are added goes on as this one does.
        """

    @property
    def dropped(self) -> int:
        """The number of tokens that are in no block."""


class Concatenated:
    """Records end to end, cut at every block_size; what is left at the very end is dropped.

    What is left of one batch goes before the next, so where the batches end changes nothing. (The guide's
    `group_texts` drops a remainder in every batch of 1,000 records.)
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._remainder = np.empty(0, dtype=np.int32)  # (fewer than block_size,)

    def add(self, token_ids: np.ndarray, lengths: np.ndarray) -> BlockBatch:
        """See `Layout`."""
        stream = np.concatenate([self._remainder, token_ids])
        blocks = len(stream) // self._block_size
        self._remainder = stream[blocks * self._block_size :].copy()  # a view would keep the whole stream alive
        return BlockBatch(stream[: blocks * self._block_size].reshape(blocks, self._block_size), None)

    def finish(self) -> BlockBatch:
        """Returns no block, because the remainder is dropped."""
        return BlockBatch(np.empty((0, self._block_size), np.int32), None)

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Layout`."""
        return self._remainder, np.array([len(self._remainder)], np.int32)

    @property
    def dropped(self) -> int:
        """See `Layout`."""
        return len(self._remainder)


class OneDocumentARow:
    """One document a row, padded at the end. A document that is longer than a row takes several."""

    dropped: ClassVar[int] = 0

    def __init__(self, block_size: int, pad_token_id: int) -> None:
        self._block_size = block_size
        self._pad_token_id = pad_token_id

    def add(self, token_ids: np.ndarray, lengths: np.ndarray) -> BlockBatch:
        """See `Layout`."""
        pieces = pieces_of(lengths, self._block_size)
        return _place(token_ids, pieces, np.arange(len(pieces)), self._block_size, self._pad_token_id)

    def finish(self) -> BlockBatch:
        """Returns no block, because none is held back."""
        return self.add(*self.held)

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Layout`: nothing."""
        return np.empty(0, np.int32), np.empty(0, np.int32)


class Packed:
    """As many whole documents a block as fit. A document that is longer than a block is cut at every block_size.

    Documents are packed window by window, by best fit decreasing (Johnson 1973), as `best_fit` describes. A window ends
    after the document that fills it, so where the batches end changes nothing.
    """

    dropped: ClassVar[int] = 0

    def __init__(self, block_size: int, pad_token_id: int, window_tokens: int = WINDOW_TOKENS) -> None:
        self._block_size = block_size
        self._pad_token_id = pad_token_id
        self._window = max(window_tokens, WINDOW_BLOCKS * block_size)
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._held_tokens = 0

    def add(self, token_ids: np.ndarray, lengths: np.ndarray) -> BlockBatch:
        """See `Layout`. Blocks are returned when a window is full, which ends after the document that fills it."""
        filled = []
        pieces = pieces_of(lengths, self._block_size)
        ends, documents = np.cumsum(pieces), np.cumsum(-(-lengths // self._block_size))
        first_piece = first_token = 0
        # ends (pieces,), in tokens; documents (documents,), where the pieces of each end
        while first_token + self._window - self._held_tokens <= len(token_ids):
            filling = np.searchsorted(ends, first_token + self._window - self._held_tokens)
            last_piece = int(documents[np.searchsorted(documents, filling, side="right")])
            last_token = int(ends[last_piece - 1])
            self._hold(token_ids[first_token:last_token], pieces[first_piece:last_piece])
            filled.append(self.finish())
            first_piece, first_token = last_piece, last_token
        self._hold(token_ids[first_token:], pieces[first_piece:])
        if len(filled) == 1:
            return filled[0]
        shape = (0, self._block_size)
        return BlockBatch(
            np.concatenate([np.empty(shape, np.int32), *(each.input_ids for each in filled)]),
            np.concatenate([np.empty(shape, np.int16), *(each.document_ids for each in filled)]),
        )

    def _hold(self, token_ids: np.ndarray, pieces: np.ndarray) -> None:
        """Keeps documents for the next window."""
        self._held.append((token_ids, pieces))
        self._held_tokens += len(token_ids)

    def finish(self) -> BlockBatch:
        """Returns the blocks of the last window."""
        token_ids, pieces = self.held
        self._held, self._held_tokens = [], 0
        return _place(token_ids, pieces, best_fit(pieces, self._block_size), self._block_size, self._pad_token_id)

    @property
    def held(self) -> tuple[np.ndarray, np.ndarray]:
        """See `Layout`. Documents longer than a block are in pieces, which are packed as they are."""
        nothing = np.empty(0, np.int32)
        token_ids, pieces = (np.concatenate(held) for held in zip(*self._held, (nothing, nothing), strict=True))
        return token_ids, pieces


def layout_of(packing: str, block_size: int, pad_token_id: int | None) -> Layout:
    """The layout for a `packing`: concatenate, documents or packed. The last two need a padding token."""
    if packing == "concatenate":
        return Concatenated(block_size)
    if pad_token_id is None:
        raise ValueError(f"{packing} needs a padding token")
    return (OneDocumentARow if packing == "documents" else Packed)(block_size, pad_token_id)


def pieces_of(lengths: np.ndarray, block_size: int) -> np.ndarray:
    """Cuts documents at every block_size.

    Args:
        lengths: (documents,) int32, in tokens.
        block_size: Tokens a block.

    Returns:
        (pieces,) int32, the lengths of the pieces, from 1 to block_size, in the order of the documents.
    """
    counts = -(-lengths // block_size)  # (documents,)
    pieces = np.full(int(counts.sum()), block_size, np.int32)
    pieces[np.cumsum(counts) - 1] = lengths - (counts - 1) * block_size
    return pieces


def best_fit(lengths: np.ndarray, block_size: int) -> np.ndarray:
    """Assigns pieces to blocks, the longest first: each goes where it leaves the least room, or else into a new block.

    Args:
        lengths: (pieces,) from 1 to block_size.
        block_size: Tokens a block.

    Returns:
        (pieces,) int64, the block of each, from 0.
    """
    block_of = np.empty(len(lengths), np.int64)
    with_room: defaultdict[int, list[int]] = defaultdict(list)  # the blocks by the room that is left in them
    rooms = 0  # bit r is set if a block has room r, so that the smallest sufficient room is found at once
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


def _place(
    token_ids: np.ndarray, pieces: np.ndarray, block_of: np.ndarray, block_size: int, pad_token_id: int
) -> BlockBatch:
    """Puts the tokens of pieces into blocks.

    Args:
        token_ids: (tokens,) int32, the tokens of all pieces, one piece after the other.
        pieces: (pieces,) int32, the length of each.
        block_of: (pieces,) int64, the block of each, from 0.
        block_size: Tokens a block.
        pad_token_id: The token that fills the rest of a block.
    """
    shape = (int(block_of.max(initial=-1)) + 1, block_size)
    input_ids, document_ids = np.full(shape, pad_token_id, np.int32), np.zeros(shape, np.int16)
    order = np.argsort(block_of, kind="stable")  # pieces by block
    first = np.searchsorted(block_of[order], np.arange(shape[0]))  # (blocks,)
    before = np.cumsum(pieces[order]) - pieces[order]
    offset, number = np.empty(len(pieces), np.int64), np.empty(len(pieces), np.int16)
    offset[order] = before - before[first][block_of[order]]
    number[order] = np.arange(len(pieces)) - first[block_of[order]] + 1
    ends = np.cumsum(pieces)
    begins, block_begins = ends - pieces, block_of * block_size + offset
    edges = np.searchsorted(ends, np.arange(PLACED_TOKENS, len(token_ids), PLACED_TOKENS))
    for low, high in itertools.pairwise(np.unique([0, *edges, len(pieces)])):
        lengths, first, last = pieces[low:high], begins[low], ends[high - 1]
        within = np.arange(first, last) - np.repeat(begins[low:high], lengths)
        place = np.repeat(block_begins[low:high], lengths) + within  # (tokens of these pieces,)
        input_ids.ravel()[place] = token_ids[first:last]
        document_ids.ravel()[place] = np.repeat(number[low:high], lengths)
    return BlockBatch(input_ids, document_ids)
