"""One layer of the encoder: attention or what stands for it, then the feed-forward network, each added to its input."""

import dataclasses
import functools

import tensorflow as tf

from components.modeling.architectures.design import Design
from components.modeling.encoder.activations import activation_of
from components.modeling.encoder.attention import attention
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.fourier import FourierMixing
from components.modeling.encoder.grouped_linear import linear
from components.modeling.encoder.language_adapters import LanguageAdapters
from components.modeling.encoder.layers import Norm
from components.modeling.encoder.local_attention import local_attention
from components.modeling.encoder.nystrom_attention import NystromAttention
from components.modeling.encoder.rotary import Angles, turned
from components.modeling.encoder.value_convolution import ValueConvolution
from components.modeling.encoder.yoso_attention import YosoAttention


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What all layers of one pass through the model have in common.

    Attributes:
        document_ids: (batch, sequence) int32, 0 for padding.
        mask: What is added to the scores of layers that see all tokens, as of `mask_from`.
        apart: Whether the documents of a row are kept apart.
        memory_mask: In a decoder, what is added to the scores of the encoder's states.
        angles: Of the layers' rotations, by layer; None where positions aren't rotary.
        relations: (sequence, sequence, head size), of functional positions; None for others.
        fused: Whether small kernels are compiled.
        language: () int32, the number of the language whose adapters are used; None for the design's.
    """

    document_ids: tf.Tensor
    mask: tf.Tensor
    apart: bool = False
    memory_mask: tf.Tensor | None = None
    angles: tuple[Angles, ...] | None = None
    relations: tf.Tensor | None = None
    fused: bool = False
    language: tf.Tensor | None = None


def norm_of(
    design: Design, path: str, epsilon: float | None = None, *, size: int | None = None, bias: bool = True
) -> Norm:
    """A norm of the kind that a design has.

    Args:
        design: What the encoder is.
        path: PyTorch's name of it.
        epsilon: Added to the variance; None for the design's.
        size: The width of what it is given; None for that of a token's state.
        bias: Whether it has an offset, where norms have one.
    """
    epsilon = design.norm_epsilon if epsilon is None else epsilon
    bias = bias and design.norm_bias
    return Norm(path, size or design.hidden, epsilon, centered=design.norm_kind == "layer", bias=bias)


class Attention(tf.keras.layers.Layer):
    """A layer's attention: (batch, sequence, hidden) of the same.

    Args:
        design: What the encoder is.
        number: The layer's, from 0.
    """

    def __init__(self, design: Design, number: int) -> None:
        super().__init__(name="attention", autocast=False)
        self.design, self.number = design, number
        width, narrow = design.hidden, design.heads_of_keys * design.head_size
        names, groups = design.names, design.groups
        parts = [
            (names.query, width, groups.query),
            (names.key, narrow, groups.key),
            (names.value, narrow, groups.value),
        ]
        if design.fused_query_key_value:
            parts = [(names.query, width + 2 * narrow, groups.query)]
        bias, stddev = design.attention_bias, design.initializer_range
        self.projections = [
            linear(names.in_layer(number, name), width, outputs, groups=count, bias=bias, stddev=stddev)
            for name, outputs, count in parts
        ]
        normed = ((names.query_norm, width), (names.key_norm, narrow)) if design.query_key_norm else ()
        self.norms = [norm_of(design, names.in_layer(number, name), size=size, bias=False) for name, size in normed]
        self.output_projection = linear(
            names.in_layer(number, names.attention_output),
            width,
            width,
            groups=groups.attention_output,
            bias=design.attention_output_bias,
            stddev=design.output_initializer_range,
        )
        self.by_landmarks = NystromAttention(design.landmarks) if design.landmarks is not None else None
        self.by_hashes = YosoAttention(design.hash_bits) if design.hash_bits else None
        path, width = names.in_layer(number, names.value_convolution), design.value_kernel
        self.convolution = ValueConvolution(path, design.heads, width, stddev) if width else None

    def call(
        self, inputs: tf.Tensor, around: Surroundings, dropping: Dropping, memory: tf.Tensor | None = None
    ) -> tf.Tensor:
        """(batch, sequence, hidden) of the same.

        Args:
            inputs: (batch, sequence, hidden).
            around: Of all layers.
            dropping: Of this layer.
            memory: What is seen, of the same shape, where a decoder sees the encoder's states; None for the inputs.
        """
        design = self.design
        query, key, value = self.heads(inputs, memory, around.fused)  # (batch, heads, sequence, head size) each
        if around.angles is not None:
            query, key = (turned(vectors, around.angles[self.number]) for vectors in (query, key))
        if design.heads_of_keys != design.heads:
            key, value = (tf.repeat(part, design.heads // design.heads_of_keys, axis=1) for part in (key, value))
        context = self.context(query, key, value, around, dropping, of_memory=memory is not None)
        if self.convolution is not None:
            context += self.convolution(value if self.by_hashes is None else without_padding(value, around))
        outputs = self.output_projection(tf.reshape(tf.transpose(context, (0, 2, 1, 3)), tf.shape(inputs)))
        return dropping(outputs, design.attention_output_dropout)

    def context(
        self,
        query: tf.Tensor,
        key: tf.Tensor,
        value: tf.Tensor,
        around: Surroundings,
        dropping: Dropping,
        of_memory: bool,
    ) -> tf.Tensor:
        """What the heads give, (batch, heads, sequence, head size), of the same; or of the encoder's states."""
        if self.by_landmarks is not None:
            return self.by_landmarks(query, key, value, around.mask)
        if self.by_hashes is not None:
            # PyTorch's class lets tokens see padding, which its mask of ones and zeros doesn't hide.
            ids = around.document_ids
            seen = (ids[:, None, :, None] == ids[:, None, None, :]) if around.apart else None
            return self.by_hashes(query, key, value, seen)
        rate = self.design.attention_dropout
        dropout = functools.partial(dropping, rate=rate) if rate and dropping.key is not None else None
        if window := self.design.window(self.number):
            return local_attention(query, key, value, around.document_ids, window=window, dropout=dropout)
        mask = around.memory_mask if of_memory else around.mask
        return attention(query, key, value, mask, relations=around.relations, dropout=dropout)

    def heads(self, inputs: tf.Tensor, memory: tf.Tensor | None, fused: bool) -> list[tf.Tensor]:
        """Queries, keys and values, (batch, heads, sequence, head size) each."""
        size = self.design.head_size
        counts = [self.design.heads, self.design.heads_of_keys, self.design.heads_of_keys]
        seen = inputs if memory is None else memory
        sources = (inputs, seen, seen)
        products = [projection(source) for projection, source in zip(self.projections, sources, strict=False)]
        if len(products) == 1:
            products = tf.split(products[0], [count * size for count in counts], axis=-1)
        # Of queries and keys: values have none.
        products[: len(self.norms)] = [norm(part, fused) for norm, part in zip(self.norms, products, strict=False)]
        batch, length = tf.unstack(tf.shape(inputs)[:2])
        return [
            tf.transpose(tf.reshape(product, (batch, length, count, size)), (0, 2, 1, 3))
            for product, count in zip(products, counts, strict=True)
        ]


