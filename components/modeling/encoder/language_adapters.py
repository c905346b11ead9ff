"""Small networks of each language's own at the end of a layer, of which a text goes through one language's.

Pfeiffer et al. 2022, "Lifting the Curse of Multilinguality by Pre-training Modular Transformers"
(https://arxiv.org/abs/2205.06266).
"""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from components.modeling.architectures.design import Adapters, Design
from components.modeling.encoder.activations import activation_of
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.layers import Linear, Norm

OfOneLanguage = Callable[[tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor]


def by_language(
    function: OfOneLanguage,
    inputs: Mapping[str, tf.Tensor],
    language_ids: tf.Tensor,
    width: int,
    dtype: tf.DType,
) -> tf.Tensor:
    """Runs a function on the rows of each language together, one language after the other.

    Args:
        function: Takes a language's number, () int32, and its rows, (some, sequence) each; gives (some, sequence,
            width).
        inputs: (batch, sequence) each.
        language_ids: (batch,) int32.
        width: Of what the function gives.
        dtype: Of what it gives.

    Returns:
        (batch, sequence, width).
    """
    languages, _ = tf.unique(language_ids)
    shape = tf.concat([tf.shape(inputs["input_ids"]), [width]], 0)

    def body(number: tf.Tensor, states: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.where(language_ids == languages[number])  # (some, 1)
        given = {name: tf.gather_nd(value, rows) for name, value in inputs.items()}
        return number + 1, tf.tensor_scatter_nd_update(states, rows, function(languages[number], given))

    _, states = tf.while_loop(
        lambda number, states: number < tf.size(languages),
        body,
        (tf.constant(0), tf.zeros(shape, dtype)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, width])),
        parallel_iterations=1,
    )
    return states


class LanguageAdapters(tf.keras.layers.Layer):
    """A layer's adapters: (batch, sequence, hidden) of the same. Those of other languages keep their weights.

    Args:
        design: What the encoder is.
        adapters: What the adapters are.
        number: The layer's, from 0.
    """

    def __init__(self, design: Design, adapters: Adapters, number: int) -> None:
        super().__init__(name="language_adapters", autocast=False)
        self.design, self.adapters = design, adapters
        path = design.names.in_layer(number, design.names.adapters)
        bottleneck, hidden, stddev = adapters.size, design.hidden, design.initializer_range
        self.down = {
            language: Linear(f"{path}.{language}.dense1", hidden, bottleneck, stddev=stddev)
            for language in adapters.languages
        }
        self.up = {
            language: Linear(f"{path}.{language}.dense2", bottleneck, hidden, stddev=stddev)
            for language in adapters.languages
        }
        norm = design.names.in_layer(number, design.names.adapters_norm)
        self.norm = Norm(norm, hidden, design.norm_epsilon) if adapters.norm == "own" else None

    def call(
        self,
        states: tf.Tensor,
        layer_norm: Norm,
        dropping: Dropping,
        fused: bool,
        language: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """(batch, sequence, hidden) of the same.

        Args:
            states: What the feed-forward network has been added to.
            layer_norm: The layer's norm of those, which the adapters may share.
            dropping: Of the layer.
            fused: Whether small kernels are compiled.
            language: () int32, a number in the design's languages; None for the design's own choice.
        """
        given = states
        if self.norm is not None:
            given = self.norm(states, fused)
        elif self.adapters.norm == "shared":
            given = layer_norm(states, fused)
        activation = activation_of(self.design.activation, fused=fused)

        def through(language: str) -> tf.Tensor:
            return self.up[language](activation(self.down[language](given)))

        if language is None:
            adapted = through(self.adapters.language)
        else:
            # One branch is run, so that the weights of one language are read.
            adapted = tf.switch_case(language, [functools.partial(through, each) for each in self.adapters.languages])
        adapted = dropping(adapted, self.design.inner_output_dropout)
        return adapted + (states if self.adapters.skip_norm else given)
