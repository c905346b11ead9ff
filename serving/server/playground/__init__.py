"""A page to try a served model on, without a build step and without requests to anywhere else."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.server.rest.service import Answer

HEADERS = {
    # Only its own files; but it may ask any server, since that is what it is for.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_DIRECTORY = Path(__file__).parent
_MODELS = '<meta name="models" content="[]">'


class Playground:
    """The page's files as answers.

    Args:
        models: The served models by name, the first of which the page starts with; may change later.
    """

    def __init__(self, models: Mapping[str, Any]) -> None:
        self._models = models
        self._page = (_DIRECTORY / "index.html").read_text("utf-8")
        self._answers = {
            "/style.css": Answer(200, (_DIRECTORY / "style.css").read_bytes(), "text/css; charset=utf-8"),
            "/script.js": Answer(200, (_DIRECTORY / "script.js").read_bytes(), "text/javascript; charset=utf-8"),
        }

    def answer(self, method: str, target: str) -> Answer | None:
        """One of the page's files, or None for what is not the playground's to answer."""
        if method not in ("GET", "HEAD"):
            return None
        return self._start() if target == "/" else self._answers.get(target)

    def _start(self) -> Answer:
        """The page itself, which knows the models of this moment, their labels and a text to try each on."""
        models = [
            {"name": name, "example": model.example, "labels": dict(model.config.labels)}
            for name, model in self._models.items()
        ]
        filled = f'<meta name="models" content="{html.escape(json.dumps(models))}">'
        return Answer(200, self._page.replace(_MODELS, filled).encode(), "text/html; charset=utf-8")
