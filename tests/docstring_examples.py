"""Runs the usage examples in docstrings as they stand, but for what a test changes: paths, ports, names."""

import asyncio
import inspect
import textwrap
from typing import Any


def run_example(documented: Any, names: dict[str, Any], changes: dict[str, str] | None = None) -> dict[str, Any]:
    """Runs the example at the end of a docstring, in an event loop if it needs one; all names that there are then."""
    _, code = inspect.getdoc(documented).split("Example:\n")
    code = textwrap.dedent(code)
    for old, new in (changes or {}).items():
        assert old in code, old
        code = code.replace(old, new)
    if not code.startswith("async with"):
        exec(code, names)
        return names
    exec(f"async def example():\n{textwrap.indent(code, '    ')}\n    return locals()", names)
    return asyncio.run(names["example"]())
