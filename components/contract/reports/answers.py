"""What a model offers for a mask."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Answer:
    """A token that a model offers for a mask.

    Attributes:
        token_str: Its text.
        score: Its probability, from 0 to 1.
        continues_word: Whether it is a piece of a word that doesn't begin one.
    """

    token_str: str
    score: float
    continues_word: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sentence of `samples.json` of an Evaluation, with what the model offers for its first mask, best first.

    Attributes:
        text: The sentence, with the configuration's placeholder for a mask.
        before: The answers before training; none where the mask was cut off.
        after: The answers after training.
        masked_word: The word that stands at the mask in the corpus; None for a sentence that was given with its mask.
    """

    text: str
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]
    masked_word: str | None = None
