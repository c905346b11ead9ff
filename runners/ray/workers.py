"""Workers on Ray: processes of this machine, or of a cluster."""

import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from components.config.runner_settings import RayParams
from components.contract.workers import Item, Member, Result, State
from runners.ray.cluster import Cluster
from runners.ray.places import require_sensible_number
from runners.ray.process import ProcessSettings


class RayWorkers:
    """`Workers` that Ray starts, watches and replaces. Ray itself starts when a step first asks for them.

    Args:
        params: Where they run, and how many.

    Example:
        >>> with RayWorkers(RayParams(workers=2)) as workers:
        ...     list(workers.map(load_model, score, batches))
    """

    def __init__(self, params: RayParams) -> None:
        self.params = params
        self._cluster = Cluster(params)

    @property
    def count(self) -> int:
        """How many processes work at once."""
        return self.params.workers

    def require(self) -> None:
        """See `Workers`: a cluster is joined now. One of this machine has room but for GPUs, and can start later."""
        require_sensible_number(self.params)
        self._cluster.require_usable()
        if self.params.address is not None or self.params.gpus_per_worker:
            self._cluster.ensure()

    def map(
        self, prepare: Callable[[], State], function: Callable[[State, Item], Result], items: Iterable[Item]
    ) -> Iterator[Result]:
        """See `Workers.map`: by Ray Data. Of the results, Ray holds a few at a time; of the items, all."""
        items = list(items)
        if not items:
            return
        self._cluster.ensure()
        from runners.ray.mapping import mapped

        yield from mapped(self.params, self._settings(), prepare, function, items)

    def together(self, function: Callable[[Member], None]) -> None:
        """See `Workers.together`: by Ray Train."""
        self._cluster.ensure()
        from runners.ray.together import run_together

        run_together(self.params, self._settings(), function)

    def _settings(self) -> ProcessSettings:
        return ProcessSettings(os.getcwd(), self.params.cpus_per_worker, self.params.gpus_per_worker)

    def __enter__(self) -> "RayWorkers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster.stop()
