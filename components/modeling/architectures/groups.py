"""Products of a layer in groups: a part of what comes out depends on its own part of what comes in alone."""

import dataclasses

from foundation.errors import ModelError


@dataclasses.dataclass(frozen=True)
class Groups:
    """Into how many groups a layer's products are divided (Iandola et al. 2020, https://arxiv.org/abs/2006.11316).

    PyTorch has them as convolutions over one token, of which 1 group is a whole matrix. 0 stands for what isn't a
    convolution there, but a matrix.

    Attributes:
        query: Of what makes queries.
        key: Of what makes keys.
        value: Of what makes values.
        attention_output: Of what the attention's heads go through.
        inner: Of what widens.
        inner_output: Of what narrows.
    """

    query: int = 0
    key: int = 0
    value: int = 0
    attention_output: int = 0
    inner: int = 0
    inner_output: int = 0

    def require_whole(self, hidden: int, inner: int) -> None:
        """Refuses groups that a width can't be divided into.

        Args:
            hidden: The width of a token's state.
            inner: The width inside of the feed-forward network.

        Raises:
            ModelError: Naming the product and the numbers.
        """
        for name, count in dataclasses.asdict(self).items():
            widths = (hidden, inner) if name.startswith("inner") else (hidden,)
            if count < 0 or (count and any(width % count for width in widths)):
                raise ModelError(
                    f"the groups of {name} must be a number that divides each width from 1 on",
                    received=f"{count} groups of {' and '.join(map(str, widths))}",
                    remedy="use the config.json that belongs to the weights",
                )
