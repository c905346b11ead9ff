"""Why a tokenizer can't be put in the graph."""

from foundation.errors import ModelError


def refusal(received: str) -> ModelError:
    """The error of a tokenizer that the graph can't reproduce exactly.

    Args:
        received: What stands in the way.
    """
    return ModelError(
        "a tokenizer in the graph must give every text the token ids that the fast tokenizer gives it",
        received=received,
        remedy="tokenize at the client and ask the signatures `tokens` and `logits`",
    )