def without_padding(value: tf.Tensor, around: Surroundings) -> tf.Tensor:
    """Values (batch, heads, sequence, head size) that are 0 where there is no token."""
    return value * tf.expand_dims(tf.expand_dims(tf.cast(around.document_ids > 0, value.dtype), 1), -1)


class FeedForward(tf.keras.layers.Layer):
    """A layer's feed-forward network, with a gate where the design has one: (batch, sequence, hidden) of the same.

    Args:
        design: What the encoder is.
        number: The layer's, from 0.
    """

    def __init__(self, design: Design, number: int) -> None:
        super().__init__(name="feed_forward", autocast=False)
        self.design = design
        names = design.names
        both = 2 if design.gate in ("first", "second") else 1
        widening = functools.partial(
            linear,
            inputs=design.hidden,
            groups=design.groups.inner,
            bias=design.inner_bias,
            stddev=design.initializer_range,
        )
        self.inner = widening(names.in_layer(number, names.inner), outputs=both * design.inner)
        is_own = design.gate == "own"
        self.gate = widening(names.in_layer(number, names.gate), outputs=design.inner) if is_own else None
        self.narrowing = linear(
            names.in_layer(number, names.inner_output),
            design.inner,
            design.hidden,
            groups=design.groups.inner_output,
            bias=design.inner_output_bias,
            stddev=design.output_initializer_range,
        )

    def call(self, inputs: tf.Tensor, around: Surroundings, dropping: Dropping) -> tf.Tensor:
        """(batch, sequence, hidden) of the same."""
        activation = activation_of(self.design.activation, fused=around.fused)
        widened, gate = self.inner(inputs), None
        if self.gate is not None:
            gate = self.gate(inputs)
        elif self.design.gate == "second":
            widened, gate = tf.split(widened, 2, axis=-1)
        elif self.design.gate == "first":
            gate, widened = tf.split(widened, 2, axis=-1)
        activated = activation(widened) if gate is None else activation(widened) * gate
        outputs = self.narrowing(dropping(activated, self.design.inner_dropout))
        return dropping(outputs, self.design.inner_output_dropout)


