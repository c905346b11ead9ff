"""The most probable way to cut words into pieces: Viterbi's algorithm, for all words of a batch at once."""

import tensorflow as tf

from serving.graph.tokenizers.segments import segment_ids

# A turn of a loop costs as much as several of these steps.
_STEPS_A_TURN = 4


def best_path(scores: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Cuts words into pieces so that the sum of the scores is the largest.

    Scores are added from the left in float64, and of equal sums the one wins whose last piece is longer, as in the fast
    tokenizers: so even rounding is the same.

    Args:
        scores: (characters, width) float64, of the piece that ends with each character and has `width` characters in
            column 0, one less in column 1, and so on; minus infinity for no piece.
        splits: (words + 1,) int64, where words begin and the last one ends; no word is empty.

    Returns:
        (characters,) int64, the length of the piece that ends with each character, 0 where none does.
    """
    words = tf.size(splits, tf.int64) - 1
    size, width = tf.shape(scores, tf.int64)[0], scores.shape[1]
    word_lengths = splits[1:] - splits[:-1]
    longest = tf.reduce_max(tf.concat([word_lengths, [0]], 0))
    # At step n the words of over n characters are at work: a prefix of the words from long to short.
    of_length = tf.math.unsorted_segment_sum(tf.ones_like(word_lengths), word_lengths, longest + 1)
    at_work = words - tf.cumsum(of_length)[:-1]  # (steps,)
    from_long_to_short = tf.argsort(-word_lengths)
    rank = tf.scatter_nd(from_long_to_short[:, None], tf.range(words), [words])
    word_of = segment_ids(splits)
    position = tf.range(size) - tf.gather(splits, word_of)
    # Characters are worked on by position, and at each position by rank.
    place = tf.gather(tf.cumsum(at_work, exclusive=True), position) + tf.gather(rank, word_of)
    ordered = tf.scatter_nd(place[:, None], scores, tf.shape(scores, tf.int64))
    # Steps without words fill the last turn.
    at_work = tf.pad(at_work, [[0, -longest % _STEPS_A_TURN]])
    steps = tf.size(at_work)
    rows_of_steps = tf.TensorArray(tf.float64, steps, infer_shape=False, element_shape=[None, width])
    rows_of_steps = rows_of_steps.split(ordered, at_work)

    def turn(number: tf.Tensor, sums: tf.Tensor, chosen: tf.TensorArray) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        """Ends a piece with the character of each next number in every word.

        `sums` (words, width) has the best sums up to each of the last `width` characters.
        """
        for _ in range(_STEPS_A_TURN):
            rows = rows_of_steps.read(number)
            sums = sums[: tf.shape(rows)[0]]
            # Of equal ones top_k takes the first, which is the longest piece.
            best = tf.math.top_k(sums + rows, 1)
            sums = tf.concat([sums[:, 1:], best.values], 1)
            chosen = chosen.write(number, best.indices)
            number += 1
        return number, sums, chosen

    nothing = tf.fill([words, width - 1], tf.constant(-float("inf"), tf.float64))
    _, _, chosen = tf.while_loop(
        lambda number, *_: number < steps,
        turn,
        (
            tf.constant(0),
            tf.concat([nothing, tf.zeros([words, 1], tf.float64)], 1),
            tf.TensorArray(tf.int32, steps, infer_shape=False, element_shape=[None, 1]),
        ),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, width]), None),
    )
    lengths = width - tf.gather(tf.cast(chosen.concat()[:, 0], tf.int64), place)
    return tf.where(_on_path(lengths, position, splits), lengths, 0)


def _on_path(lengths: tf.Tensor, position: tf.Tensor, splits: tf.Tensor) -> tf.Tensor:
    """Whether a piece of the path ends with each character: (characters,) bool.

    Args:
        lengths: (characters,) int64, the length of the best piece that ends with each.
        position: (characters,) int64, the place of each in its word.
        splits: (words + 1,) int64.
    """
    size = tf.size(lengths, tf.int64)
    # Where the piece before the one that ends here ends; the place past all characters stands for none.
    before = tf.where(position >= lengths, tf.range(size) - lengths, size)
    before = tf.concat([before, [size]], 0)
    marked = tf.scatter_nd(splits[1:, None] - 1, tf.ones_like(splits[1:], tf.bool), [size + 1])

    def turn(marked: tf.Tensor, before: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Each turn reaches twice as many pieces back.
        reached = tf.boolean_mask(before, marked)
        marked = tf.tensor_scatter_nd_update(marked, reached[:, None], tf.ones_like(reached, tf.bool))
        return marked, tf.gather(before, before), tf.reduce_any(reached != size)

    marked, _, _ = tf.while_loop(
        lambda _, before, goes_on: goes_on,
        turn,
        (marked, before, tf.constant(True)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None]), tf.TensorShape([])),
    )
    return marked[:-1]
