"""What distinguishes one encoder from another, as data: `components.modeling.encoder` builds any of them."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from components.modeling.architectures.groups import Groups
from components.modeling.architectures.landmarks import Landmarks
from components.modeling.architectures.names import Names
from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ACTIVATIONS = (
    *("gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_accurate", "quick_gelu"),
    *("relu", "silu", "swish", "tanh", "sigmoid", "mish", "relu2", "linear"),
)
"""The activations that there are, by transformers' names."""


@dataclasses.dataclass(frozen=True)
class Rotation:
    """How positions turn queries and keys (Su et al. 2021, https://arxiv.org/abs/2104.09864).

    Attributes:
        theta: The base of the wavelengths.
        size: How many elements of a head turn, the first ones: an even number.
        factor: Positions are divided by it (Chen et al. 2023, https://arxiv.org/abs/2306.15595).
    """

    theta: float
    size: int
    factor: float = 1.0


@dataclasses.dataclass(frozen=True)
class Adapters:
    """Small networks of each language's own at the end of a layer.

    Pfeiffer et al. 2022, "Lifting the Curse of Multilinguality by Pre-training Modular Transformers"
    (https://arxiv.org/abs/2205.06266).

    Attributes:
        languages: For which there are some.
        language: Whose are used.
        size: The width inside of one.
        norm: Whose norm comes before them: their `own`, that of the feed-forward network, which is `shared`, or `none`.
        skip_norm: Whether they are added to what came before that norm, and not to what came after it.
    """

    languages: tuple[str, ...]
    language: str
    size: int
    norm: Literal["own", "shared", "none"]
    skip_norm: bool


@dataclasses.dataclass(frozen=True)
class SideTable:
    """A table of something else that is known of a token, of which the first row is used.

    Attributes:
        name: PyTorch's name of it, below the model.
        rows: How many.
        size: The width of one.
    """

    name: str
    rows: int
    size: int


