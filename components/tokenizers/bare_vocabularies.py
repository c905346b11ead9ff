"""Makes a tokenizer of just a vocabulary, whose special tokens are found in it by their usual names."""

import json
import unicodedata
from collections.abc import Container, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from foundation.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Loaded = tuple["PreTrainedTokenizerFast", list[str]]
"""A tokenizer, and what had to be guessed, a sentence each."""

SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "sentencepiece.model", "tokenizer.model")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", *SENTENCEPIECE)
"""Names of vocabularies; the first one that a folder holds counts."""
USUAL_NAMES = {
    "mask_token": ("[MASK]", "<mask>"),
    "pad_token": ("[PAD]", "<pad>"),
    "unk_token": ("[UNK]", "<unk>"),
    "cls_token": ("[CLS]", "<s>", "<cls>"),
    "sep_token": ("[SEP]", "</s>", "<eos>"),
}
CONTINUES = "##"


def find_vocabulary(path: Path) -> Path | None:
    """The vocabulary that a path names, or that its folder holds; None where there is none."""
    if path.is_file():
        is_one = path.name in VOCABULARIES or path.suffix in (".json", ".txt", ".model")
        return path if is_one else None
    return next((path / name for name in VOCABULARIES if (path / name).is_file()), None)


def load_bare(vocabulary: Path) -> Loaded:
    """Makes a tokenizer of a vocabulary's file, by its form.

    Raises:
        ModelError: If a special token is missing, or the file is of no form that is known.
    """
    if vocabulary.suffix == ".model":
        return load_sentencepiece(vocabulary, vocabulary.parent)
    if vocabulary.suffix == ".txt":
        return _wordpiece(vocabulary)
    content = json.loads(vocabulary.read_text("utf-8"))
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        return _complete(vocabulary)
    return _byte_level_bpe(vocabulary, content)


def _complete(file: Path) -> Loaded:
    """A `tokenizer.json`, which holds everything but which token is which."""
    from transformers import PreTrainedTokenizerFast

    loaded = PreTrainedTokenizerFast(tokenizer_file=str(file))
    names = _named(loaded.get_vocab())
    _require(file, names, ("mask_token", "pad_token", "unk_token"))
    described = {str(token): token for token in loaded.added_tokens_decoder.values()}
    loaded.add_special_tokens({role: described.get(name, name) for role, name in names.items()})
    return loaded, [_told(file, names)]


def _wordpiece(file: Path) -> Loaded:
    """A `vocab.txt`: BERT's WordPiece, one token a line."""
    from transformers import BertTokenizerFast

    tokens = file.read_text("utf-8").splitlines()
    names = _named(set(tokens))
    _require(file, names, tuple(USUAL_NAMES))
    if not any(token.startswith(CONTINUES) for token in tokens):
        raise ModelError(
            f"a bare vocab.txt must be a WordPiece vocabulary, in which {CONTINUES} begins what continues a word",
            received=f"{file}, in which no token begins with it",
            remedy="put the tokenizer's own tokenizer_config.json and tokenizer.json (save_pretrained writes them) "
            "beside it",
        )
    words = [token for token in tokens if token not in names.values()]
    lowercase = _is_lowercase(words)
    keeps_accents = any(_has_accent(character) for word in words for character in word)
    loaded = BertTokenizerFast(
        vocab_file=str(file), do_lower_case=lowercase, strip_accents=lowercase and not keeps_accents, **names
    )
    case = "capital letters as small ones" if lowercase else "capital letters as they are"
    accents = ", without accents" if lowercase and not keeps_accents else ""
    return loaded, [_told(file, names), f"it reads {case}{accents}, as its tokens are written"]


def _byte_level_bpe(file: Path, vocabulary: Any) -> Loaded:
    """A `vocab.json` with the `merges.txt` beside it: byte-level BPE, as RoBERTa's."""
    from transformers import RobertaTokenizerFast

    merges = file.with_name("merges.txt")
    if not isinstance(vocabulary, dict) or not merges.is_file():
        raise ModelError(
            "a bare vocab.json must give ids by token, and have its merges.txt beside it",
            received=f"{file}" + (", beside which there is none" if isinstance(vocabulary, dict) else ""),
            remedy="copy both files into one folder, and name that with --tokenizer.pretrained",
        )
    names = _named(vocabulary)
    _require(file, names, tuple(USUAL_NAMES))
    if not any(token.startswith("Ġ") for token in vocabulary):
        raise ModelError(
            "a bare vocab.json must be a byte-level BPE's, in which Ġ stands for the blank before a word",
            received=f"{file}, in which no token begins with it",
            remedy="put the tokenizer's own tokenizer_config.json and tokenizer.json (save_pretrained writes them) "
            "beside it",
        )
    begin, end = names["cls_token"], names["sep_token"]
    loaded = RobertaTokenizerFast(str(file), str(merges), bos_token=begin, eos_token=end, **names)
    return loaded, [_told(file, names)]


