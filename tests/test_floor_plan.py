"""What the import contracts can't see: facts about architectures, and changes to others' instances, keep to rooms."""

import ast
from pathlib import Path

import pytest

from components.modeling.architectures.records import ARCHITECTURES

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "components/modeling/architectures"
PATCHES = ROOT / "components/modeling/library"
CODE = [ROOT / "pipeline.py"] + [
    path
    for package in ("foundation", "components", "runners", "serving")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def outside(room):
    return [path for path in CODE if room not in path.parents]


def architectures_named(tree):
    """The lines on which an architecture is decided by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in ARCHITECTURES:
            yield node.lineno


def methods_replaced(tree):
    """The lines on which an object other than `self` is given a method, or an attribute behind its back."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            is_method = isinstance(node.value, ast.Lambda) or (
                isinstance(node.value, ast.Name) and node.value.id in functions
            )
            for target in node.targets:
                if isinstance(target, ast.Attribute) and not is_self(target.value):
                    if is_method or target.attr == "call":
                        yield node.lineno
                elif isinstance(target, ast.Subscript) and is_vars_of_another(target.value):
                    yield node.lineno
        elif isinstance(node, ast.Call):
            is_update = isinstance(node.func, ast.Attribute) and node.func.attr in ("update", "pop", "setdefault")
            if is_update and is_vars_of_another(node.func.value):
                yield node.lineno
            if isinstance(node.func, ast.Name) and node.func.id == "setattr" and not is_self(node.args[0]):
                yield node.lineno


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def is_vars_of_another(node):
    named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars"
    return named and bool(node.args) and not is_self(node.args[0])


@pytest.mark.parametrize(("find", "room"), [(architectures_named, RECORDS), (methods_replaced, PATCHES)])
def test_some_lines_keep_to_their_room(find, room):
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in outside(room)
        for line in find(ast.parse(path.read_text("utf-8")))
    }
    assert found == set()


def test_what_is_looked_for_is_found_in_its_room():
    """So that a search that finds nothing anywhere doesn't pass."""
    for find, room in ((architectures_named, RECORDS), (methods_replaced, PATCHES)):
        assert [line for path in room.glob("*.py") for line in find(ast.parse(path.read_text("utf-8")))]
