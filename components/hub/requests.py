"""Requests to the Hub that change something: which are tried again, and what a refusal means to the user."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from foundation.command_text import installed
from foundation.errors import HubError
from foundation.terminal.library_bars import bars_are_counted

Result = TypeVar("Result")

ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
TRANSIENT_STATUS = frozenset({408, 409, 412, 425, 429, 500, 502, 503, 504})
"""Statuses after which another try may succeed; 409 and 412 mean that there was another commit at the same time."""


def retry(
    request: Callable[[], Result],
    *,
    attempts: int = ATTEMPTS,
    first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    show: Callable[[str], None] = lambda line: None,
) -> Result:
    """Does a request to the Hub, again and again while the Hub is out of reach, busy or failing, with growing pauses.

    A pause is twice as long as the one before, up to a minute, or as long as the Hub asks for in `Retry-After`.

    Args:
        request: Does the request. It is called anew for each try, so that it looks anew at what the Hub holds.
        attempts: The number of tries, at most.
        first_pause_seconds: The pause after the first try that failed, in seconds.
        show: Called with a line about each try that failed.

    Returns:
        What `request` returns.

    Raises:
        Exception: What the last try raised, or the first error that another try wouldn't mend.
    """
    for attempt in range(1, attempts + 1):
        try:
            return request()
        except Exception as error:
            if attempt == attempts or not is_transient(error):
                raise
            pause = min(LONGEST_PAUSE_SECONDS, first_pause_seconds * 2 ** (attempt - 1))
            pause = max(pause, _asked_pause(error))
            show(f"{reason_of(error)}; trying again in {pause:.0f} s ({attempt} of {attempts})")
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: no connection, a connection that broke, a busy or failing server."""
    import requests

    status = status_of(error)
    if status is not None:
        return status in TRANSIENT_STATUS
    # A ConnectionError may be wrapped; SSLError and ProxyError are kinds of it that stay as they are.
    kinds = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return any(
        isinstance(cause, kinds) and not isinstance(cause, requests.exceptions.SSLError) for cause in causes_of(error)
    )


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error, or what caused it, carries; None where the Hub didn't answer."""
    for cause in causes_of(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            return int(status)
    return None


def reason_of(error: BaseException) -> str:
    """Why a request failed, in a few words. Never the library's own text, which may quote a request."""
    status = status_of(error)
    return "the Hub can't be reached" if status is None else f"the Hub answered {status}"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and everything that caused it, from the outside in."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _asked_pause(error: BaseException) -> float:
    """The seconds that the Hub asks to wait, at most a minute; 0 if it doesn't ask."""
    for cause in causes_of(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or {}
        with contextlib.suppress(ValueError):
            return min(LONGEST_PAUSE_SECONDS, float(headers.get("Retry-After", "0")))
    return 0.0


@contextlib.contextmanager
def quiet_client(progress_bars: bool) -> Iterator[None]:
    """Keeps the Hub's client from writing to the terminal: its warnings quote URLs that are signed for one upload.

    Args:
        progress_bars: Whether its progress may show: as bars on a terminal, or in the terminal's own line.
    """
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    verbosity = logging.get_verbosity()
    shown = progress_bars and (sys.stderr.isatty() or bars_are_counted())
    hide = not shown and not are_progress_bars_disabled()
    logging.set_verbosity_error()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if hide:
            enable_progress_bars()


@contextlib.contextmanager
def push_errors(repo_id: str) -> Iterator[None]:
    """Turns what the Hub's client raises into a `HubError` that names the token or permission that is missing.

    The library's errors are not kept as the cause: their texts may quote a request.
    """
    import requests
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        refusal = HubError(
            "a push must reach the Hub, which HF_HUB_OFFLINE forbids",
            received=f"model {repo_id!r} with HF_HUB_OFFLINE set",
            remedy="unset HF_HUB_OFFLINE, or leave out --push.hub_model_id",
        )
    except (requests.RequestException, RuntimeError, ValueError, OSError) as error:
        refusal = _refusal(repo_id, error)
    else:
        return
    raise refusal from None


def _refusal(repo_id: str, error: Exception) -> HubError:
    from huggingface_hub import errors

    status = status_of(error)
    received = f"{reason_of(error)} for model {repo_id!r}"
    if status == 401 and not any(isinstance(cause, errors.RepositoryNotFoundError) for cause in causes_of(error)):
        return HubError(
            "the Hub must know the token of a push",
            received=f"{received}: the token is unknown, expired or revoked",
            remedy=f"set HF_TOKEN to a token with write permission, or log in again with {installed('hf')} auth login",
        )
    if status == 403:
        return HubError(
            "the token of a push must have write permission on the repository's namespace",
            received=f"{received}: write permission is missing",
            remedy="make a token with the role write (or, fine-grained, with write access to this namespace), and set "
            "HF_TOKEN to it; or choose another --push.hub_model_id",
        )
    if status in (401, 404):
        return HubError(
            "the repository of a push must exist or be one that can be made, and be open to the token's account",
            received=f"{received}: there is none, or the token doesn't see it",
            remedy="correct --push.hub_model_id, or use a token of its owner",
        )
    if status == 400:
        reasons = [text for cause in causes_of(error) if (text := getattr(cause, "server_message", None))]
        message = " ".join(str(reasons[0] if reasons else "it gave no reason").split())
        return HubError("the Hub must take the commit", received=f"{received}: {message}", remedy="mend what it names")
    return HubError(
        f"the Hub must take an upload within {ATTEMPTS} tries",
        received=received,
        remedy="run the same command again: what was uploaded already is not sent again",
    )
