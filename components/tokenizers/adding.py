"""Adds words to a tokenizer, each of which becomes one token.

An added word is found before the tokenizer cuts a text. It counts only as a whole word ("ion" isn't found in
"million"), but where its script has no blanks between words, such as Chinese or Thai, it is found anywhere. It takes
the blank before it where the mask token does, so that a mask stands where the word would stand.
"""

import codecs
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WITHOUT_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "YI ")
"""How Unicode's names of the letters of these scripts begin."""
SHOWN = 3


def words_to_add(add_tokens: list[str] | str | None) -> list[str]:
    """The words of the option `tokenizer.add_tokens`, without blanks around them, each once.

    Args:
        add_tokens: A list of words, or a text file with one a line; None for no word.

    Raises:
        ConfigError: If there is no such file, it isn't text in Unicode, or holds no word.
    """
    if add_tokens is None:
        return []
    lines = _lines(Path(add_tokens)) if isinstance(add_tokens, str) else add_tokens
    words = list(dict.fromkeys(" ".join(line.split()) for line in lines if line.strip()))
    if not words and add_tokens:
        raise ConfigError(
            "tokenizer.add_tokens must name at least one word",
            received=f"{add_tokens if isinstance(add_tokens, str) else 'a list'} without one",
            remedy="write one word a line, or leave --tokenizer.add_tokens out",
        )
    return words


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise ConfigError(
            "tokenizer.add_tokens must be a text file with one word a line, or a list of words",
            received=f"{str(file)!r}, which is no file",
            remedy=f"correct the path, or for a list set --tokenizer.add_tokens '[\"{file.name}\"]'",
        )
    written = file.read_bytes()
    # PowerShell and Excel write UTF-16.
    is_utf16 = written.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = written.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_text(file, f"byte {error.start}: {error.reason}") from error
    if "\0" in text:
        raise _no_text(file, "which holds zero bytes")
    return text.splitlines()


def _no_text(file: Path, received: str) -> ConfigError:
    return ConfigError(
        "the file that tokenizer.add_tokens names must be text in UTF-8, or in UTF-16 with its byte order mark",
        received=f"{file}, {received}",
        remedy="save it as UTF-8 in the program that wrote it, or give the words as a list: "
        "--tokenizer.add_tokens '[\"word\"]'",
    )


def add_words(tokenizer: "PreTrainedTokenizerFast", words: list[str]) -> tuple[list[str], list[str]]:
    """Adds words to a tokenizer, in place. Their ids follow each other after those that it has.

    Left out is a word that is a token already (also where it becomes one, or another one of the words, when case or
    accents are taken away), and one that holds a special token.

    Args:
        tokenizer: Changes in place.
        words: Distinct, without blanks around them.

    Returns:
        The words that were added, and what was left out, a sentence each.
    """
    from tokenizers import AddedToken

    normalizer = tokenizer.backend_tokenizer.normalizer
    mask = tokenizer.backend_tokenizer.get_added_tokens_decoder()[tokenizer.mask_token_id]
    special = tokenizer.all_special_tokens
    added: list[str] = []
    left_out: dict[str, list[str]] = {}
    for word in words:
        normal = word if normalizer is None else normalizer.normalize_str(word)
        # A normalizer that writes a mark for the blank before a text would let the word be found there alone.
        is_changed_around = normal.startswith("▁")
        ids = tokenizer.encode(f" {word}" if mask.lstrip else word, add_special_tokens=False)
        if any(token in word for token in special):
            left_out.setdefault("hold a special token", []).append(word)
        elif len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            left_out.setdefault("are one token already", []).append(word)
        elif not normal.strip("▁ "):
            left_out.setdefault("are nothing to this tokenizer", []).append(word)
        else:
            added.append(word)
            tokenizer.add_tokens(
                AddedToken(
                    word,
                    single_word=not _is_without_blanks(word),
                    lstrip=mask.lstrip,
                    rstrip=mask.rstrip,
                    normalized=not is_changed_around,
                )
            )
    return added, [
        f"{len(some):,} {'words' if len(some) > 1 else 'word'} of tokenizer.add_tokens left out, which "
        f"{reason if len(some) > 1 else reason.replace('are', 'is').replace('hold', 'holds')}: "
        f"{', '.join(some[:SHOWN])}{', …' if len(some) > SHOWN else ''}"
        for reason, some in left_out.items()
    ]


def _is_without_blanks(word: str) -> bool:
    """Whether a word has a letter of a script that is written without blanks between words."""
    return any(unicodedata.name(character, "").startswith(WITHOUT_BLANKS) for character in word)
