"""URLs of the REST protocol: what a request's method and target ask for."""

import dataclasses
import enum
import re
from urllib.parse import unquote

from serving.server.status import Code, StatusError, invalid

LARGEST_INT64 = 2**63 - 1
# The patterns are matched against the path with its query and fragment, so a query makes a request malformed.
API = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
VERSION_OR_LABEL = r"(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
INFERENCE = re.compile(rf"/v1/models/([^/:]+){VERSION_OR_LABEL}:(classify|regress|predict)", re.IGNORECASE)
INFORMATION = re.compile(rf"/v1/models(?:/([^/:]+))?{VERSION_OR_LABEL}(?:/(metadata))?", re.IGNORECASE)


class Verb(enum.Enum):
    """What is asked of a model."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    STATUS = "status"
    METADATA = "metadata"


@dataclasses.dataclass(frozen=True)
class Target:
    """What a request asks for.

    Attributes:
        verb: What is asked.
        model: The model's name.
        version: The version, or None for the latest.
        label: The version's label, or None.
    """

    verb: Verb
    model: str
    version: int | None = None
    label: str | None = None


def is_api(target: str) -> bool:
    """Whether a request's target is the protocol's to answer."""
    return API.fullmatch(target) is not None


def parse(method: str, target: str) -> Target:
    """Reads what a request asks for.

    Args:
        method: The HTTP method.
        target: Path, query and fragment as they came, not decoded.

    Raises:
        StatusError: INVALID_ARGUMENT for whatever is not a URL of the protocol, a wrong method among it.
    """
    malformed = invalid(f"Malformed request: {method} {target}")
    if method == "POST" and (match := INFERENCE.fullmatch(target)):
        model, version, label, verb = match.groups()
        # The patterns ignore case, but the verb doesn't.
        if verb != verb.lower():
            raise malformed
        return Target(Verb(verb), unquote(model), parse_version(version), unquote(label) if label else None)
    if method == "GET" and (match := INFORMATION.fullmatch(target)):
        model, version, label, metadata = match.groups()
        if not model:
            raise invalid("Missing model name in request.")
        # So it does here: `/METADATA` asks for the status.
        verb = Verb.METADATA if metadata == "metadata" else Verb.STATUS
        return Target(verb, unquote(model), parse_version(version), unquote(label) if label else None)
    raise malformed


def parse_version(text: str | None) -> int | None:
    """A version number of a URL; one over 64 bits is refused without a message, as TensorFlow Serving does."""
    if text is None:
        return None
    # Python refuses to read integers of thousands of digits: compare the length first.
    digits = text.lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > LARGEST_INT64:
        raise StatusError(Code.INVALID_ARGUMENT, "")
    return int(digits)
