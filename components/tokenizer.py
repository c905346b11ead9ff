"""Provides a fast tokenizer with a mask token: a pretrained one, or a byte-level BPE trained on the corpus."""

import dataclasses
import functools
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from components.contract import reports
from components.contract.artifacts import REPORT, Corpus, Tokenizer
from components.contract.component import Component
from foundation.errors import ConfigError, HubError, ModelError

if TYPE_CHECKING:
    import pyarrow
    from transformers import PreTrainedTokenizerFast

    from components.blocks.text_column import TextReader

SPECIAL_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
"""RoBERTa's special tokens in the order of their ids, 0 to 4 (RoBERTa itself has `<mask>` last)."""
SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS)
LARGEST = 2**24
"""The largest value of every number here: far more than is useful, and still within what the library takes."""
CHARACTERS_A_BATCH = 1 << 20
CHARACTERS_A_PIECE = 1 << 16
"""The text that training takes at once. A longer one is cut between words, which are all that training counts."""


@dataclasses.dataclass(frozen=True)
class TokenizerParams:
    """Which tokenizer to use: `pretrained` where it is given, otherwise one trained on the train split.

    Attributes:
        pretrained: Hub name or local folder of a tokenizer; without it, a byte-level BPE is trained.
        revision: Branch, tag or commit of a pretrained tokenizer on the Hub.
        vocab_size: Number of tokens of a trained tokenizer, special tokens included; at least 261.
        min_frequency: How often a pair must occur for training to merge it.
        model_max_length: The longest sequence that a trained tokenizer declares, in tokens.
        streaming_characters: Where ingest.streaming is set, the characters that a tokenizer is trained on: the first of
            each file of the train split, evenly.
    """

    pretrained: str | None = None
    revision: str | None = None
    vocab_size: int = 8192
    min_frequency: int = 2
    model_max_length: int = 512
    streaming_characters: int = 100_000_000

    def __post_init__(self) -> None:
        if self.pretrained is not None and not self.pretrained.strip():
            raise ConfigError(
                "tokenizer.pretrained must be a Hub name or a local folder",
                received=repr(self.pretrained),
                remedy="set --tokenizer.pretrained, for example to distilbert/distilroberta-base, or leave it out",
            )
        if self.revision is not None and self.pretrained is None:
            raise ConfigError(
                "tokenizer.revision must be given only with a pretrained tokenizer",
                received=f"{self.revision!r} without tokenizer.pretrained",
                remedy="set --tokenizer.pretrained too, or leave --tokenizer.revision out",
            )
        for name, smallest in (("vocab_size", SMALLEST_VOCABULARY), ("min_frequency", 1), ("model_max_length", 8)):
            if not smallest <= getattr(self, name) <= LARGEST:
                raise ConfigError(
                    f"tokenizer.{name} must be at least {smallest}, and at most {LARGEST:,}",
                    received=str(getattr(self, name)),
                    remedy=f"correct --tokenizer.{name}",
                )
        if self.streaming_characters < 1:
            raise ConfigError(
                "tokenizer.streaming_characters must be at least 1",
                received=str(self.streaming_characters),
                remedy="give e.g. --tokenizer.streaming_characters 100000000",
            )


