"""The settings of an export."""

import dataclasses
from typing import TYPE_CHECKING, Literal

from components.contract.mask_placeholder import MASK
from foundation.errors import ConfigError

if TYPE_CHECKING:
    from serving.graph.batching import InGraphBatching


@dataclasses.dataclass(frozen=True)
class ExportParams:
    """What the exported model answers.

    Attributes:
        top_k: Candidates a mask, unless a request says how many.
        max_top_k: The most candidates a mask that a request may ask for.
        example: A text to try the model on, with `<mask>` where a word is to be filled in, whatever the tokenizer's
            mask token is. It stands beside the model wherever that goes; null for a sentence of the test split, which
            the Hub isn't shown unless `push.corpus_text` allows it.
        truncation: Whether a text with more tokens than the model takes is cut to them, as the tokenizer's own
            `truncation=True` does, and answered with a `status` that says so. By default it isn't answered.
        in_graph_batching: Whether the graph itself joins the requests of many clients, whatever their lengths, so that
            a server needs no batching of its own. A request whose deadline passes can fail those that share its batch:
            set it to false where gRPC clients have deadlines that differ and are shorter than answers may take.
        max_batch_size: With in_graph_batching: the most rows that go through the model at once.
        num_batch_threads: How many batches of a signature run at once.
        batch_timeout_micros: How long a batch waits for more requests while a thread is free, in microseconds.
        precision: What the exported model computes in. float32 answers what transformers' fill-mask pipeline does.
            bfloat16 stores every matrix once as bfloat16, which halves the files and a server's memory, and on
            processors with instructions for it answers in about half the time; scores then differ in their third
            digit, and the report says what that costs. auto is bfloat16 where this machine has hardware for it and
            max_loss_increase holds, else float32; set it yourself where another machine is to serve.
        max_loss_increase: By how much a form that doesn't compute in float32 may be worse than the checkpoint on the
            first of the evaluation's masks, in nats a masked token; the export fails where it is worse.
        quantize: With int8, `model.tflite` lies beside the SavedModel: the model in eight-bit integers, which takes
            token ids and answers several times as fast on a CPU. TensorFlow Serving loads it in the SavedModel's place
            under `--prefer_tflite_model`.
    """

    top_k: int = 5
    max_top_k: int = 100
    example: str | None = None
    truncation: bool = False
    in_graph_batching: bool = True
    max_batch_size: int = 64
    num_batch_threads: int = 2
    batch_timeout_micros: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    max_loss_increase: float = 0.01
    quantize: Literal["none", "int8"] = "none"

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.max_top_k:
            raise ConfigError(
                "export.top_k must be a whole number from 1 to export.max_top_k",
                received=f"top_k {self.top_k}, max_top_k {self.max_top_k}",
                remedy="correct --export.top_k or --export.max_top_k",
            )
        if self.example is not None and MASK not in self.example:
            raise ConfigError(
                f"export.example must have {MASK} where a word is to be filled in",
                received=repr(self.example),
                remedy=f"put {MASK} into --export.example",
            )
        if not 0 <= self.max_loss_increase < float("inf"):
            raise ConfigError(
                "export.max_loss_increase must be 0 or more nats a masked token",
                received=str(self.max_loss_increase),
                remedy="leave out --export.max_loss_increase, or try 0.01",
            )
        for name, least, most in (
            ("max_batch_size", 1, 1024),
            ("num_batch_threads", 1, 64),
            ("batch_timeout_micros", 0, 1_000_000),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    f"export.{name} must be a whole number from {least:,} to {most:,}",
                    received=str(getattr(self, name)),
                    remedy=f"correct --export.{name}, or leave it out",
                )

    @property
    def is_rounded(self) -> bool:
        """Whether the model is, or may be, written in fewer digits than it was trained in."""
        return self.precision != "float32" or self.quantize != "none"

    @property
    def batching(self) -> "InGraphBatching | None":
        """How the graph batches requests; None where it doesn't."""
        from serving.graph.batching import InGraphBatching

        if not self.in_graph_batching:
            return None
        return InGraphBatching(self.max_batch_size, self.num_batch_threads, self.batch_timeout_micros)
