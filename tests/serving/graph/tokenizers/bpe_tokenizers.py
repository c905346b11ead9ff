"""Tokenizers of byte-pair encoding in the shapes of ModernBERT's, EuroBERT's, mmBERT's and ESM C's, made here."""

import functools
import json
import pydoc_data.topics

SCRIPTS = "ÄÖÜßéèêçñ日本語漢字テストעבריתالعربيةहिन्दीไทย한국어👍🏽🙂©®™½①ﬁ"
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def modernbert(size=600):
    """GPT-NeoX's parts: NFC, bytes, runs of blanks and other words looked for in normal text."""
    from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers

    tokenizer = trained(size, pre_tokenizers.ByteLevel(add_prefix_space=False), ["|||IP_ADDRESS|||", "<|padding|>"])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    runs = [" " * length for length in range(24, 1, -1)]
    words = ["|||IP_ADDRESS|||", *runs, "|||EMAIL_ADDRESS|||", *(f"[unused{number}]" for number in range(5))]
    tokenizer.add_tokens([AddedToken(word, normalized=True) for word in words])
    special = ["<|padding|>", "<|endoftext|>", "[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    return finished(tokenizer, special, AddedToken("[MASK]", lstrip=True, special=True), "[CLS]", "[SEP]", "[PAD]")


def eurobert(size=600):
    """Llama 3's parts: words by a regular expression, tokens taken as they stand before any merge."""
    from tokenizers import AddedToken, Regex, decoders, pre_tokenizers

    words = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = in_all_ways(trained(size, words, []), ignore_merges=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|pad|>"]
    return finished(tokenizer, special, AddedToken("<|mask|>", lstrip=True, special=True), *special, clean_up=True)


def mmbert(size=1200, ignore_merges=False):
    """Gemma 2's parts: merges over whole texts, bytes of unknown characters, runs of blanks and line ends."""
    from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers

    blank_before = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    # As in Gemma's own vocabulary, the byte of a character that is a token is left out.
    names = [f"<0x{byte:02X}>" for byte in range(256) if chr(byte) != "\t"]
    runs = ["\n" * length for length in range(1, 32)] + ["▁" * length for length in range(2, 32)]
    tokenizer = trained(size, blank_before, [*special, *names, *runs, "\t"], normalizers.Replace(" ", "▁"))
    tokenizer = in_all_ways(tokenizer, ignore_merges, byte_fallback=True)
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    words = ["[@BOS@]", "<unused0>", *runs, "<table>", "</table>"]
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    mask = AddedToken("<mask>", normalized=False, special=True)
    return finished(tokenizer, special[:4], mask, "<bos>", "<eos>", "<pad>")


def esmc():
    """ESM C's parts: amino acids as tokens without any merge, another token for each other character."""
    from tokenizers import Tokenizer, models

    special = ["<cls>", "<pad>", "<eos>", "<unk>"]
    tokens = [*special, *"LAGVSERTIDPKQNFYMHWCXBUZO.-|", "<mask>"]
    tokenizer = Tokenizer(models.BPE({token: id_ for id_, token in enumerate(tokens)}, [], unk_token="<unk>"))
    return finished(tokenizer, [*special, "|"], "<mask>", "<cls>", "<eos>", "<pad>")


FAMILIES = {
    "esmc": esmc,
    "modernbert": modernbert,
    "eurobert": eurobert,
    "mmbert": mmbert,
    "mmbert, tokens as they stand": functools.partial(mmbert, ignore_merges=True),
}


def trained(size, pre_tokenizer, special, normalizer=None):
    """A BPE trained on this Python's documentation."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>" if "<unk>" in special else None))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    in_bytes = normalizer is None
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if in_bytes else [],
        show_progress=False,
    )
    prose = [paragraph for topic in pydoc_data.topics.topics.values() for paragraph in topic.split("\n\n")][:800]
    tokenizer.train_from_iterator([*prose, *[" ".join(SCRIPTS)] * 20], trainer)
    return tokenizer


def in_all_ways(tokenizer, ignore_merges, byte_fallback=False):
    """The tokenizer with a merge for each way to make a token, in the order of the tokens, as converters write them.

    Every seventh token comes early, so that some merges make a part of what has a lower rank.
    """
    from tokenizers import Tokenizer

    settings = json.loads(tokenizer.to_str())
    vocabulary = settings["model"]["vocab"]
    plain = [token for token in vocabulary if not token.startswith("<")]
    ranked = sorted(plain, key=lambda token: (vocabulary[token] % 7 != 0, vocabulary[token]))
    settings["model"]["merges"] = [
        [token[:cut], token[cut:]]
        for token in ranked
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    settings["model"] |= {"ignore_merges": ignore_merges, "byte_fallback": byte_fallback, "fuse_unk": byte_fallback}
    return Tokenizer.from_str(json.dumps(settings))


def finished(tokenizer, special, mask, first, last, padding, clean_up=False):
    """The fast tokenizer with its special tokens."""
    from tokenizers import AddedToken, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer.add_special_tokens([*(AddedToken(token, normalized=False, special=True) for token in special), mask])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        cls_token=first,
        sep_token=last,
        pad_token=padding,
        mask_token=str(mask),
        clean_up_tokenization_spaces=clean_up,
        model_max_length=64,
    )
