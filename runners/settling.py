"""What each step reads from outside the pipeline, found out once a run."""

from collections.abc import Callable
from typing import Any, TypeVar

from components.contract.artifacts import Artifact
from components.contract.component import Component
from components.hub.reading import HubUnreachable
from runners.store import Store

Output = TypeVar("Output", bound=Artifact)


class Settling:
    """Keeps what each component was found to read.

    What runs has to be what its key names: a branch on the Hub may move between plan and execution, so the very object
    whose sources are in the key is the one that runs.

    Args:
        store: Knows what was read in earlier runs.
        show: Called with a line of text to show.
    """

    def __init__(self, store: Store, show: Callable[[str], None]) -> None:
        self._store = store
        self._show = show
        self._settled: dict[str, tuple[Component[Any], dict[str, str]]] = {}

    def settle(self, component: Component[Output]) -> tuple[Component[Output], dict[str, str]]:
        """A component and its sources, read once a run where that is possible."""
        known = self._settled.get(component.name)
        if known is None or known[0] != component:
            known = self._settled[component.name] = (component, self._sources(component))
        return known

    def _sources(self, component: Component[Any]) -> dict[str, str]:
        """What a component reads from outside; out of reach of the Hub, what it read there when it last ran."""
        if component.sources_read_inputs:
            self._store.fetch_inputs(component)
        try:
            return dict(component.sources())
        except HubUnreachable:
            earlier = self._store.earlier_sources(component)
            if earlier is None:
                raise
        self._show(
            f"  {component.name:<11} the Hub is out of reach: what was there at an earlier run counts, unchecked"
        )
        return earlier
