"""The settings of the validation: what is asked, of which server, and how near its answers must come."""

import dataclasses
import re

from foundation.errors import ConfigError
from foundation.longest_wait import require_short_enough

OWN_TOLERANCE, OTHERS_TOLERANCE = 1e-4, 0.05
MODEL_URL = re.compile(r"(https?://[^/\s]+)/v1/models/([^/:\s]+)/?")


@dataclasses.dataclass(frozen=True)
class ValidateParams:
    """How the served model is compared with the checkpoint.

    Attributes:
        texts: The texts to ask, beside `export.example`; `<mask>` stands for the tokenizer's own mask token. null for
            sentences of the test split, and for texts without a mask, with several, and with nothing but one.
        tolerance: The largest relative difference of a served score from the checkpoint's; null for 1e-4 of a server
            that is started here, on the CPU, and 0.05 of the one at `url`, whose GPU may multiply in TF32, which has
            10 binary digits. (The quickstart's scores differ by up to 0.003 in TF32.)
        timeout_seconds: How long the server may take to load the model, and then to answer a request.
        url: Asks, over REST, a TensorFlow Serving that serves the exported directory already, such as
            `http://HOST:PORT/v1/models/NAME`. By default a server is started for this step.
    """

    texts: tuple[str, ...] | None = None
    tolerance: float | None = None
    timeout_seconds: float = 300.0
    url: str | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ConfigError(
                "validate.tolerance must be over 0 and under 1",
                received=str(self.tolerance),
                remedy="leave out --validate.tolerance, or try 1e-4",
            )
        if not 0 < self.timeout_seconds < float("inf"):
            raise ConfigError(
                "validate.timeout_seconds must be over 0",
                received=str(self.timeout_seconds),
                remedy="leave out --validate.timeout_seconds, or try 300",
            )
        require_short_enough("validate.timeout_seconds", self.timeout_seconds)
        if self.url is not None and not MODEL_URL.fullmatch(self.url):
            raise ConfigError(
                "validate.url must be a model's URL for REST, http://HOST:PORT/v1/models/NAME",
                received=repr(self.url),
                remedy="write --validate.url like http://127.0.0.1:8501/v1/models/fill_mask, or leave it out",
            )

    @property
    def allowed(self) -> float:
        """The tolerance, chosen by the server where none is given."""
        if self.tolerance is not None:
            return self.tolerance
        return OWN_TOLERANCE if self.url is None else OTHERS_TOLERANCE
