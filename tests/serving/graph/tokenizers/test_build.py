"""What can't be exact in the graph is refused, with the reason."""

import pytest

from foundation.errors import ModelError
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from serving.graph.tokenizers.probes import probes, refuse_differences
from tests.serving.graph.tokenizers.differences import Comparison, random_texts


def changed(tokenizer, **settings):
    """The tokenizer with other entries in its `tokenizer.json`."""
    import json

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    for path, value in settings.items():
        part, _, key = path.partition("__")
        if key:
            content[part][key] = value
        else:
            content[part] = value
    backend = Tokenizer.from_str(json.dumps(content))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **tokenizer.special_tokens_map)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"normalizer": {"type": "Nmt"}}, "normalizer Nmt"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer Whitespace"),
        ({"pre_tokenizer__use_regex": False}, "not among"),
        ({"model__dropout": 0.1}, "dropout"),
        ({"model__end_of_word_suffix": "</w>"}, "end_of_word_suffix"),
        ({"decoder": {"type": "Fuse"}}, "a decoder of type Fuse"),
    ],
)
def test_other_parts_are_refused(byte_level_tokenizer, settings, reason):
    with pytest.raises(ModelError, match=reason):
        build_in_graph_tokenizer(changed(byte_level_tokenizer, **settings))


def test_other_parts_of_a_wordpiece_are_refused(wordpiece_tokenizer):
    with pytest.raises(ModelError, match="pre-tokenizer Whitespace: not among"):
        build_in_graph_tokenizer(changed(wordpiece_tokenizer, pre_tokenizer={"type": "Whitespace"}))


@pytest.mark.parametrize(
    "normalizer",
    [None, {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "''"}, "content": '"'}]}],
)
def test_a_wordpiece_with_another_normalizer(wordpiece_tokenizer, normalizer):
    tokenizer = changed(wordpiece_tokenizer, normalizer=normalizer)
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences(random_texts(tokenizer.all_special_tokens, 300, 1))


@pytest.mark.slow
def test_padding_and_truncation_in_the_tokenizers_file_are_left_out(wordpiece_tokenizer):
    """As transformers leaves them out; files of sentence encoders have both."""
    padding = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_type_id": 0}
    padding |= {"pad_id": wordpiece_tokenizer.pad_token_id, "pad_token": wordpiece_tokenizer.pad_token}
    truncation = {"max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    tokenizer = changed(wordpiece_tokenizer, padding=padding, truncation=truncation)
    built = build_in_graph_tokenizer(tokenizer)
    texts = ["", "the", *random_texts(tokenizer.all_special_tokens, 300, 1)]
    assert not Comparison(tokenizer, built).differences(texts)


@pytest.mark.slow
def test_a_byte_level_bpe_with_a_normalizer(byte_level_tokenizer, prose):
    """Its special tokens are looked for in normal text: `<S>` is one, `<MASK>` isn't."""
    tokenizer = changed(byte_level_tokenizer, normalizer={"type": "Lowercase"})
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    texts = ["A <S> b <MASK> c <mask>", *random_texts(tokenizer.all_special_tokens, 300, 1), *prose[:300]]
    assert not comparison.differences(texts)
    assert tokenizer.bos_token_id in comparison.ids(texts)[0][1:]


def test_a_tokenizer_larger_than_the_model_is_refused(byte_level_tokenizer):
    size = len(byte_level_tokenizer)
    with pytest.raises(ModelError, match=f"token id {size - 1}, while the model knows {size - 1} ids"):
        build_in_graph_tokenizer(byte_level_tokenizer, size - 1)


def test_a_tokenizer_without_a_mask_is_refused(byte_level_tokenizer):
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level_tokenizer.backend_tokenizer, pad_token="<pad>")
    with pytest.raises(ModelError, match="without a mask token"):
        build_in_graph_tokenizer(tokenizer)


def test_a_tokenizer_with_python_code_is_refused(wordpiece_tokenizer):
    class RoFormerTokenizerFast(type(wordpiece_tokenizer)):
        pass

    tokenizer = RoFormerTokenizerFast(
        tokenizer_object=wordpiece_tokenizer.backend_tokenizer, **wordpiece_tokenizer.special_tokens_map
    )
    with pytest.raises(ModelError, match="Python code"):
        build_in_graph_tokenizer(tokenizer)


def test_a_difference_in_ids_or_in_texts_is_refused(byte_level_tokenizer, train_byte_level):
    other = train_byte_level(add_prefix_space=True)
    in_graph = build_in_graph_tokenizer(byte_level_tokenizer)
    refuse_differences(in_graph, byte_level_tokenizer)
    with pytest.raises(ModelError, match=r"to the tokenizer and \[.*\] to the graph"):
        refuse_differences(in_graph, other)
    in_graph.decode = build_in_graph_tokenizer(train_byte_level(clean_up=True)).decode
    with pytest.raises(ModelError, match=r"to the tokenizer and b.* to the graph"):
        refuse_differences(in_graph, byte_level_tokenizer)


def test_probes_hold_what_tokenizers_differ_on():
    texts = probes(["<mask>"], seed=3, number=200)
    assert texts == probes(["<mask>"], seed=3, number=200)
    together = "".join(texts)
    assert "" in texts
    assert "<mask>" in together
    assert any(ord(character) > 0x20000 for character in together)
