"""Text in RE2's patterns: a literal, white space, and what no text can hold."""

# No valid UTF-8 holds this byte, so no text can hold the separator.
SEPARATOR = b"\xff"

# Unicode's property White_Space, which the fast tokenizers' regex engine calls `\s`.
WHITE_SPACE = (
    *range(0x09, 0x0E),
    0x20,
    0x85,
    0xA0,
    0x1680,
    *range(0x2000, 0x200B),
    0x2028,
    0x2029,
    0x202F,
    0x205F,
    0x3000,
)


def literal(content: str) -> str:
    """RE2's pattern for exactly this text."""
    return "".join(f"\\x{{{ord(character):X}}}" for character in content)


WHITE_SPACE_CLASS = "[" + "".join(literal(chr(point)) for point in WHITE_SPACE) + "]"
"""RE2's pattern for one of them."""
