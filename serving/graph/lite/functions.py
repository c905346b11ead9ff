"""What the file for TensorFlow Lite computes, in operations that it has built in.

TensorFlow Serving's session for such a file (`TfLiteSession`) knows no others: no tokenizer, no ragged tensors, no
batching in the graph. It also sets one input after the other, and lays out the whole graph each time, with one input of
the new shape and one of the old: see `in_one_shape`.
"""

from typing import Any

import tensorflow as tf

from serving.graph.language_model import LanguageModel
from serving.graph.token_signatures import NO_TOKEN

_IDS = tf.TensorSpec([None, None], tf.int32, "input_ids")
_ATTENTION_MASK = tf.TensorSpec([None, None], tf.int32, "attention_mask")
_POSITIONS = tf.TensorSpec([None, None], tf.int32, "positions")
_BEYOND = 1 << 24
"""More than there are rows or columns."""


class LiteFunctions(tf.Module):
    """The functions to convert, which share the model's weights.

    Args:
        model: The masked language model.
        mask_token_id: The mask's id.
        top_k: Candidates a mask.
        longest: The most tokens of a row.
        first_position: The position id of a row's first token, where the model counts from the row's start; its rows
            then get theirs from here, each its own. Only a model that looks for tokens itself counts by itself. None
            for that one, and for a model that takes no position ids.

    Example:
        functions = LiteFunctions(LanguageModel(model), tokenizer.mask_token_id, top_k=5, longest=512, first_position=0)
        content = convert(functions)  # of serving.graph.lite.conversion
    """

    def __init__(
        self, model: LanguageModel, mask_token_id: int, top_k: int, longest: int, first_position: int | None
    ) -> None:
        super().__init__()
        self.language_model = model
        self.weights = model.weights
        self.mask_token_id = mask_token_id
        self.longest = longest
        self.first_position = first_position
        self.top_k = min(top_k, model.vocabulary_size)

    @tf.function(input_signature=[_IDS, _ATTENTION_MASK], autograph=False)
    def tokens(self, input_ids: tf.Tensor, attention_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best candidates at every mask, as `TokenSignatures.tokens` gives them.

        Args:
            input_ids: (batch, sequence) int32, with the special tokens around each text; at least one of them.
            attention_mask: (batch, sequence) int32, 1 at tokens and 0 at padding.

        Returns:
            position: (batch, masks) int32.
            token: (batch, masks, top_k) int32, best first.
            score: (batch, masks, top_k) float32, the tokens' probabilities.

            `masks` is the largest number in a row, at least 1. What a row lacks is filled with position and token -1
            and score 0.
        """
        input_ids, attention_mask, place = in_one_shape(input_ids, attention_mask, self.longest)
        is_mask = tf.cast((input_ids == self.mask_token_id) & (attention_mask != 0), tf.int32)  # (batch, sequence)
        masks = tf.reduce_sum(is_mask)
        # A product of no rows isn't computed everywhere, so without a mask the first token stands for one.
        is_first = tf.reduce_max(place, axis=-1) == 0
        is_asked = (is_mask > 0) | (is_first & (masks == 0))
        places = tf.where(is_asked)  # (places, 2) int64
        best = tf.math.top_k(tf.nn.softmax(self._scores(input_ids, attention_mask, place, places)), self.top_k)

        number = tf.gather_nd(tf.cumsum(is_mask, axis=1, exclusive=True), places)  # of the mask in its row, (places,)
        places = tf.cast(places, tf.int32)
        most = tf.maximum(tf.reduce_max(tf.reduce_sum(is_mask, axis=1)), 1)
        cells = tf.stack([places[:, 0], number], axis=1)  # (places, 2)
        shape = tf.stack([tf.shape(input_ids)[0], most])
        is_real = tf.minimum(masks, 1)  # 0 where the first token stands for a mask

        def by_row(values: tf.Tensor) -> tf.Tensor:
            """(places, top_k) as (batch, masks, top_k), with 0 where there is nothing."""
            return tf.scatter_nd(cells, values, tf.concat([shape, [self.top_k]], 0))

        # Where there is nothing a scatter leaves 0, so what is -1 there is moved by one.
        position = tf.scatter_nd(cells, (places[:, 1] - NO_TOKEN) * is_real, shape) + NO_TOKEN
        token = by_row((best.indices - NO_TOKEN) * is_real) + NO_TOKEN
        score = by_row(best.values * tf.cast(is_real, tf.float32))
        return {"position": position, "token": token, "score": score}

    @tf.function(input_signature=[_IDS, _ATTENTION_MASK, _POSITIONS], autograph=False)
    def vocabulary_scores(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, positions: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The scores of the whole vocabulary at given positions: what an evaluation measures.

        They come from the same weights by the same operations as those behind `tokens`.

        Args:
            input_ids: (batch, sequence) int32.
            attention_mask: (batch, sequence) int32.
            positions: (batch, predictions) int32, from 0 to the sequence's length, exclusive.

        Returns:
            `logits` (batch * predictions, vocabulary) float32, row by row, not normalized.
        """
        input_ids, attention_mask, place = in_one_shape(input_ids, attention_mask, self.longest)
        cells = tf.where(positions > NO_TOKEN)  # all of them, (cells, 2) int64
        places = tf.stack([cells[:, 0], tf.cast(tf.gather_nd(positions, cells), tf.int64)], axis=1)
        return {"logits": self._scores(input_ids, attention_mask, place, places)}

    def _scores(
        self, input_ids: tf.Tensor, attention_mask: tf.Tensor, place: tf.Tensor, places: tf.Tensor
    ) -> tf.Tensor:
        """The vocabulary's scores at places, (places, 2) int64: (places, vocabulary) float32, not normalized."""
        # Positions of one row, added to those of every row, are what XNNPACK gets wrong: see `in_one_shape`.
        position_ids = None if self.first_position is None else place[:, :, 1] + self.first_position
        hidden = self.language_model.hidden(input_ids, attention_mask, position_ids)
        return self.language_model.scores(tf.gather_nd(hidden, places))

    def signatures(self) -> dict[str, Any]:
        """The functions by name; the one that a server answers with comes first."""
        return {"tokens": self.tokens, "vocabulary_scores": self.vocabulary_scores}


def in_one_shape(
    input_ids: tf.Tensor, attention_mask: tf.Tensor, longest: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Ids and mask with as many rows as the ids have, and as many columns as the mask has.

    More columns than `longest` are an error, before anything is computed of them.

    While a server lays out the graph for an input of the new shape and one of the old, that is a shape which has one
    size in common with each. So no operation fails then; and from one layout to the next either the rows change or the
    columns, never both at once, as from (1, 36) to (3, 12). After such a change, where as many numbers as before are
    arranged otherwise, XNNPACK in TensorFlow 2.21 computes wrong answers without an error.

    Args:
        input_ids: (batch, sequence) int32.
        attention_mask: (batch, sequence) int32.
        longest: The most columns.

    Returns:
        Ids and mask, and the place of each element, (batch, sequence, 2) int32.
    """
    row = tf.cumsum(tf.ones_like(input_ids[:, :1]), axis=0, exclusive=True)  # (batch, 1)
    column = tf.cumsum(tf.ones_like(attention_mask[:1]), axis=1, exclusive=True)  # (1, sequence)
    column = tf.gather(tf.range(longest), column)  # which finds no more than there are
    # A maximum is what broadcasts here without changing a number.
    rows, columns = tf.maximum(row, column - _BEYOND), tf.maximum(column, row - _BEYOND)  # (batch, sequence)
    place = tf.stack([rows, columns], axis=-1)
    return tf.gather_nd(input_ids, place), tf.gather_nd(attention_mask, place), place
