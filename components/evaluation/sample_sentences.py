"""Sentences of the corpus with a word masked, to try a model on in its own language.

Where a sentence ends and what a word is follows from Unicode alone, so that it holds for every script. What can be
masked follows from the tokenizer: a model fills a mask with one token.
"""

import dataclasses
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from components.contract.mask_placeholder import MASK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from components.contract.artifacts import Corpus

SENTENCE = re.compile(r"[^.!?…。！？؟۔।॥\n\r]+(?:[.!?…。！？؟۔।॥]+[\"'”’»」』)\]]*|$|(?=[\n\r]))")
"""A sentence with the marks that end it, or a line without such marks."""
NOT_SHOWN = re.compile(r"[<>@\\\"'`{}|]|://|www\.|[0-9]{5}")
"""What a sentence to show is better without: markup, addresses, code, quotes, long numbers."""
FEWEST_CHARACTERS, MOST_CHARACTERS = 16, 160
MOST_TOKENS = 48
MOST_TEXTS, MOST_CHARACTERS_READ = 1000, 1 << 20
"""How much of a split is looked at."""


@dataclasses.dataclass(frozen=True)
class MaskedSentence:
    """A sentence with a word left out.

    Attributes:
        text: The sentence, with the configuration's placeholder in place of the word.
        word: The word.
    """

    text: str
    word: str


def sample_sentences(
    corpus: "Corpus", text_column: str, tokenizer: "PreTrainedTokenizerFast", *, count: int, longest: int
) -> tuple[MaskedSentence, ...]:
    """Sentences of the test split, each of another record, with the same ones for the same corpus and tokenizer.

    Args:
        corpus: The corpus.
        text_column: The column, as `TextReader` takes it.
        tokenizer: The model's tokenizer.
        count: How many sentences.
        longest: The most tokens of a sentence, special ones included.

    Returns:
        The sentences; fewer where the split has no more.
    """
    from components.blocks.text_column import TextReader

    batches = TextReader(corpus, "test", text_column).batches(characters=1 << 16)
    texts = list(itertools.islice(itertools.chain.from_iterable(batches), MOST_TEXTS))
    return choose_sentences(texts, tokenizer, count=count, longest=longest)


def choose_sentences(
    texts: Iterable[str], tokenizer: "PreTrainedTokenizerFast", *, count: int, longest: int
) -> tuple[MaskedSentence, ...]:
    """The first sentences that read well, and where these are too few, of any text that has something to mask."""
    most_tokens = min(longest - tokenizer.num_special_tokens_to_add(), MOST_TOKENS)
    texts = list(_limited(texts))
    chosen: dict[str, MaskedSentence] = {}
    used: set[int] = set()
    for candidates, well in ((_good_sentences, True), (_any_part, False)):
        for index, text in enumerate(texts):
            if len(chosen) == count:
                return tuple(chosen.values())
            if index in used or MASK in text or tokenizer.mask_token in text:
                continue
            masked = (
                mask_a_word(sentence, tokenizer, most_tokens, whole=well and " " in sentence)
                for sentence in candidates(text)
            )
            found = next((sentence for sentence in masked if sentence and sentence.text not in chosen), None)
            if found is not None:
                chosen[found.text] = found
                used.add(index)
    return tuple(chosen.values())


def mask_a_word(
    sentence: str, tokenizer: "PreTrainedTokenizerFast", most_tokens: int, *, whole: bool
) -> MaskedSentence | None:
    """The sentence with the placeholder in place of its longest word that is a single token, the first of equal ones.

    The longest words carry the content, in any language, and a word that is one token isn't rare. In a script without
    blanks between words, and where each token is a character, it is the longest token, the one nearest the middle.

    Args:
        sentence: Text without the mask token.
        tokenizer: Whose tokens fill masks.
        most_tokens: A longer sentence has none, special tokens left out.
        whole: Whether a part of a word is left standing.

    Returns:
        None where no token can be masked.
    """
    encoding = tokenizer(sentence, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
    if not 1 < len(ids) <= most_tokens:
        return None
    special = set(tokenizer.all_special_ids)
    best: tuple[bool, int, float, int, int] | None = None
    for place, (token, (start, end)) in enumerate(zip(ids, offsets, strict=True)):
        word = sentence[start:end]
        start, end = start + len(word) - len(word.lstrip()), end - len(word) + len(word.rstrip())
        word = sentence[start:end]
        shares_characters = any(
            offsets[other][0] < end and start < offsets[other][1]
            for other in (place - 1, place + 1)
            if 0 <= other < len(offsets)
        )
        if token in special or not word or not all(map(_is_letter, word)) or shares_characters:
            continue
        is_whole = not (_is_letter(sentence[max(0, start - 1) : start]) or _is_letter(sentence[end : end + 1]))
        if whole and not is_whole:
            continue
        # A whole word at the sentence's start is left standing where another is as long: it begins with a capital.
        from_middle = abs(start + end - len(sentence)) if not is_whole else float(start == 0)
        rank = (is_whole, end - start, -from_middle, -start, end)
        if best is None or rank > best:
            best = rank
    if best is None:
        return None
    start, end = -best[3], best[4]
    masked = tokenizer(f"{sentence[:start]}{tokenizer.mask_token}{sentence[end:]}", add_special_tokens=False)[
        "input_ids"
    ]
    # What stands beside a mask may fall into other tokens, and more of them.
    fits = len(masked) <= most_tokens and masked.count(tokenizer.mask_token_id) == 1
    return MaskedSentence(f"{sentence[:start]}{MASK}{sentence[end:]}", sentence[start:end]) if fits else None


def _is_letter(character: str) -> bool:
    return bool(character) and unicodedata.category(character)[0] in "LM"


def _limited(texts: Iterable[str]) -> Iterator[str]:
    read = 0
    for text in itertools.islice(texts, MOST_TEXTS):
        yield text[:MOST_CHARACTERS_READ]
        read += len(text)
        if read > MOST_CHARACTERS_READ:
            return


def _good_sentences(text: str) -> Iterator[str]:
    """Sentences of a length to read at once, mostly letters, without what is better not shown."""
    for found in itertools.islice(SENTENCE.finditer(text), 50):
        sentence = " ".join(found[0].split())
        if not FEWEST_CHARACTERS <= len(sentence) <= MOST_CHARACTERS or NOT_SHOWN.search(sentence):
            continue
        letters = sum(map(_is_letter, sentence))
        if (letters >= 0.7 * len(sentence) and " " in sentence.rstrip(".!?…")) or letters >= 0.85 * len(sentence):
            yield sentence


def _any_part(text: str) -> Iterator[str]:
    """The beginnings of a text and of its first sentences, shorter and shorter, up to a blank where there is one."""
    text = " ".join(text[: 20 * MOST_CHARACTERS].split())
    sentences = (found[0].strip() for found in itertools.islice(SENTENCE.finditer(text), 5))
    for whole in (text, *sentences):
        for length in (MOST_CHARACTERS, 80, 40, 20, 10, 5, 3):
            part = whole[:length]
            if length < len(whole):
                part = part.rpartition(" ")[0] or part
                while len(part) < len(whole) and part and unicodedata.combining(whole[len(part)]):
                    part = part[:-1]
            if part:
                yield part