@dataclasses.dataclass(frozen=True)
class Design:
    """What an encoder is. The defaults hold for BERT.

    Attributes:
        names: PyTorch's names of its parts.
        vocabulary: Token ids.
        hidden: The width of a token's state.
        layers: How many.
        heads: Of the attention, each hidden / heads wide.
        inner: The width inside of the feed-forward network.
        activation: Of the feed-forward network, one of `ACTIVATIONS`.
        key_value_heads: Heads of keys and values, each for several of the queries' (Ainslie et al. 2023,
            https://arxiv.org/abs/2305.13245); 0 for as many.
        norm_epsilon: Added to the variance.
        layer_norm_epsilon: By the norms in layers, where that is another number.
        norm_kind: `layer` (Ba et al. 2016, https://arxiv.org/abs/1607.06450), or `root_mean_square` (Zhang and
            Sennrich 2019, https://arxiv.org/abs/1910.07467).
        norm_bias: Whether norms have offsets.
        norm_first: Whether a norm stands before attention and feed-forward network, and not after what is added.
        first_attention_norm: Whether the first layer has one before its attention.
        final_norm_bias: Whether the norm after the last layer has an offset, where norms have one.
        embedding_norm: Whether the embeddings have one.
        mixer: What lets tokens see each other: `attention`; or `fourier`, the real part of a transform over places and
            elements (Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824), which sees padding, too.
        landmarks: By which attention is approximated; None where it isn't.
        hash_bits: Of hashes: the chance that two are equal is the weight that attention gives a token, in place of the
            softmax (YOSO, Zeng et al. 2021, https://arxiv.org/abs/2111.09714); padding is seen, too. 0 for the softmax.
        value_kernel: Tokens, an odd number, that a convolution over values reaches over, which is added to what the
            attention gives; 0 for none.
        query_key_norm: Whether queries and keys have a norm each, over all heads and without an offset, before
            positions come in (Henry et al. 2020, https://arxiv.org/abs/2010.04245).
        attention_bias: Whether queries, keys and values have biases.
        attention_output_bias: Whether what the attention's heads go through has one.
        inner_bias: Whether what widens has one.
        inner_output_bias: Whether what narrows has one.
        groups: Into how many groups a layer's products are divided.
        fused_query_key_value: Whether PyTorch has one matrix for queries, keys and values, in this order.
        gate: Where the gate of the feed-forward network comes from (Shazeer 2020, https://arxiv.org/abs/2002.05202):
            `none`; `second`, the second half of what widens, the first being activated; `first`, the other way round;
            `own`, a matrix of its own.
        residual_scale: What attention and feed-forward network give is multiplied by before it is added, where norms
            stand before them.
        positions: Where positions come in: `learned`, a table; `after_padding`, a table whose rows up to the padding
            token's id aren't used; `rotary`, see `rotations`; `functional`, see `furthest`.
        position_count: The rows of the table.
        position_offset: The row of a document's first token, where positions are `learned`.
        rotations: A layer's, by its number, where positions are rotary.
        windows: How many tokens on either side a layer sees, by its number; 0 for all. Empty for all of all layers.
        furthest: The distance from which on relative positions are the same (NEZHA, Wei et al. 2019,
            https://arxiv.org/abs/1909.00204).
        types: Token types.
        tasks: Tasks, of which 0 is used.
        adapters: What comes at the end of a layer; None for nothing.
        maps_words: Whether a matrix maps tokens, with what is in `sides`, before positions and types come in.
        sides: What else is known of a token, beside it.
        embedding_scale: What the embedding of tokens is multiplied by before positions come in.
        maps_embeddings: Whether a matrix maps the embeddings after their norm.
        longest: The longest sequence, where it is shorter than `max_position_embeddings` allows; 0 where it isn't.
        head_transform: Whether the head has a transformation and a norm before its matrix.
        head_transform_bias: Whether that transformation has a bias.
        head_activation: Of the head, one of `ACTIVATIONS`.
        head_bias: Whether the logits have one.
        tied: Whether the output matrix is the embedding of tokens.
        decoder: What the decoder is that reads the encoder's states and that the head is above of; None where the head
            is above of the encoder.
        start_token_id: What a decoder is given before a document's first token; None for the document's last token.
        embedding_dropout: Of the embeddings; as all rates here, the probability that an element is dropped.
        attention_dropout: Of the attention's weights.
        attention_output_dropout: Of what the attention gives.
        inner_dropout: Inside of the feed-forward network.
        inner_output_dropout: Of what the feed-forward network gives.
        initializer_range: Standard deviation of a new model's weights.
        output_initializer_range: That of what attention and feed-forward network end with, and of the head.
        pad_token_id: The padding token.
    """

    names: Names
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    inner: int
    activation: str
    key_value_heads: int = 0
    norm_epsilon: float = 1e-12
    layer_norm_epsilon: float | None = None
    norm_kind: Literal["layer", "root_mean_square"] = "layer"
    norm_bias: bool = True
    norm_first: bool = False
    first_attention_norm: bool = True
    final_norm_bias: bool = True
    embedding_norm: bool = True
    mixer: Literal["attention", "fourier"] = "attention"
    landmarks: Landmarks | None = None
    hash_bits: int = 0
    value_kernel: int = 0
    query_key_norm: bool = False
    attention_bias: bool = True
    attention_output_bias: bool = True
    inner_bias: bool = True
    inner_output_bias: bool = True
    groups: Groups = dataclasses.field(default_factory=Groups)
    fused_query_key_value: bool = False
    gate: Literal["none", "first", "second", "own"] = "none"
    residual_scale: float = 1.0
    positions: Literal["learned", "after_padding", "rotary", "functional"] = "learned"
    position_count: int = 0
    position_offset: int = 0
    rotations: tuple[Rotation, ...] = ()
    windows: tuple[int, ...] = ()
    furthest: int = 0
    types: int = 0
    tasks: int = 0
    adapters: Adapters | None = None
    maps_words: bool = False
    sides: tuple[SideTable, ...] = ()
    embedding_scale: float = 1.0
    maps_embeddings: bool = False
    longest: int = 0
    head_transform: bool = True
    head_transform_bias: bool = True
    head_activation: str = "gelu"
    head_bias: bool = True
    tied: bool = True
    decoder: "Design | None" = None
    start_token_id: int | None = None
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.0
    attention_output_dropout: float = 0.0
    inner_dropout: float = 0.0
    inner_output_dropout: float = 0.0
    initializer_range: float = 0.02
    output_initializer_range: float = 0.02
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        require_activations(self.activation, self.head_activation)
        require_sizes(
            {
                "the vocabulary": self.vocabulary,
                "the hidden size": self.hidden,
                "the attention heads": self.heads,
                "the intermediate size": self.inner,
            }
        )
        if self.hidden % self.heads or self.heads % self.heads_of_keys:
            raise ModelError(
                "the hidden size must be a multiple of the attention heads, and those one of the heads of keys",
                received=f"hidden size {self.hidden}, {self.heads} heads, {self.heads_of_keys} of keys",
                remedy="use the config.json that belongs to the weights",
            )
        self.groups.require_whole(self.hidden, self.inner)
        if self.value_kernel and self.value_kernel % 2 == 0:
            raise ModelError(
                "the kernel of a convolution over values must reach over an odd number of tokens",
                received=str(self.value_kernel),
                remedy="use the config.json that belongs to the weights",
            )

    @property
    def head_size(self) -> int:
        """The width of a head of the attention."""
        return self.hidden // self.heads

    @property
    def heads_of_keys(self) -> int:
        """Heads of keys and values."""
        return self.key_value_heads or self.heads

    @property
    def first_position(self) -> int:
        """The position of a document's first token."""
        return self.pad_token_id + 1 if self.positions == "after_padding" else self.position_offset

    @property
    def has_table_of_positions(self) -> bool:
        """Whether positions are rows of a table, which a batch may name."""
        return self.positions in ("learned", "after_padding")

    @property
    def ignores_padding(self) -> bool:
        """Whether padding after a text changes nothing of what is given for it, and costs something.

        With landmarks every text is brought to one length, so that less padding would spare nothing.
        """
        return self.mixer != "fourier" and not self.hash_bits and not self.value_kernel and self.landmarks is None

    def longest_sequence(self, positions: int) -> int:
        """The longest sequence that the model takes, in tokens, where the configuration says so many positions."""
        limits = [(self.position_count or positions) - self.first_position]
        limits += [self.longest] if self.longest else []
        return min([*limits, self.landmarks.length] if self.landmarks is not None else limits)

    @property
    def after_layers(self) -> tuple[str, ...]:
        """Beginnings of PyTorch's names of weights that follow the encoder's layers, but for the head's."""
        final_norm = (self.names.below_model(f"{self.names.final_norm}."),) if self.names.final_norm else ()
        return (*final_norm, f"{self.decoder.names.model}.") if self.decoder is not None else final_norm

    def window(self, layer: int) -> int:
        """How many tokens on either side a layer sees; 0 for all."""
        return self.windows[layer] if self.windows else 0


