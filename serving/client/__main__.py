"""`python -m serving.client "The answer is <mask>." --top-k 3`: asks a served model on the command line."""

if __name__ == "__main__":
    # There is nothing to close, and the imports below take a moment, in which a signal would end in a traceback.
    from foundation.termination import TERMINATION

    TERMINATION.end_at_once("interrupted")

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from foundation.errors import PipelineError
from foundation.option_parser import OptionParser
from foundation.terminal import TERMINAL, is_utf8
from serving.client.fill_mask_client import MODEL, URL, FillMaskClient
from serving.client.fill_mask_requests import TruncationWarning
from serving.client.target_words import TargetWarning


def to_json(value: Any, indent: str = "", *, ascii_only: bool = False) -> str:
    """An answer as JSON, one candidate a line."""
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=ascii_only)
    inner = f",\n{indent}  ".join(to_json(item, f"{indent}  ", ascii_only=ascii_only) for item in value)
    return f"[\n{indent}  {inner}\n{indent}]"


def make_parser() -> OptionParser:
    """The command line."""
    parser = OptionParser(
        prog="python -m serving.client", description="Asks a served model what stands where a text has its mask token."
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text with the model's mask token, such as <mask>")
    parser.add_argument("--top-k", type=int, help="candidates a mask (default: as the model was exported)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="WORD",
        help="choose among these words only (repeatable); a word within a sentence may need its space, as in ' blue'",
    )
    parser.add_argument("--url", default=URL, help="the server; grpc://HOST:PORT for gRPC (default: %(default)s)")
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificates to trust an https:// or grpcs:// server by (default: the system's)",
    )
    parser.add_argument("--model", default=MODEL, help="the model's name there (default: %(default)s)")
    parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="tokenize here, for models that take token ids")
    parser.add_argument(
        "--timeout-seconds", type=float, default=30.0, help="how long one request may take (default: %(default)s)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Prints the answer as JSON.

    Returns:
        The exit code: 0, 2 for bad usage, 1 if the server doesn't answer.
    """
    try:
        options = make_parser().parse_args(arguments)
        with (
            warnings.catch_warnings(record=True) as noted,
            FillMaskClient(
                options.url,
                options.model,
                timeout_seconds=options.timeout_seconds,
                tokenizer=options.tokenizer,
                ca_file=options.ca_file,
            ) as client,
        ):
            warnings.simplefilter("always", TargetWarning)
            warnings.simplefilter("always", TruncationWarning)
            answer = client.fill_mask(options.texts, top_k=options.top_k, targets=options.target)
    except PipelineError as error:
        TERMINAL.error("error", error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    for warning in noted:
        TERMINAL.tell(f"warning: {warning.message}")
    TERMINAL.line(to_json(answer, ascii_only=not is_utf8(sys.stdout)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
