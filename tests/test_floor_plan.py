"""What the import contracts can't see: facts keep to their rooms, and rules are rules."""

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


ERRORS = {"PipelineError", "ConfigError", "DataError", "ModelError", "ArtifactError", "HubError", "ServingError"}


def rules(tree):
    """Each error's rule, as far as it is written out, and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS and node.args:
            parts = [part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)]
            text = "".join(part for part in parts if isinstance(part, str))
            if text and not any(isinstance(part, ast.Name) and part.id == "rule" for part in ast.walk(node.args[0])):
                yield node.lineno, text


def test_an_errors_rule_says_what_must_be():
    """A rule in the indicative reads as a fact."""
    found = [(path, line, rule) for path in CODE for line, rule in rules(ast.parse(path.read_text("utf-8")))]
    assert len(found) > 150
    facts = {f"{path.relative_to(ROOT)}:{line} {rule}" for path, line, rule in found if "must" not in rule}
    assert facts == set()
