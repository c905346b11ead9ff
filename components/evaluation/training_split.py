"""What the train split tells an evaluation: how frequent tokens are, and what of it stands in the test blocks."""

from collections.abc import Collection

import numpy as np

from components.contract.artifacts import Blocks
from components.evaluation.contamination import contaminated_blocks
from components.evaluation.questions import Questions, read_blocks
from components.evaluation.unigram import Unigram


def count_train_split(
    blocks: Blocks, questions: Questions, special_ids: Collection[int], vocabulary_size: int, ngram: int
) -> tuple[Unigram, np.ndarray]:
    """Reads the train blocks.

    Args:
        blocks: Whose train split is read.
        questions: About the test blocks.
        special_ids: Never counted.
        vocabulary_size: Number of tokens, special ones among them.
        ngram: Tokens a shared run.

    Returns:
        The token frequencies, and which test blocks share a run with the train split, (blocks,) bool.
    """
    train = blocks.split("train")
    unigram = Unigram.count(
        (ids for ids, _ in read_blocks(train)), vocabulary_size=vocabulary_size, special_ids=special_ids
    )
    shared = contaminated_blocks(
        questions.input_ids,
        questions.attention_mask,
        (ids[attention_mask > 0] for ids, attention_mask in read_blocks(train)),
        ngram=ngram,
        vocabulary_size=vocabulary_size,
    )
    return unigram, shared
