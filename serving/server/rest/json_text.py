"""Request bodies as JSON values, read as leniently as TensorFlow Serving reads them, and quoted in errors."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from serving.server.status import StatusError, invalid

QUOTED_CHARACTERS = 256
INDENT = "    "
# A value takes 2 bytes in a body and up to 200 in memory; a packed body of 100 KiB may hold 50 million. While Python
# reads a body, nothing else is answered: four million values take it about half a second.
LARGEST_NUMBER_OF_VALUES = 1 << 22
BYTES_AT_ONCE = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLANK = re.compile(r"[ \t\n\r]*")
ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<high>u[dD][89abAB][0-9a-fA-F]{2})|u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
SPELLINGS = {"Inf": "Infinity", "-Inf": "-Infinity", "-NaN": "NaN"}
"""Numbers that the protocol reads and Python doesn't, and what Python reads instead."""
# Possessive, and a string without an end is all the rest: each character is looked at once, whatever is sent.
STRING_OR_NUMBER = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|-?Inf(?!inity)|(?<!-)-NaN', re.DOTALL)


def parse(body: bytes) -> Any:
    """Reads the JSON value at the start of a body.

    `NaN`, `-NaN`, `Infinity`, `-Infinity` and `Inf` are numbers; a byte order mark before the value and whatever
    follows it are ignored; of equal keys the first counts; integers stay `int` and other numbers `float`, since the
    protocol tells them apart.
    Bytes that are not UTF-8 come back as lone surrogates (`surrogateescape`), so that they reach the model.

    Raises:
        StatusError: INVALID_ARGUMENT with the offset, in bytes, of what is wrong.
    """
    refuse_too_many_values(body)
    text = body.removeprefix(BYTE_ORDER_MARK).decode("utf-8", "surrogateescape")
    start = BLANK.match(text).end()  # type: ignore[union-attr]
    if start == len(text):
        raise invalid("JSON Parse error: The document is empty")
    try:
        value, end = DECODER.raw_decode(text, start)
        written = replace_lone_surrogates(text, start, end)
        return value if written == text[start:end] else DECODER.decode(written)
    except json.JSONDecodeError as error:
        widened = text
        if "Inf" in text or "-NaN" in text:
            widened = STRING_OR_NUMBER.sub(lambda match: SPELLINGS.get(match[0], match[0]), text)
        if widened != text:
            return parse(widened.encode("utf-8", "surrogateescape"))
        raise parse_error(error.msg, text, error.pos) from error
    except RecursionError:
        raise invalid("JSON Parse error: Nested too deeply") from None
    except StatusError:
        raise
    except ValueError as error:  # an integer of more digits than Python reads
        raise invalid("JSON Parse error: Number too big to be stored in double") from error


def refuse_too_many_values(body: bytes) -> None:
    """Counts a body's values before any is made.

    Raises:
        StatusError: INVALID_ARGUMENT if they are over the limit.
    """
    if len(body) <= LARGEST_NUMBER_OF_VALUES or count_values(body) <= LARGEST_NUMBER_OF_VALUES:
        return
    if count_values_outside_strings(body) > LARGEST_NUMBER_OF_VALUES:
        raise invalid(
            f"JSON Parse error: A body must have at most {LARGEST_NUMBER_OF_VALUES} values; send fewer rows in a "
            "request, or ask over gRPC"
        )


def count_values(body: bytes) -> int:
    """At least as many as a body has values."""
    return 1 + sum(body.count(mark) for mark in (b",", b"[", b"{"))


def count_values_outside_strings(body: bytes) -> int:
    """At least as many as a body has values, without what only looks like one within a string.

    It takes little memory and, with NumPy, lets other threads work.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    count, is_within = 1, np.uint8(0)
    for start in range(0, len(body), BYTES_AT_ONCE):
        part = np.frombuffer(body, np.uint8, min(BYTES_AT_ONCE, len(body) - start), start)
        quotes = (part == ord('"')).astype(np.uint8)
        quotes[0] ^= is_within
        within = np.bitwise_xor.accumulate(quotes)
        is_within = within[-1]
        marks = (part == ord(",")) | (part == ord("[")) | (part == ord("{"))
        count += int(np.count_nonzero(marks & (within == 0)))
    return count


def parse_error(problem: str, text: str, position: int) -> StatusError:
    """The error at a position of a body."""
    offset = len(text[:position].encode("utf-8", "surrogateescape"))
    return invalid(f"JSON Parse error: {problem} at offset: {offset}")


def replace_lone_surrogates(text: str, start: int, end: int) -> str:
    r"""A value's text with lone low surrogates written as escapes (`\udc00`) as the three bytes that stand for one.

    Raises:
        StatusError: For a high one (`\ud800`) without its low one, as TensorFlow Serving's parser has it.
    """
    value = text[start:end]
    if "\\ud" not in value and "\\uD" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        if match["high"]:
            raise parse_error("The surrogate pair in string is invalid", text, start + match.start())
        if match["low"]:
            return chr(int(match["low"], 16)).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
        return match[0]

    return ESCAPE.sub(replace, value)


def read_decimal(text: str) -> float:
    """A number with a fraction or exponent; over the range of a double it is an error, not infinity."""
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise invalid(f"JSON Parse error: Number too big to be stored in double: {text[:40]}")
    return value


def first_of_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of which equal keys keep their first value."""
    value = dict(pairs)
    if len(value) < len(pairs):
        for key, item in reversed(pairs):
            value[key] = item
    return value


DECODER = json.JSONDecoder(parse_float=read_decimal, object_pairs_hook=first_of_equal_keys)
ENCODER = json.JSONEncoder(ensure_ascii=False)


def quote(value: Any) -> str:
    """A JSON value as an error quotes it: pretty-printed, cut after 256 characters."""
    text = ""
    try:
        for piece in pieces(value, 0):
            text += piece[: QUOTED_CHARACTERS + 1]
            if len(text) > QUOTED_CHARACTERS:
                return text[:QUOTED_CHARACTERS] + "..."
    except RecursionError:
        return text[:QUOTED_CHARACTERS] + "..."
    return text


def pieces(value: Any, level: int) -> Iterator[str]:
    """A JSON value's text piece by piece: a member a line, an array in one line, as TensorFlow Serving prints it."""
    if type(value) is dict and value:
        for number, (key, item) in enumerate(value.items()):
            yield ("," if number else "{") + "\n" + INDENT * (level + 1)
            yield ENCODER.encode(key) + ": "
            yield from pieces(item, level + 1)
        yield "\n" + INDENT * level + "}"
    elif type(value) is list and value:
        for number, item in enumerate(value):
            yield ", " if number else "["
            yield from pieces(item, level + 1)
        yield "]"
    else:
        yield ENCODER.encode(value)


def type_name(value: Any) -> str:
    """What JSON calls a value's type."""
    if value is None or isinstance(value, bool):
        return {None: "Null", True: "True", False: "False"}[value]
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names[type(value)]