@dataclasses.dataclass(frozen=True)
class PrepareTokenizer(Component[Tokenizer]):
    """Loads a pretrained tokenizer, or trains a byte-level BPE with RoBERTa's special tokens on the train split.

    Byte-level BPE: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"; the special
    tokens and their template: Liu et al. 2019, RoBERTa (https://arxiv.org/abs/1907.11692).
    """

    name: ClassVar[str] = "tokenizer"
    version: ClassVar[str] = "1"
    output: ClassVar[type[Tokenizer]] = Tokenizer

    corpus: Corpus
    text_column: str
    """The column to train on, read as the preprocess step reads it. A pretrained tokenizer reads no corpus."""
    params: TokenizerParams

    def sources(self) -> Mapping[str, str]:
        """A local tokenizer's files by digest, or the commit of one on the Hub."""
        if self.params.pretrained is None:
            return {}
        if self._is_local:
            from components.hub.reading import source_digests

            return source_digests(Path(self.params.pretrained))
        return {f"hub:{self.params.pretrained}": self._commit}

    def preflight(self) -> None:
        """Refuses a pretrained tokenizer that doesn't exist."""
        self.sources()

    def run(self, out: Path) -> None:
        """Writes the tokenizer and its report."""
        reader = None
        column = None
        if self.params.pretrained is None:
            tokenizer, reader = train(self.corpus, self.text_column, self.params)
            if reader.column not in (self.text_column, self.text_column.removesuffix("?")):
                column = reader.column
            kind, origin = "byte-level BPE", "trained on the train split" + (f"'s {column}" if column else "")
            if self.corpus.is_streamed:
                origin += f", {reader.records:,} records at the beginnings of its files"
        elif self._is_local:
            tokenizer = load_local(Path(self.params.pretrained))
            kind, origin = type(tokenizer).__name__, f"from the folder {Path(self.params.pretrained).name}"
        else:
            tokenizer = load_from_hub(self.params.pretrained, self._commit)
            kind, origin = type(tokenizer).__name__, f"from {self.params.pretrained} at {self._commit}"
        refuse_unmaskable(tokenizer, origin)
        tokenizer.save_pretrained(out / "tokenizer")
        special_tokens = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
        reports.write(
            out / REPORT,
            reports.TokenizerReport(
                kind=kind,
                origin=origin,
                vocab_size=len(tokenizer),
                special_tokens=special_tokens,
                model_max_length=tokenizer.model_max_length,
                training_records=None if reader is None else reader.records,
                training_records_skipped=None if reader is None else reports.RecordsWithoutText(**reader.skipped),
                text_column=column,
                summary=f"{kind}, {len(tokenizer):,} tokens, {origin}",
            ),
        )

    @property
    def _is_local(self) -> bool:
        return self.params.pretrained is not None and Path(self.params.pretrained).is_dir()

    @functools.cached_property
    def _commit(self) -> str:
        """The commit on the Hub, looked up once, so that the commit in the key is the one that is loaded."""
        from components.hub.reading import resolve_revision

        return resolve_revision(str(self.params.pretrained), "model", self.params.revision)


def train(corpus: Corpus, text_column: str, params: TokenizerParams) -> tuple["PreTrainedTokenizerFast", "TextReader"]:
    """A byte-level BPE trained on the train split: equal text and params give equal files.

    Returns:
        The tokenizer, and what has read the text, which knows the column and counts the records.

    Raises:
        DataError: If the split has no text.
    """
    from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers
    from tokenizers import Tokenizer as RustTokenizer
    from transformers import RobertaTokenizerFast

    from components.blocks.cutting import Cutter
    from components.blocks.text_column import TextReader, refuse_no_text

    backend = RustTokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        # As in RoBERTa, `<mask>` includes the blank before it: "a <mask>" is `a` and `<mask>`, with nothing between.
        special_tokens=[
            AddedToken(token, lstrip=name == "mask_token", normalized=False, special=True)
            for name, token in SPECIAL_TOKENS.items()
        ],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),  # every byte has a token, so that none is unknown
        show_progress=False,
    )
    reader = TextReader(corpus, "train", text_column, beginnings(corpus, text_column, params.streaming_characters))
    cutter = Cutter(RustTokenizer.from_str(backend.to_str()), within_words=False)  # training locks `backend` itself
    pieces = (
        [piece for text in texts for piece in cutter.pieces(text, CHARACTERS_A_PIECE)]
        for texts in reader.batches(CHARACTERS_A_BATCH)
    )
    backend.train_from_iterator(pieces, trainer)
    refuse_no_text("train", reader.column, reader.records, reader.skipped)
    backend.post_processor = processors.RobertaProcessing(
        sep=("</s>", backend.token_to_id("</s>")),
        cls=("<s>", backend.token_to_id("<s>")),
        trim_offsets=True,
        add_prefix_space=False,
    )
    tokenizer = RobertaTokenizerFast(
        tokenizer_object=backend,
        model_max_length=params.model_max_length,
        **{name: token for name, token in SPECIAL_TOKENS.items() if name != "mask_token"},
        mask_token=AddedToken("<mask>", lstrip=True, normalized=False, special=True),
        cls_token="<s>",
        sep_token="</s>",
    )
    return tokenizer, reader


def beginnings(corpus: Corpus, text_column: str, characters: int) -> "Iterator[pyarrow.RecordBatch] | None":
    """The records of a stream that a tokenizer is trained on; None where the corpus keeps its train split.

    Raises:
        DataError: If there is no such column.
    """
    from components.blocks.text_column import choose_column, resolve_columns
    from components.sources.streaming import Stream

    if not corpus.is_streamed:
        return None
    schema = corpus.columns().data.schema
    paths = resolve_columns(schema, choose_column(corpus, text_column))
    return Stream(corpus.stream, schema, paths).beginnings(characters)


