"""Small tokenizers trained on this Python's own documentation, and a small model with random weights."""

import pydoc_data.topics

import pytest

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


@pytest.fixture(scope="session")
def prose():
    """Paragraphs of English prose: about 3,000 strings."""
    return [paragraph for topic in pydoc_data.topics.topics.values() for paragraph in topic.split("\n\n")]


@pytest.fixture(scope="session")
def train_byte_level(prose):
    """Makes a fast byte-level BPE tokenizer like RoBERTa's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    def train(add_prefix_space=False, clean_up=False, normalized=True, vocab_size=700, merges=None):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(prose[:1000], trainer)
        if merges is not None:
            vocabulary = {token: token_id for token, token_id in tokenizer.get_vocab().items() if token_id < 261}
            for left, right in merges:
                vocabulary.setdefault(left + right, len(vocabulary))
            tokenizer.model = models.BPE(vocab=vocabulary, merges=merges)
        tokenizer.add_special_tokens(
            [AddedToken(token, normalized=normalized, special=True) for token in SPECIAL_TOKENS[:-1]]
            + [AddedToken("<mask>", lstrip=True, normalized=False, special=True)]
        )
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), add_prefix_space=add_prefix_space
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
            mask_token="<mask>",
            clean_up_tokenization_spaces=clean_up,
            model_max_length=64,
        )

    return train


@pytest.fixture(scope="session")
def byte_level_tokenizer(train_byte_level):
    """A byte-level BPE with 700 tokens."""
    return train_byte_level()


@pytest.fixture(scope="session")
def train_wordpiece(prose):
    """Makes a fast WordPiece tokenizer like BERT's."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

    def train(clean_up=False, **options):
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(**options)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece(cleanup=clean_up)
        # Some characters of other scripts, so that not all of them are unknown.
        others = [chr(point) for point in (*range(0xC0, 0x250), *range(0x300, 0x370), *range(0x900, 0x980), 0x4E00)]
        trainer = trainers.WordPieceTrainer(
            vocab_size=1400, special_tokens=special, initial_alphabet=others, show_progress=False
        )
        tokenizer.train_from_iterator([*prose[:1000], "".join(others)], trainer)
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            cls_token="[CLS]",
            sep_token="[SEP]",
            pad_token="[PAD]",
            unk_token="[UNK]",
            mask_token="[MASK]",
            clean_up_tokenization_spaces=clean_up,
            model_max_length=64,
        )

    return train


@pytest.fixture(scope="session")
def wordpiece_tokenizer(train_wordpiece):
    """An uncased WordPiece."""
    return train_wordpiece(clean_up=True)
