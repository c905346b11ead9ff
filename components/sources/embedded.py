"""The embedded corpus `python-docs`: English prose that every CPython carries, shaped as ELI5 records.

A record is a docstring of the standard library or a section of `pydoc_data.topics`: the question is its subject, its
paragraphs are the answers. The modules are parsed and never imported, so that none of their code runs.
"""

import ast
import dataclasses
import functools
import hashlib
import os
import platform
import re
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.sources import Loaded
from components.sources.columns import Columns
from foundation.errors import DataError

NAME = "python-docs"
TOPICS = "pydoc_data/topics.py"
FEWEST_RECORDS = 1000

LEFT_OUT = {
    "dist-packages",
    "ensurepip",
    "idle_test",
    "pydoc_data",  # read by itself
    "site-packages",
    "test",
    "tests",
    "turtledemo",
    "__phello__",
    "__pycache__",
}
"""Directories whose docstrings are no part of the standard library's documentation.

`config-*` and `_sysconfigdata*` are left out too: they differ from one build of a Python version to the next.
"""

FEWEST_WORDS = 3
SMALLEST_PROSE_RATE = 0.6
"""The smallest part of a paragraph's words that are plain words; code, tables, grammars and signatures have fewer."""

PLAIN_WORD = re.compile(r"[\"'`(*]*[A-Za-z]+(?:['’-][A-Za-z]+)*[\"'`)*]*[.,;:!?]*[\"'`)]*")
SECTION = re.compile(r"^(?P<title>\S.*)\n(?P<line>[=*\-~^])(?P=line){2,}$", re.MULTILINE)
"""A heading of reStructuredText, underlined."""