def load_sentencepiece(file: Path, directory: Path) -> Loaded:
    """A SentencePiece model, as transformers' own conversion to a fast tokenizer reads it.

    That conversion asks a slow tokenizer for what the file doesn't say, and a slow tokenizer needs the package
    `sentencepiece`; here the answers come from the configuration beside the file, or from its pieces.

    Args:
        file: The model.
        directory: May hold a `tokenizer_config.json` or `config.json` that names the class.

    Raises:
        ModelError: If the file can't be read, or its pieces are of no family with a mask token.
    """
    import transformers
    from transformers.convert_slow_tokenizer import SLOW_TO_FAST_CONVERTERS, import_protobuf

    model = import_protobuf().ModelProto()
    try:
        model.ParseFromString(file.read_bytes())
    except Exception as error:  # protobuf's errors have no common class over its versions
        raise ModelError(
            "a SentencePiece model must be undamaged",
            received=f"{file}: {error}",
            remedy="copy or download it again",
        ) from error
    pieces = [piece.piece for piece in model.pieces]
    settings = _settings(directory)
    kind = _class_of(file, pieces, settings)
    if kind in ("XLMRoberta", "Camembert"):
        known = {"<s>": 0, "</s>": 2} if kind == "XLMRoberta" else {"<s>": 5, "</s>": 6}
    else:
        known = {piece: number for number, piece in enumerate(pieces)}
    lowercase = bool(settings.get("do_lower_case", kind == "Albert" and _is_lowercase(pieces)))
    answers = SimpleNamespace(
        vocab_file=str(file),
        convert_tokens_to_ids=lambda token: known[token],
        do_lower_case=lowercase,
        keep_accents=bool(settings.get("keep_accents", kind != "Albert" or not lowercase)),
        split_by_punct=bool(settings.get("split_by_punct", False)),
    )
    try:
        backend = SLOW_TO_FAST_CONVERTERS[f"{kind}Tokenizer"](answers).converted()
    except ImportError as error:
        raise ModelError(
            "a SentencePiece model must be a unigram model, or the package sentencepiece must be installed",
            received=f"{file}, a model of another kind",
            remedy="install sentencepiece, or name a folder with a tokenizer.json",
        ) from error
    options = {name: settings[name] for name in ("model_max_length",) if name in settings}
    loaded = getattr(transformers, f"{kind}TokenizerFast")(
        tokenizer_object=backend, do_lower_case=lowercase, keep_accents=answers.keep_accents, **options
    )
    return loaded, [f"{file.name} is read as {kind}'s, with {loaded.mask_token} for the mask"]


def _settings(directory: Path) -> dict[str, Any]:
    """What the files beside a vocabulary say of its tokenizer."""
    settings: dict[str, Any] = {}
    for name in ("config.json", "tokenizer_config.json"):
        if (directory / name).is_file():
            settings |= json.loads((directory / name).read_text("utf-8"))
    return settings


def _class_of(file: Path, pieces: list[str], settings: dict[str, Any]) -> str:
    """The family whose conventions a SentencePiece model follows, by name of its class."""
    named = str(settings.get("tokenizer_class") or settings.get("model_type") or "").lower()
    for kind in ("XLMRoberta", "Camembert", "DebertaV2", "Albert", "RemBert"):
        if named.replace("-", "").replace("_", "").startswith(kind.lower()):
            return kind
    if {"[CLS]", "[SEP]"} <= set(pieces):
        return "Albert" if "[MASK]" in pieces else "DebertaV2"
    if pieces[:3] == ["<unk>", "<s>", "</s>"]:
        return "XLMRoberta"
    raise ModelError(
        "a bare SentencePiece model must have the special tokens of a masked language model: [CLS] and [SEP], or "
        "<unk>, <s> and </s> as its first three",
        received=f"{file}, which begins with {', '.join(pieces[:5])}",
        remedy="put the tokenizer's own tokenizer_config.json beside it, or name another with --tokenizer.pretrained",
    )


def _named(vocabulary: Container[str]) -> dict[str, str]:
    """The special tokens that a vocabulary holds by their usual names; those with brackets first."""
    found = {}
    for role, names in USUAL_NAMES.items():
        there = next((name for name in names if name in vocabulary), None)
        if there is not None:
            found[role] = there
    return found


def _require(file: Path, names: dict[str, str], roles: Iterable[str]) -> None:
    """Refuses a vocabulary without a special token, which the library would silently add beyond the model's ids.

    Raises:
        ModelError: Naming those that are missing.
    """
    missing = [role for role in roles if role not in names]
    if missing:
        raise ModelError(
            "a bare vocabulary must hold its special tokens by their usual names",
            received=f"{file}, which lacks "
            + ", ".join(f"a {role.replace('_', ' ')} ({' or '.join(USUAL_NAMES[role])})" for role in missing),
            remedy="put the tokenizer's own tokenizer_config.json (save_pretrained writes it) beside it, or name "
            "another tokenizer with --tokenizer.pretrained",
        )


def _told(file: Path, names: dict[str, str]) -> str:
    return f"{file.name} alone says no more than its tokens: taken as special are {', '.join(names.values())}"


def _is_lowercase(tokens: Iterable[str]) -> bool:
    """Whether no token has a capital letter, but those in brackets, such as `[unused1]`."""
    return all(token == token.lower() for token in tokens if not token.startswith(("[", "<")))


def _has_accent(character: str) -> bool:
    """Whether a character is a letter together with its accent."""
    return len(character) == 1 and any(map(unicodedata.combining, unicodedata.normalize("NFD", character)[1:]))
