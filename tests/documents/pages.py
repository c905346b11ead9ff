"""The documents, their code blocks and the commands in them."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:<!-- needs: ([^>]*) -->\n+)?^ *```(?:console|bash|sh)?\n(.*?)^ *```", re.M | re.S)
PROGRAM = re.compile(r"(?:\S*/)?(?:python3?|masked-lm-\w+) ")
"""How a command of ours begins, where a block has no prompts."""
ENDS = {"|", "&&", "||", ">", ">>", "<", "2>&1", "2>", "&", ";"}


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of a block that shows a shell.

    Attributes:
        page: The document's name.
        words: Its words, without variables before it and without what a shell does with it.
        needs: What it needs that not everyone has, as the comment above the block says; empty for nothing.
    """

    page: str
    words: tuple[str, ...]
    needs: str

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"

    @property
    def program(self) -> str:
        """What runs: `pipeline`, `serving`, `serving.client`, a script's path, or the program's own name."""
        first = Path(self.words[0]).name
        if first in ("python", "python3") and len(self.words) > 1:
            return self.words[2] if self.words[1] == "-m" else self.words[1]
        return first

    @property
    def arguments(self) -> list[str]:
        """The words behind the program."""
        python = Path(self.words[0]).name in ("python", "python3")
        return list(self.words[(3 if self.words[1] == "-m" else 2) if python else 1 :])


def commands() -> list[Command]:
    """Every command of every document."""
    return [command for path in DOCUMENTS for command in _of_page(path.name, path.read_text("utf-8"))]


def _of_page(page: str, text: str) -> Iterator[Command]:
    for needs, block in BLOCK.findall(text):
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        prompts = any(line.startswith("$ ") for line in lines)  # else all lines are commands, or none: what is printed
        for line in lines:
            if line.startswith("$ ") if prompts else PROGRAM.match(line):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                end = next((place for place, word in enumerate(words) if word in ENDS), len(words))
                if end:
                    yield Command(page, tuple(words[:end]), needs)
