"""Which architectures' own tokenizers go into the graph: all but those that have no fast one, and RoFormer's."""

import pytest

from foundation.errors import ModelError
from serving.graph.tokenizers.build import build_in_graph_tokenizer
from tests.modeling.tiny_models import EVERY_MODEL, MODEL_TYPES
from tests.serving.graph.tokenizers.bpe_tokenizers import FAMILIES
from tests.serving.graph.tokenizers.differences import Comparison, random_texts
from tests.serving.graph.tokenizers.unigram_tokenizers import families

IN_GRAPH = {
    "albert": ("AlbertTokenizerFast", "albert"),
    "bart": ("BartTokenizerFast", "byte-level"),
    "bert": ("BertTokenizerFast", "wordpiece"),
    "big_bird": ("BigBirdTokenizerFast", "rembert"),
    "camembert": ("CamembertTokenizerFast", "camembert on the Hub"),
    "convbert": ("ConvBertTokenizerFast", "wordpiece"),
    "data2vec-text": ("RobertaTokenizerFast", "byte-level"),
    "deberta": ("DebertaTokenizerFast", "byte-level"),
    "deberta-v2": ("DebertaV2TokenizerFast", "deberta-v2"),
    "distilbert": ("DistilBertTokenizerFast", "wordpiece"),
    "electra": ("ElectraTokenizerFast", "wordpiece"),
    "ernie": ("BertTokenizerFast", "wordpiece"),
    "esmc": ("PreTrainedTokenizerFast", "esmc"),
    "eurobert": ("PreTrainedTokenizerFast", "eurobert"),
    "fnet": ("FNetTokenizerFast", "albert"),
    "funnel": ("FunnelTokenizerFast", "wordpiece"),
    "gte": ("XLMRobertaTokenizerFast", "xlm-roberta"),
    "ibert": ("RobertaTokenizerFast", "byte-level"),
    "jina_embeddings_v3": ("XLMRobertaTokenizerFast", "xlm-roberta"),
    "layoutlm": ("LayoutLMTokenizerFast", "wordpiece"),
    "longformer": ("LongformerTokenizerFast", "byte-level"),
    "mbart": ("MBartTokenizerFast", "xlm-roberta"),
    "megatron-bert": ("BertTokenizerFast", "wordpiece"),
    "mobilebert": ("MobileBertTokenizerFast", "wordpiece"),
    "modernbert": ("PreTrainedTokenizerFast", "modernbert"),
    "mpnet": ("MPNetTokenizerFast", "wordpiece"),
    "mvp": ("MvpTokenizerFast", "byte-level"),
    "nezha": ("BertTokenizerFast", "wordpiece"),
    "nomic_bert": ("BertTokenizerFast", "wordpiece"),
    "nystromformer": ("AlbertTokenizerFast", "albert"),
    "qdqbert": ("BertTokenizerFast", "wordpiece"),
    "rembert": ("RemBertTokenizerFast", "rembert"),
    "roberta": ("RobertaTokenizerFast", "byte-level"),
    "roberta-prelayernorm": ("RobertaTokenizerFast", "byte-level"),
    "squeezebert": ("SqueezeBertTokenizerFast", "wordpiece"),
    "xlm-roberta": ("XLMRobertaTokenizerFast", "xlm-roberta"),
    "xlm-roberta-xl": ("XLMRobertaTokenizerFast", "xlm-roberta"),
    "xmod": ("XLMRobertaTokenizerFast", "xlm-roberta"),
    "yoso": ("AlbertTokenizerFast", "albert"),
}
"""The default fast tokenizer by architecture, and the kind that it is of."""

NOT_IN_GRAPH = {
    # Cuts Chinese words by a dictionary in a program of its own.
    "roformer": "RoFormerTokenizerFast",
    # These have no fast tokenizer to be equal to.
    "esm": None,
    "flaubert": None,
    "luke": None,
    # But its bytes go into the graph: see test_bytes.py.
    "perceiver": None,
    "roc_bert": None,
    "tapas": None,
    "xlm": None,
}

BY_DEFAULT = ("deberta",)


def test_every_architecture_has_its_place_and_its_default_tokenizer():
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    assert sorted([*IN_GRAPH, *NOT_IN_GRAPH]) == list(MODEL_TYPES)
    expected = {name: tokenizer for name, (tokenizer, _) in IN_GRAPH.items()} | NOT_IN_GRAPH
    of_the_library = {name: TOKENIZER_MAPPING_NAMES[name][1] for name in expected if name in TOKENIZER_MAPPING_NAMES}
    assert of_the_library == {name: expected[name] for name in of_the_library}
    # Those that only a later transformers knows.
    assert sorted(expected.keys() - of_the_library.keys()) == [
        *("esmc", "eurobert", "gte", "jina_embeddings_v3", "nomic_bert")
    ]


KINDS = {kind: name for name, (_, kind) in reversed(IN_GRAPH.items())} | {
    IN_GRAPH[name][1]: name for name in BY_DEFAULT
}
ASKED = sorted(IN_GRAPH if EVERY_MODEL else KINDS.values())
"""An architecture for each kind; the others, whose classes differ alone, are asked with EVERY_MODEL=1."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in ASKED]
)
def test_ids_of_an_architectures_tokenizer(name, wordpiece_tokenizer, byte_level_tokenizer, prose, tmp_path):
    """The class itself, whose special tokens are added to a vocabulary that has been trained here."""
    import transformers

    class_name, kind = IN_GRAPH[name]
    given = {"wordpiece": wordpiece_tokenizer, "byte-level": byte_level_tokenizer}
    if kind in FAMILIES:
        tokenizer = FAMILIES[kind]()
    else:
        (given[kind] if kind in given else families()[kind]()).save_pretrained(tmp_path / "given")
        tokenizer = getattr(transformers, class_name)(tokenizer_file=str(tmp_path / "given/tokenizer.json"))
    tokenizer.save_pretrained(tmp_path / "own")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "own")
    assert type(tokenizer).__name__ == class_name
    comparison = Comparison(tokenizer, build_in_graph_tokenizer(tokenizer))
    assert not comparison.differences([*random_texts(tokenizer.all_special_tokens, 1000, 1), *prose[:500]])


def test_a_tokenizer_that_is_not_fast_is_refused(tmp_path):
    from transformers import EsmTokenizer

    (tmp_path / "vocab.txt").write_text("\n".join(["<cls>", "<pad>", "<eos>", "<unk>", "<mask>", "A"]), "utf-8")
    with pytest.raises(ModelError, match="EsmTokenizer, which isn't a fast tokenizer"):
        build_in_graph_tokenizer(EsmTokenizer(str(tmp_path / "vocab.txt")))
