"""Which variables a graph looks up by rows, and which it reads whole."""

from collections.abc import Iterable, Mapping
from typing import Any

ROWS, WHOLE = "ResourceGather", "ReadVariableOp"
CONDITIONALS = ("If", "StatelessIf", "Case", "StatelessCase")


def reads_of_saved(meta_graph: Any) -> dict[str, set[str]]:
    """How the signatures of a `MetaGraphDef` read each variable: `ROWS`, `WHOLE` or both by its name."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    variables = {name: node.attr["shared_name"].s.decode() for name, node in nodes.items() if node.op == "VarHandleOp"}
    signatures = meta_graph.signature_def.values()
    answered = {output.name.split(":")[0] for signature in signatures for output in signature.outputs.values()}
    return reads_of(meta_graph.graph_def, [nodes[name] for name in answered], variables)


def reads_of_traced(function: Any, variables: Iterable[Any]) -> dict[str, set[str]]:
    """The same of a `ConcreteFunction`."""
    names = {id(variable.handle): variable.name for variable in variables}
    graph_def = function.graph.as_graph_def()
    captured = {inner.op.name: names.get(id(outer), "?") for outer, inner in function.graph.captures}
    return reads_of(graph_def, graph_def.node, captured)


def reads_of(graph_def: Any, nodes: Iterable[Any], handles: Mapping[str, str]) -> dict[str, set[str]]:
    """How nodes read variables, functions within functions followed.

    Args:
        graph_def: Has the functions.
        nodes: Where to begin.
        handles: The variables behind the nodes' inputs, by the inputs' names.

    Returns:
        By the name of a variable, `ROWS`, `WHOLE` or both. What can't be followed to a variable is called `?`.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    reads: dict[str, set[str]] = {}

    def visit(body: Iterable[Any], handles: Mapping[str, str]) -> None:
        for node in body:
            inputs = [handles.get(name.split(":")[0]) for name in node.input if not name.startswith("^")]
            if node.op in (ROWS, WHOLE):
                reads.setdefault(inputs[0] or "?", set()).add(node.op)
            called = [attribute.func.name for attribute in node.attr.values() if attribute.HasField("func")]
            called += [one.name for attribute in node.attr.values() for one in attribute.list.func]
            # The first input of a conditional chooses the branch.
            arguments = inputs[1:] if node.op in CONDITIONALS else inputs
            for function in (functions[name] for name in called):
                names = [argument.name for argument in function.signature.input_arg]
                given = zip(names, arguments, strict=True)
                visit(function.node_def, {name: variable for name, variable in given if variable})

    visit(nodes, handles)
    return reads
