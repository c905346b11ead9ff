"""From token ids to the states that the first layer is given."""

from collections.abc import Mapping

import tensorflow as tf

from components.modeling.architectures.design import Design
from components.modeling.encoder.dropping import Dropping
from components.modeling.encoder.encoder_layer import norm_of
from components.modeling.encoder.layers import Linear, Table


def sees_padding(design: Design) -> bool:
    """Whether what padding is given comes into the states of tokens."""
    return design.mixer == "fourier" or bool(design.landmarks or design.hash_bits or design.value_kernel)


class Embeddings(tf.keras.layers.Layer):
    """Tokens, positions and types, added up: (batch, sequence) int32 to (batch, sequence, hidden).

    Args:
        design: What the encoder is.
        words: The embedding of tokens, where there is one already; None for a new one.
    """

    def __init__(self, design: Design, words: Table | None = None) -> None:
        super().__init__(name="embeddings", autocast=False)
        self.design = design
        path = design.names.below_model(design.names.words)
        if words is None:
            words = Table(path, design.vocabulary, design.hidden, design.initializer_range)
        self.words = words
        rows = design.position_count if design.has_table_of_positions else 0
        self.positions = self.table(design.names.positions, rows)
        self.types = self.table(design.names.types, design.types)
        self.tasks = self.table(design.names.tasks, design.tasks)
        self.sides = [Table(design.names.below_model(side.name), side.rows, side.size) for side in design.sides]
        for side in self.sides:
            side.trainable = False  # PyTorch keeps the first row, that of padding, from training
        width = design.hidden + sum(side.size for side in design.sides)
        path = design.names.below_model(design.names.sides)
        self.map = Linear(path, width, design.hidden, stddev=design.initializer_range) if design.maps_words else None
        path = design.names.below_model(design.names.embedding_norm)
        self.norm = norm_of(design, path) if design.embedding_norm else None
        path, width = design.names.below_model(design.names.embedding_map), design.hidden
        has_map = design.maps_embeddings
        self.projection = Linear(path, width, width, stddev=design.initializer_range) if has_map else None

    def table(self, name: str, rows: int) -> Table | None:
        """A table of so many rows; None for none."""
        design = self.design
        path = design.names.below_model(name)
        return Table(path, rows, design.hidden, design.initializer_range) if rows else None

    def call(
        self, inputs: Mapping[str, tf.Tensor], words: tf.Tensor, dropping: Dropping, fused: bool = False
    ) -> tf.Tensor:
        """The states, (batch, sequence, hidden), in the dtype that the model computes in.

        Args:
            inputs: `input_ids`, and where the model takes them and they are there, `position_ids` and `token_type_ids`.
            words: The embedding of tokens, (vocabulary, hidden) float32, read once for this and the head.
            dropping: Of this part.
            fused: Whether small kernels are compiled.
        """
        ids = inputs["input_ids"]
        states = self.words(ids, words)
        if sees_padding(self.design):
            # PyTorch keeps the padding token's embedding from training, but for its part in a tied output matrix.
            is_padding = tf.expand_dims(ids == self.design.pad_token_id, -1)
            states = tf.where(is_padding, tf.stop_gradient(states), states)
        if self.design.embedding_scale != 1:
            states *= self.design.embedding_scale
        if self.map is not None:
            # PyTorch's class doesn't train the first row, which is the padding token's.
            sides = [tf.stop_gradient(side(tf.zeros_like(ids))) for side in self.sides]
            states = self.map(tf.concat([states, *sides], axis=-1))
        if self.positions is not None:
            given = inputs.get("position_ids")
            states += self.positions(self.position_ids(ids) if given is None else given)
        if self.types is not None:
            given = inputs.get("token_type_ids")
            states += self.types(tf.zeros_like(ids) if given is None else given)
        if self.tasks is not None:
            states += self.tasks(tf.zeros_like(ids))
        if self.norm is not None:
            states = self.norm(states, fused)
        states = tf.cast(states, self.compute_dtype)
        if self.projection is not None:
            states = self.projection(states)
        return dropping(states, self.design.embedding_dropout)

    def position_ids(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of the table of positions, (1 or batch, sequence) int32."""
        if self.design.positions == "learned":
            return tf.range(tf.shape(ids)[1])[None] + self.design.position_offset
        is_token = tf.cast(ids != self.design.pad_token_id, tf.int32)
        return tf.cumsum(is_token, axis=1) * is_token + self.design.pad_token_id
