"""A precompiled character map of SentencePiece: what its normalizer puts in the place of which characters.

The format is that of sentencepiece's `normalizer_spec.precompiled_charsmap`: the size of a trie in bytes as a
little-endian 32-bit number, the trie, and the replacements, each ended by a zero byte. The trie is a double array of
Darts-clone: 32-bit units, of which each has a label, an offset to its children, and a mark where a key ends.
"""

from collections.abc import Mapping

import numpy as np

_ENDS_KEY = 1 << 8
_WIDE_OFFSET = 1 << 9
_LABEL = (1 << 31) | 0xFF
_IS_VALUE = 1 << 31


def read(charsmap: bytes) -> dict[str, str]:
    """The keys that can be found, and their replacements.

    The fast tokenizers take the shortest key that a text begins with, so a key that begins with another one is left
    out.

    Raises:
        ValueError: If this is no character map.
    """
    size = int.from_bytes(charsmap[:4], "little")
    if len(charsmap) < 4 + size or size % 4 or not size:
        raise ValueError("a character map that ends within its trie")
    units = np.frombuffer(charsmap[4 : 4 + size], "<u4")
    replacements = charsmap[4 + size :]
    labels = np.arange(1, 256)
    found: dict[str, str] = {}
    pending = [(b"", _offset(int(units[0])))]
    while pending:
        key, node = pending.pop()
        children = node ^ labels
        inside = children < len(units)
        is_child = np.zeros(len(labels), bool)
        is_child[inside] = (units[children[inside]] & _LABEL) == labels[inside]
        for label in labels[is_child]:
            child = node ^ int(label)
            longer, unit = key + bytes([label]), int(units[child])
            below = child ^ _offset(unit)
            if unit & _ENDS_KEY:
                start = int(units[below]) & ~_IS_VALUE
                found[longer.decode()] = replacements[start : replacements.index(b"\0", start)].decode()
            else:
                pending.append((longer, below))
    return found


def write(replacements: Mapping[str, str]) -> bytes:
    """A character map of these replacements, in a plain layout: 256 units for the children of each node."""
    children: list[dict[int, int]] = [{}]
    values: dict[int, int] = {}
    texts = bytearray()
    for key, replacement in replacements.items():
        node = 0
        for byte in key.encode():
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
            node = children[node][byte]
        values[node] = len(texts)
        texts += replacement.encode() + b"\0"
    inner = {node: number for number, node in enumerate((n for n, below in enumerate(children) if below), 1)}
    leaves = 256 * (len(inner) + 1)
    # Readers look for children of leaves too, and without a check of the end.
    units = np.zeros(leaves + 256 * (len(values) // 256 + 1), "<u4")
    pending = [(0, 0, 0)]
    while pending:
        node, place, label = pending.pop()
        # Offsets are applied by exclusive or.
        if node in inner:
            offset = (place ^ 256 * inner[node]) & ~0xFF
            units[place] = label | (offset >> 8 << 10) | _WIDE_OFFSET
        else:
            offset = place ^ leaves
            leaves += 1
            units[place] = label | (offset << 10)
        if node in values:
            units[place] |= _ENDS_KEY
            units[place ^ offset] = values[node] | _IS_VALUE
        pending += [(child, place ^ offset ^ byte, byte) for byte, child in children[node].items()]
    return len(units.tobytes()).to_bytes(4, "little") + units.tobytes() + bytes(texts)


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & _WIDE_OFFSET) >> 6)
