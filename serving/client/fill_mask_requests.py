"""The requests that a client sends to a served masked language model, and how it reads the answers.

They are coroutines, written once for the client that blocks and for the one with an event loop: see `waiting`.
"""

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import ConfigError, ServingError
from foundation.longest_wait import require_short_enough
from foundation.text_answers import (
    INVALID_TOP_K,
    MASK_TOKENS,
    NO_MASK,
    NO_TARGET,
    OK,
    TOO_MANY_TOKENS,
    tokens_kept,
    tokens_without_mask,
)
from serving.client import target_words, transport_errors
from serving.client.answers import Answer, Transport, no_mask, read_answer, shorten
from serving.client.arguments import check_arguments
from serving.client.certificates import read_authorities
from serving.client.target_words import TargetWarning

TARGETS_CHECKED = 100
"""The most new targets of a call that are checked: each costs a row in two further requests."""


class TruncationWarning(UserWarning):
    """A text had more tokens than the model takes, and only those that it was cut to were considered."""


class FillMaskRequests:
    """Asks a served model what transformers' fill-mask pipeline is asked.

    Args:
        url: The server's, embedded or TensorFlow Serving: `http://HOST:PORT`, or `grpc://HOST:PORT` for gRPC; encrypted
            as `https://` or `grpcs://`.
        model: The model's name there.
        timeout_seconds: How long one request may take.
        retries: How often a request is repeated, after growing pauses, when the server is overloaded, or while there is
            time left, when it cancels the request, which another client's call in the same batch may cause.
        texts_per_request: The most texts of a request; a longer list is sent in several. A server that batches refuses
            more than its batch size.
        tokenizer: The directory of the model's tokenizer, for a model exported without one in its graph. The text
            is then tokenized here, by transformers.
        ca_file: Certificates in PEM, one of which must have signed that of an `https://` or `grpcs://` server; None for
            those that the system trusts.
        is_async: Whether the coroutines wait in an event loop; if not, `serving.client.waiting.run_at_once` runs them.

    Raises:
        ConfigError: If the URL or an option is impossible.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8501",
        model: str = "fill_mask",
        *,
        timeout_seconds: float = 30.0,
        retries: int = 4,
        texts_per_request: int = 32,
        tokenizer: str | Path | None = None,
        ca_file: str | Path | None = None,
        is_async: bool = False,
    ) -> None:
        for name, value, least in (
            ("timeout_seconds", timeout_seconds, 0.001),
            ("retries", retries, 0),
            ("texts_per_request", texts_per_request, 1),
        ):
            if not value >= least:
                raise ConfigError(
                    f"{name} must be at least {least}", received=str(value), remedy=f"give a larger {name}"
                )
        require_short_enough("timeout_seconds", timeout_seconds)
        self.texts_per_request = texts_per_request
        self._transport = connect(url, model, timeout_seconds, retries, is_async, read_authorities(ca_file))
        self._known_targets: set[str] = set()
        self._tokenizer = None
        if tokenizer is not None:
            from serving.client.client_tokenizer import ClientTokenizer

            self._tokenizer = ClientTokenizer(tokenizer)

    async def fill_mask(
        self, texts: str | Sequence[str], *, top_k: int | None = None, targets: Sequence[str] | None = None
    ) -> Answer | list[Answer]:
        """The best candidates for every mask of every text.

        Args:
            texts: One text or several, each with the model's mask token in it, once or more.
            top_k: Candidates a mask; None for as many as the model was exported with.
            targets: Words to choose from; None for the whole vocabulary.

        Returns:
            What the pipeline returns: for one text its answer, for several a list of theirs; for a list of
            one text, as the pipeline does, that text's answer.

        Warns:
            TargetWarning: Once for each target that is no single token of the model. A call checks at most the first
                hundred targets that no earlier call has checked.

            TruncationWarning: Once for each text that the model cut before it answered, if it was exported so.

        Raises:
            ConfigError: If an argument has an impossible type or value.
            ServingError: If the server is out of reach or refuses, or a text can't be answered.
        """
        listed = check_arguments(texts, top_k, targets)
        answers: list[Answer] = []
        for start in range(0, len(listed), self.texts_per_request):
            part = listed[start : start + self.texts_per_request]
            if self._tokenizer is None:
                answers += await self._ask_with_text(part, start, top_k, targets)
            else:
                answers += await self._tokenizer.ask(self._transport, part, start, top_k, targets)
        if targets is not None and listed:
            await self._warn_of(targets, listed[0])
        return answers[0] if len(answers) == 1 else answers

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    async def _ask_with_text(
        self, texts: list[str], first: int, top_k: int | None, targets: Sequence[str] | None
    ) -> list[Answer]:
        """Asks the signatures that take text."""
        signature, inputs = "serving_default", {"text": texts}
        if top_k is not None or targets is not None:
            signature = "fill_mask"
            inputs["top_k"] = [5 if top_k is None else top_k] * len(texts)  # type: ignore[list-item]
            inputs["targets"] = ["\n".join(targets or ())] * len(texts)
        try:
            outputs = await self._transport.predict(signature, inputs)
        except transport_errors.RefusedError as error:
            if await self._takes_text():
                raise
            raise ServingError(
                "a model that is asked with text must have its tokenizer in the graph",
                received="one exported with signatures for token ids only",
                remedy="give the directory of its tokenizer with --tokenizer (in the exported model it is "
                "assets.extra/tokenizer)",
            ) from error
        for index, status in enumerate(outputs["status"]):
            if (kept := tokens_kept(status)) is not None:
                remark = f"text {first + index + 1} was cut to {kept} of its {outputs['num_tokens'][index]} tokens"
                warnings.warn(f"{remark}: {shorten(texts[index])}", TruncationWarning, stacklevel=2)
            elif status != OK:
                raise await self._unanswered(status, texts[index], first + index, top_k, outputs["num_tokens"][index])
        return [read_answer(outputs, row) for row in range(len(texts))]

    async def _warn_of(self, targets: Sequence[str], text: str) -> None:
        """Warns of targets in whose place the model scores another text.

        Args:
            targets: The words that the user gave.
            text: One that the model answered.
        """
        new = [word for word in dict.fromkeys(targets) if word not in self._known_targets][:TARGETS_CHECKED]
        if not new:
            return
        # The answers have come already: a server that fails now only leaves the warnings out.
        with contextlib.suppress(ServingError):
            for remark in await target_words.remarks(self._transport, new, text, self.texts_per_request):
                warnings.warn(remark, TargetWarning, stacklevel=2)
            self._known_targets.update(new)

    async def _takes_text(self) -> bool:
        """Whether the model has its tokenizer in the graph; True where the server doesn't say."""
        try:
            return "fill_mask" in await self._transport.signature_names()
        except ServingError:
            return True

    async def _unanswered(self, status: str, text: str, index: int, top_k: int | None, tokens: int) -> ServingError:
        """The error of a text that the model can't answer."""
        shown = f"text {index + 1}: {shorten(text)}"
        if status == NO_MASK:
            known = (await self._transport.predict("serving_default", {"text": list(MASK_TOKENS)}))["status"]
            tokens_known = [token for token, one in zip(MASK_TOKENS, known, strict=True) if one == OK]
            return no_mask(shown, tokens_known[0] if tokens_known else None)
        if status == TOO_MANY_TOKENS:
            return ServingError(
                "a text must have at most as many tokens as the model takes",
                received=f"{tokens} tokens in {shown}",
                remedy="shorten it, keeping what stands around the mask",
            )
        if (kept := tokens_without_mask(status)) is not None:
            return ServingError(
                f"a text must have a mask within the {kept} tokens that the model cuts it to",
                received=f"{tokens} tokens, all masks among those cut off, in {shown}",
                remedy="shorten it, keeping what stands around the mask",
            )
        if status == INVALID_TOP_K:
            return ServingError(
                "top_k must be at least 1 and at most what the model was exported for",
                received=str(top_k),
                remedy="ask for fewer candidates, or export with a larger --export.max_top_k",
            )
        if status == NO_TARGET:
            return ServingError(
                "at least one target must have a token in the model's vocabulary",
                received=f"none for {shown}",
                remedy="give other targets",
            )
        return ServingError(
            "the model must answer a text, or say why not in a way that this client knows",
            received=f"{status} for {shown}",
            remedy="update this client",
        )


def connect(
    url: str, model: str, timeout_seconds: float, retries: int, is_async: bool, authorities: bytes | None = None
) -> Transport:
    """The transport for a URL: gRPC for `grpc://` and `grpcs://`, else REST.

    Raises:
        ConfigError: If the URL is malformed.
    """
    if url.startswith(("grpc://", "grpcs://")):
        from serving.client.grpc_transport import GrpcTransport

        return GrpcTransport(url, model, timeout_seconds, retries, is_async, authorities)
    from serving.client.rest_transport import RestTransport

    return RestTransport(url, model, timeout_seconds, retries, is_async, authorities)
