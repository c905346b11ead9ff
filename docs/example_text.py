"""Prints a text to try the pipeline on: the documentation strings of the installed Keras, a paragraph each.

python docs/example_text.py > notes.txt
"""

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "tf_keras"


def paragraphs() -> Iterator[str]:
    """Every paragraph of prose in the package's documentation strings, once, in the order of its files."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(f"example_text.py: {PACKAGE} must be installed: run it in the pipeline's environment")
    seen: set[str] = set()
    for file in sorted(Path(found.origin).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(node) or "")):
                    text = " ".join(paragraph.split())
                    if text.endswith(".") and ">>>" not in text and text not in seen and len(text) > 40:
                        seen.add(text)
                        yield text


if __name__ == "__main__":
    print("\n\n".join(paragraphs()))