@dataclasses.dataclass(frozen=True)
class EmbeddedCorpus:
    """The prose of a Python installation, as records of questions and answers.

    Attributes:
        library: The directory of the standard library; None for the running Python's.
        columns: The columns to keep; None for all.

    Example:
        records = EmbeddedCorpus().load(cache).dataset  # a datasets.Dataset of about 8,000 records
    """

    library: Path | None = None
    columns: tuple[str, ...] | None = None

    @functools.cached_property
    def directory(self) -> Path:
        """The directory of the standard library."""
        return self.library or Path(sysconfig.get_path("stdlib"))

    def files(self) -> list[Path]:
        """The modules that are read, in the order in which they are read.

        Raises:
            DataError: If this Python came without them.
        """
        topics = self.directory / TOPICS
        if not topics.is_file():
            raise self.incomplete(f"no {TOPICS}")
        modules = []
        for folder, directories, names in os.walk(self.directory):
            # Removed from the list here, so that a large site-packages isn't walked through.
            directories[:] = [name for name in directories if not (name in LEFT_OUT or name.startswith("config-"))]
            modules += [
                Path(folder, name) for name in names if name.endswith(".py") and not name.startswith("_sysconfigdata")
            ]
        return [topics, *sorted(modules, key=lambda path: path.relative_to(self.directory).as_posix())]

    def incomplete(self, received: str) -> DataError:
        """The error for a Python without its standard library's sources."""
        return DataError(
            f"the standard library's sources, which the corpus {NAME} is made from, must be installed",
            received=f"{received} in {self.directory}",
            remedy="install them (Debian and Ubuntu: apt-get install libpython3-stdlib), "
            "or give files of your own with --ingest.path",
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 over the names and bytes of all modules, and the Python version."""
        digest = hashlib.sha256()
        for path in self.files():
            content = path.read_bytes()
            name = path.relative_to(self.directory).as_posix()
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return {NAME: digest.hexdigest(), "python": platform.python_version()}

    def records(self, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
        """The records, in the order of the files and of the lines in each.

        Args:
            skipped: Counts what was left out, by reason.

        Yields:
            `{"q_id": str, "title": str, "answers": {"a_id": [str], "score": [int], "text": [str]}}`: the three
            lists are of one length, an entry a paragraph. Neither a paragraph nor a record's whole text stands
            twice in the corpus.
        """
        seen: set[str] = set()
        for path in self.files():
            relative = path.relative_to(self.directory)
            tree = parse(path)
            if tree is None:
                skipped["modules that can't be parsed"] += 1
                continue
            texts = topic_sections(tree) if relative.as_posix() == TOPICS else docstrings(tree, module_name(relative))
            for title, text in texts:
                paragraphs = []
                for paragraph in prose(text, skipped):
                    if paragraph in seen:
                        skipped["paragraphs that repeat an earlier one"] += 1
                    else:
                        seen.add(paragraph)
                        paragraphs.append(paragraph)
                whole = " ".join(paragraphs)
                if paragraphs and (len(paragraphs) == 1 or whole not in seen):
                    seen.add(whole)
                    yield eli5_record(title, paragraphs)

    def load(self, cache: Path) -> Loaded:
        """The records.

        Args:
            cache: Not used, because the corpus is small.

        Raises:
            DataError: If this Python came without its standard library's sources.
        """
        from datasets import Dataset, Features, List, Value

        skipped: Counter[str] = Counter()
        features = Features(
            {
                "q_id": Value("string"),
                "title": Value("string"),
                "answers": {
                    "a_id": List(Value("string")),
                    "score": List(Value("int32")),
                    "text": List(Value("string")),
                },
            }
        )
        dataset = Dataset.from_list(list(self.records(skipped)), features=features)
        if len(dataset) < FEWEST_RECORDS:
            raise self.incomplete(f"only {len(dataset)} docstrings")
        facts = {"kind": "embedded", "name": NAME, "python": platform.python_version(), "modules": len(self.files())}
        reason = "only prose is kept, once"
        reasons = [{"what": what, "count": count, "reason": reason} for what, count in sorted(skipped.items())]
        return Loaded(Columns(self.columns).of_dataset(dataset), facts, reasons)


def parse(path: Path) -> ast.Module | None:
    """A module's syntax tree; None for a module that isn't meant to be parsed (lib2to3 has some)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in the strings of other people's modules
            return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None


def module_name(relative: Path) -> str:
    """The dotted name of a module by its path below the library."""
    parts = [*relative.parts[:-1], relative.stem]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def docstrings(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Dotted names and cleaned docstrings of a module and of the classes and functions in it, in their order."""
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        text = ast.get_docstring(node, clean=True)
        if text:
            yield name, text
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            continue  # an expression holds no definition but a lambda
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from docstrings(child, f"{name}.{child.name}")
        else:
            yield from docstrings(child, name)


def topic_sections(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Titles and texts of the sections of `pydoc`'s topics, from the dictionary that the module assigns."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for topic, text in sorted(ast.literal_eval(statement.value).items()):
                pieces = SECTION.split(text)
                yield topic, pieces[0]
                # Each heading gives three pieces: its title, its line's character, and the text below it.
                for title, body in zip(pieces[1::3], pieces[3::3], strict=True):
                    yield f"{topic}: {' '.join(title.split())}", body


def prose(text: str, skipped: Counter[str]) -> Iterator[str]:
    """The paragraphs of a text that are English prose, each on one line."""
    for paragraph in re.split(r"\n\s*\n", text):
        words = paragraph.split()
        if not words:
            continue
        if words[0] == ">>>" or "\n>>> " in paragraph:
            skipped["paragraphs of doctests"] += 1
        elif len(words) < FEWEST_WORDS:
            skipped[f"paragraphs of fewer than {FEWEST_WORDS} words"] += 1
        elif sum(bool(PLAIN_WORD.fullmatch(word)) for word in words) < SMALLEST_PROSE_RATE * len(words):
            skipped["paragraphs of code, tables or grammar"] += 1
        else:
            yield " ".join(words)


def eli5_record(title: str, paragraphs: list[str]) -> dict[str, Any]:
    """One record; its ids are digests, so that they stay the same wherever the record stands."""
    q_id = hashlib.sha256("\n".join([title, *paragraphs]).encode()).hexdigest()[:12]
    return {
        "q_id": q_id,
        "title": title,
        "answers": {
            "a_id": [f"{q_id}_{index}" for index in range(len(paragraphs))],
            "score": [1] * len(paragraphs),
            "text": paragraphs,
        },
    }