def require_activations(*activations: str) -> None:
    """Refuses activations that there are none of here.

    Raises:
        ModelError: Naming the first, and those there are.
    """
    for activation in activations:
        if activation not in ACTIVATIONS:
            raise ModelError(
                "config.json must name activations that this project's encoder has",
                received=repr(activation),
                remedy=f"use a model with {', '.join(ACTIVATIONS[:-1])} or {ACTIVATIONS[-1]}",
            )


def require_sizes(sizes: Mapping[str, int]) -> None:
    """Refuses sizes below 1.

    Args:
        sizes: By what they are called in a sentence.

    Raises:
        ModelError: Naming the first.
    """
    for what, size in sizes.items():
        if size < 1:
            raise ModelError(
                f"config.json must give {what} as a number from 1",
                received=str(size),
                remedy="use the config.json that belongs to the weights",
            )


def require_values(config: "PretrainedConfig", **known: tuple[Any, ...]) -> None:
    """Refuses a configuration with an option that this project's encoder doesn't have.

    Args:
        config: The configuration.
        known: The values that there are, by the name of the option. The first is meant where it isn't there.

    Raises:
        ModelError: Naming the option, its value and those there are.
    """
    for name, values in known.items():
        value = getattr(config, name, values[0])
        if value not in values:
            others = " or ".join(repr(each) for each in values)
            raise ModelError(
                f"{name} of a {config.model_type} must be {others}: this project's encoder has nothing else",
                received=repr(value),
                remedy="use another checkpoint, or serve and train this one with PyTorch",
            )


def rotation(config: "PretrainedConfig", written: Mapping[str, Any] | None, *, theta: float, size: int) -> Rotation:
    """How positions turn queries and keys, as a configuration writes it.

    Args:
        config: The configuration, for messages.
        written: `rope_scaling` of transformers 4 or `rope_parameters` of transformers 5; None for nothing.
        theta: What is meant where those have no `rope_theta`.
        size: How many elements of a head turn.

    Raises:
        ModelError: If it names a kind of rotation that there is none of here, or has other parameters.
    """
    written = dict(written or {})
    kind = written.pop("rope_type", written.pop("type", "default")) or "default"
    theta = float(written.pop("rope_theta", None) or theta)
    factor = float(written.pop("factor", 1.0)) if kind == "linear" else 1.0
    if kind not in ("default", "linear") or written:
        raise ModelError(
            f"the rotary positions of a {config.model_type} must be of the kind default or linear",
            received=f"{kind}" + (f" with {', '.join(sorted(written))}" if written else ""),
            remedy="use another checkpoint, or serve and train this one with PyTorch",
        )
    return Rotation(theta, size, factor)
