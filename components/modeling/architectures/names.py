"""What PyTorch calls the parts of an encoder."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Names:
    """PyTorch's names of an encoder's parts, without `.weight` and `.bias`; the defaults are BERT's.

    Attributes:
        model: Of the model without its head; the names down to `final_norm` stand below it.
        words: The embedding of tokens.
        positions: The table of positions.
        types: The table of token types.
        tasks: The table of tasks.
        sides: What maps tokens and what else is known of them to one state, where there is such a thing.
        embedding_norm: The norm of the embeddings.
        embedding_map: What maps the embeddings after their norm, where there is such a thing.
        layer: A layer, with `{}` for its number; the names down to `inner_output` stand below it.
        attention_norm: The norm before or after the attention.
        query: What makes queries; or queries, keys and values, where those are one product.
        key: What makes keys.
        value: What makes values.
        query_norm: The norm of queries, where they have one.
        key_norm: The norm of keys.
        attention_output: What the attention's heads go through.
        cross_norm: In a decoder, the norm before or after the attention to the encoder's states.
        cross_query: What makes queries there.
        cross_key: What makes keys there.
        cross_value: What makes values there.
        cross_output: What that attention's heads go through.
        value_convolution: The convolution over values, where there is one.
        inner_norm: The norm before or after the feed-forward network.
        inner: What widens.
        gate: What makes the gate, where it has a matrix of its own.
        inner_output: What narrows.
        adapters: The adapters of all languages.
        adapters_norm: The norm of their own.
        final_norm: The norm after the last layer.
        head: The head's transformation.
        head_norm: Its norm.
        head_bias: The bias of the logits, whole: with `.bias`, where it has that.
        fixed_head_bias: A bias of the logits that isn't trained, whole, where there is one.
        head_output: The output matrix.
    """

    model: str = "bert"
    words: str = "embeddings.word_embeddings"
    positions: str = "embeddings.position_embeddings"
    types: str = "embeddings.token_type_embeddings"
    tasks: str = "embeddings.task_type_embeddings"
    sides: str = ""
    embedding_norm: str = "embeddings.LayerNorm"
    embedding_map: str = ""
    layer: str = "encoder.layer.{}"
    attention_norm: str = "attention.output.LayerNorm"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    query_norm: str = ""
    key_norm: str = ""
    attention_output: str = "attention.output.dense"
    cross_norm: str = ""
    cross_query: str = ""
    cross_key: str = ""
    cross_value: str = ""
    cross_output: str = ""
    value_convolution: str = ""
    inner_norm: str = "output.LayerNorm"
    inner: str = "intermediate.dense"
    gate: str = ""
    inner_output: str = "output.dense"
    adapters: str = ""
    adapters_norm: str = ""
    final_norm: str = ""
    head: str = "cls.predictions.transform.dense"
    head_norm: str = "cls.predictions.transform.LayerNorm"
    head_bias: str = "cls.predictions.bias"
    fixed_head_bias: str = ""
    head_output: str = "cls.predictions.decoder"

    def copies_where_untied(self, head_bias: bool) -> dict[str, str]:
        """Names of arrays, each with the name of the array that it equals in PyTorch's file of an untied model.

        transformers 5 uses the output matrix's own bias there.
        """
        own = f"{self.head_output}.bias"
        return {own: self.head_bias} if head_bias and own != self.head_bias else {}

    def below_model(self, name: str) -> str:
        """The whole name of a part below the model."""
        return f"{self.model}.{name}"

    def in_layer(self, number: int, name: str) -> str:
        """The whole name of a part of a layer, counted from 0."""
        return self.below_model(f"{self.layer.format(number)}.{name}")


BERT_NAMES = Names()
ROBERTA_NAMES = Names(
    model="roberta",
    head="lm_head.dense",
    head_norm="lm_head.layer_norm",
    head_bias="lm_head.bias",
    head_output="lm_head.decoder",
)
