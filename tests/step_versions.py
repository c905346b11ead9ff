"""Which code each step depends on, as digests that a test compares with those of `step_versions.json`.

A step's `version` is part of its key, and must be raised whenever the same inputs and params would give another output.
Nobody can tell that from code, but a program can tell that code changed:

    python -m tests.step_versions            shows what changed since the digests were recorded
    python -m tests.step_versions --renew    records the versions and digests of now

A step's code is every module of ours that `components/<step>.py` imports, at its top or inside a function, those that
they import, and the data files beside them. A module's digest is that of its syntax tree: comments, docstrings,
formatting, and imports for type checkers alone don't count.
"""

import argparse
import ast
import functools
import hashlib
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RECORD = Path(__file__).with_suffix(".json")
OURS = ("components", "foundation", "runners", "serving")
STEPS = {
    "ingest": "Ingest",
    "tokenizer": "PrepareTokenizer",
    "preprocess": "Preprocess",
    "train": "Train",
    "evaluate": "Evaluate",
    "export": "Export",
    "validate": "Validate",
    "push": "Push",
}
"""Each step's class, by the module in `components/` that has it."""
STARTED = {"validate": ("serving.__main__", "components.validation.child")}
"""Modules that a step doesn't import, but starts as a process of its own."""
DATA = (".pbtxt",)
"""Endings of files beside a module that it copies into what a step makes."""


def file_of(module: str, root: Path = ROOT) -> Path | None:
    """The file of a module of ours; None where there is none, as for a package without `__init__.py`."""
    if module.split(".")[0] not in OURS:
        return None
    place = root / module.replace(".", "/")
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def without_remarks(node: ast.AST) -> Any:
    """A syntax tree as plain values, without docstrings, places, empty fields, and branches for type checkers.

    (`ast.dump` writes empty fields as well, and other ones in each version of Python.)
    """
    fields = {}
    for name, value in ast.iter_fields(node):
        if isinstance(value, list):
            value = [plain(item) for item in value if not is_remark(item)]
        elif isinstance(value, ast.AST):
            value = without_remarks(value)
        elif value is not None:
            value = repr(value)
        if value not in (None, []):
            fields[name] = value
    return [type(node).__name__, fields]


def plain(item: Any) -> Any:
    return without_remarks(item) if isinstance(item, ast.AST) else repr(item)


def is_remark(item: Any) -> bool:
    """Whether a statement does nothing: a string by itself, or what only a type checker reads."""
    if isinstance(item, ast.Expr):
        return isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)
    return isinstance(item, ast.If) and isinstance(item.test, ast.Name) and item.test.id == "TYPE_CHECKING"


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all below it that are run."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not is_remark(child):
            yield from statements(child)


@functools.cache
def read(module: str, path: Path, content: bytes) -> tuple[str, frozenset[str]]:
    """A module's digest, and the names that it imports."""
    tree = ast.parse(content)
    digest = hashlib.sha256(json.dumps(without_remarks(tree)).encode()).hexdigest()[:16]
    return digest, imports(module, path, tree)


def imports(module: str, path: Path, tree: ast.Module) -> frozenset[str]:
    """The names that a module imports, each with the packages that it lies in."""
    found = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return frozenset(name.rsplit(".", cut)[0] for name in found for cut in range(name.count(".") + 1))


def closure(step: str, root: Path = ROOT) -> dict[str, str]:
    """The digests of a step's module and of all modules of ours that it imports, directly or not, by name."""
    digests: dict[str, str] = {}
    waiting = [f"components.{step}", *STARTED.get(step, ())]
    while waiting:
        name = waiting.pop()
        path = file_of(name, root)
        if path is None or name in digests:
            continue
        digests[name], imported = read(name, path, path.read_bytes())
        waiting += imported
        for data in sorted(path.parent.glob("*")) if path.name == "__init__.py" else ():
            if data.suffix in DATA:
                digests[f"{name}/{data.name}"] = hashlib.sha256(data.read_bytes()).hexdigest()[:16]
    return dict(sorted(digests.items()))


def current(root: Path = ROOT) -> dict[str, Any]:
    """The version and digest of each step, and the digests of all modules that any of them imports."""
    steps, modules = {}, {}
    for name, class_name in STEPS.items():
        version = getattr(importlib.import_module(f"components.{name}"), class_name).version
        digests = closure(name, root)
        steps[name] = {"version": version, "digest": hashlib.sha256(json.dumps(digests).encode()).hexdigest()}
        modules |= digests
    return {"steps": steps, "modules": dict(sorted(modules.items()))}


def complaints(recorded: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """A line for each step whose code or version is another than the recorded one, which says what to do."""
    lines = []
    before, after = recorded["modules"], now["modules"]
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    for name, step in now["steps"].items():
        known = recorded["steps"].get(name)
        if known == step:
            continue
        if known is None or known["version"] != step["version"]:
            lines.append(f"{name}: its version is {step['version']} now; record it with --renew")
            continue
        guilty = sorted(changed & closure(name).keys()) or ["a module that it no longer imports"]
        lines.append(
            f"{name}: its version is {step['version']} still, but {', '.join(guilty[:5])}"
            f"{f' and {len(guilty) - 5} more' if len(guilty) > 5 else ''} changed. Would equal inputs and params give "
            f"another output now? Then raise `version` in components/{name}.py. Either way, record it with --renew"
        )
    return lines


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="record the versions and digests of now")
    now = current()
    recorded = json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {"steps": {}, "modules": {}}
    lines = complaints(recorded, now)
    print("\n".join(lines) or "Nothing changed.")
    if not parser.parse_args().renew:
        return 1 if lines else 0
    RECORD.write_text(json.dumps(now, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