def load_local(directory: Path) -> "PreTrainedTokenizerFast":
    """Loads a tokenizer from a folder that `save_pretrained` wrote, or that has only RoBERTa's vocabulary and merges.

    Raises:
        ModelError: If the folder holds no tokenizer that loads.
    """
    from transformers import AutoTokenizer, RobertaTokenizerFast

    from components.modeling.own_tokenizer import has_vocabulary

    described = any((directory / name).is_file() for name in ("tokenizer_config.json", "config.json"))
    bare = all((directory / name).is_file() for name in ("vocab.json", "merges.txt"))
    loader = RobertaTokenizerFast if bare and not described else AutoTokenizer
    arguments = {} if loader is RobertaTokenizerFast else {"use_fast": True, "trust_remote_code": False}
    try:
        tokenizer = loader.from_pretrained(str(directory), local_files_only=True, **arguments)
    except Exception as error:  # the Rust library raises bare Exception for a damaged tokenizer.json
        raise ModelError(
            "a local tokenizer must be a folder that save_pretrained wrote, or one with vocab.json and merges.txt",
            received=f"{directory}: {first_line(error) if has_vocabulary(directory) else 'it holds no vocabulary'}",
            remedy="name such a folder, or a tokenizer on the Hub, with --tokenizer.pretrained",
        ) from error
    if loader is RobertaTokenizerFast:
        refuse_foreign_vocabulary(tokenizer, directory)
    return tokenizer


def load_from_hub(name: str, commit: str) -> "PreTrainedTokenizerFast":
    """Loads a tokenizer from the Hub, at an exact commit.

    Raises:
        HubError: If the Hub is out of reach, or has no such files.
        ModelError: If its files don't load as a tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, revision=commit, use_fast=True, trust_remote_code=False)
    except OSError as error:
        raise HubError(
            "a pretrained tokenizer must be a local folder or a repository that the Hugging Face Hub gives out",
            received=f"{name!r} at {commit}: {first_line(error)}",
            remedy="check --tokenizer.pretrained and the network, or name a local folder",
        ) from error
    except Exception as error:  # as in load_local
        raise ModelError(
            "a pretrained tokenizer must load with AutoTokenizer, without code of its own",
            received=f"{name!r} at {commit}: {first_line(error)}",
            remedy="choose another tokenizer with --tokenizer.pretrained",
        ) from error


def refuse_unmaskable(tokenizer: "PreTrainedTokenizerFast", origin: str) -> None:
    """Refuses a tokenizer that is no use for masked language modeling here.

    Raises:
        ModelError: If it has no fast version or no mask token.
    """
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer must have a fast version (a tokenizer.json)",
            received=f"{type(tokenizer).__name__} {origin}, which has none",
            remedy="choose another tokenizer with --tokenizer.pretrained, for example distilbert/distilroberta-base",
        )
    if tokenizer.mask_token is None:
        raise ModelError(
            "the tokenizer must have a mask token",
            received=f"{type(tokenizer).__name__} {origin}, which has none "
            f"(its special tokens: {', '.join(tokenizer.all_special_tokens) or 'none'})",
            remedy="choose the tokenizer of a masked language model with --tokenizer.pretrained, for example "
            "distilbert/distilroberta-base",
        )


def refuse_foreign_vocabulary(tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """Refuses a vocabulary without RoBERTa's special tokens, which the library would silently add.

    Raises:
        ModelError: If a special token is missing.
    """
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
    missing = [token for token in SPECIAL_TOKENS.values() if token not in vocabulary]
    if missing:
        raise ModelError(
            "a folder of only vocab.json and merges.txt must hold RoBERTa's vocabulary, with its special tokens",
            received=f"{directory}, whose vocabulary lacks {', '.join(missing)}",
            remedy="add the tokenizer's own tokenizer_config.json (save_pretrained writes it), or name another "
            "tokenizer with --tokenizer.pretrained",
        )


def first_line(error: Exception) -> str:
    """The start of an exception's text, short enough for a message: the library may list every model it knows."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return textwrap.shorten(line, 160, placeholder=" …")
