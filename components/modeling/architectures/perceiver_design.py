"""What distinguishes one Perceiver from another, as data: `encoder.perceiver` builds any of them."""

import dataclasses

from components.modeling.architectures.design import require_activations, require_sizes
from components.modeling.architectures.names import Names
from foundation.errors import ModelError


@dataclasses.dataclass(frozen=True)
class PerceiverLayerDesign:
    """An attention with the feed-forward network behind it.

    Attributes:
        name: PyTorch's name of it, below the model; with `{}` for the number where there are several.
        width: Of the states that ask, and of what comes out.
        read: The width of what they read; 0 where they read themselves.
        keys: The width of all queries together, and of all keys.
        values: Of all values.
        heads: Of the attention.
        inner: The width inside of the feed-forward network.
        adds_queries: Whether what the attention gives is added to what asked.
    """

    name: str
    width: int
    read: int
    keys: int
    values: int
    heads: int
    inner: int
    adds_queries: bool = True

    def __post_init__(self) -> None:
        require_sizes({"each width of an attention": min(self.width, self.keys, self.values, self.inner)})
        require_sizes({"the attention heads": self.heads})
        fits = self.keys % self.heads == 0 and self.values % self.heads == 0
        if not fits or (not self.read and self.values != self.width):
            raise ModelError(
                "the channels of a Perceiver's attention must be multiples of its heads, and the values of its latents "
                "as wide as those",
                received=f"{self.name} with {self.keys} qk_channels, {self.values} v_channels and {self.heads} heads "
                f"for states of {self.width}",
                remedy="use the config.json that belongs to the weights, or correct these sizes",
            )


@dataclasses.dataclass(frozen=True)
class PerceiverDesign:
    """What a Perceiver of text is.

    Jaegle et al. 2021, "Perceiver IO: A General Architecture for Structured Inputs & Outputs"
    (https://arxiv.org/abs/2107.14795).

    Attributes:
        names: PyTorch's names of its parts.
        vocabulary: Token ids.
        width: Of a token's embedding.
        positions: The longest sequence: rows of the table of positions, and of that of the decoder's queries.
        hidden: The width of a latent state.
        latents: How many.
        layers: Of self-attention among the latents.
        blocks: How often the latents go through all of these layers.
        reading: How the latents read the text.
        refining: How a layer's latents attend to each other.
        answering: How the asked positions read the latents.
        activation: Of the feed-forward networks, one of `ACTIVATIONS`.
        attention_dropout: Of the attentions' weights: the probability that one is dropped.
        initializer_range: Standard deviation of a new model's weights.
        norm_epsilon: Added to the variance; PyTorch's class doesn't read that of the configuration.
        head_bias: Whether the logits have a bias.
        tied: Whether the output matrix is the embedding of tokens.
    """

    names: Names
    vocabulary: int
    width: int
    positions: int
    hidden: int
    latents: int
    layers: int
    blocks: int
    reading: PerceiverLayerDesign
    refining: PerceiverLayerDesign
    answering: PerceiverLayerDesign
    activation: str
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    norm_epsilon: float = 1e-5
    head_bias: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        require_activations(self.activation)
        require_sizes({"the vocabulary": self.vocabulary, "the positions": self.positions, "the latents": self.latents})
        require_sizes({"the layers of a block": self.layers, "the blocks": self.blocks})

    @property
    def ignores_padding(self) -> bool:
        """Whether padding after a text changes nothing of what is given for it: the latents don't read it."""
        return True

    def longest_sequence(self, positions: int) -> int:
        """The longest sequence that the model takes, in tokens."""
        return self.positions

    @property
    def after_layers(self) -> tuple[str, ...]:
        """Beginnings of PyTorch's names of weights that follow the layers, but for the head's."""
        return (f"{self.names.below_model('decoder')}.",)