class EncoderLayer(tf.keras.layers.Layer):
    """Attention, then the feed-forward network: (batch, sequence, hidden) of the same.

    Args:
        design: What the encoder is.
        number: The layer's, from 0.
    """

    def __init__(self, design: Design, number: int) -> None:
        super().__init__(name=f"layer_{number}", autocast=False)
        self.norm_first, self.scale = design.norm_first, design.residual_scale
        names, epsilon = design.names, design.layer_norm_epsilon
        self.attention = FourierMixing() if design.mixer == "fourier" else Attention(design, number)
        has_norm, path = number > 0 or design.first_attention_norm, names.in_layer(number, names.attention_norm)
        self.attention_norm = norm_of(design, path, epsilon) if has_norm else None
        self.feed_forward = FeedForward(design, number)
        self.inner_norm = norm_of(design, names.in_layer(number, names.inner_norm), epsilon)
        self.adapters = LanguageAdapters(design, design.adapters, number) if design.adapters is not None else None

    def call(self, states: tf.Tensor, around: Surroundings, dropping: Dropping) -> tf.Tensor:
        """(batch, sequence, hidden) of the same."""
        if self.norm_first:
            given = states if self.attention_norm is None else self.attention_norm(states, around.fused)
            states += self.scaled(self.attention(given, around, dropping))
            states += self.scaled(self.feed_forward(self.inner_norm(states, around.fused), around, dropping))
            return self.adapted(states, around, dropping)
        assert self.attention_norm is not None  # only a first norm is ever left out
        mixed = self.attention(states, around, dropping)  # the transform's is float32
        states = tf.cast(self.attention_norm(tf.cast(states, mixed.dtype) + mixed, around.fused), states.dtype)
        states += self.feed_forward(states, around, dropping)
        return self.inner_norm(self.adapted(states, around, dropping), around.fused)

    def scaled(self, added: tf.Tensor) -> tf.Tensor:
        """What is added to the states, at the design's scale: same shape and dtype."""
        return added if self.scale == 1 else added * self.scale

    def adapted(self, states: tf.Tensor, around: Surroundings, dropping: Dropping) -> tf.Tensor:
        """What comes out of the adapters, where the layer has some: (batch, sequence, hidden) of the same."""
        return (
            states
            if self.adapters is None
            else self.adapters(states, self.inner_norm, dropping, around.fused, around.language)
        )
