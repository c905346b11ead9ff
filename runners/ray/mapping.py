"""A function of many items, by Ray Data: a pool of processes, each of which prepares once."""

import contextlib
import logging
import math
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from components.config.runner_settings import RayParams
from foundation.errors import PipelineError
from runners.ray.deaths import death_of
from runners.ray.process import ProcessSettings, said_of, this_process

MOST_BLOCKS = 2000
"""Items go to the processes one by one; where there are more than this, several together."""
ITEM, OUTCOME = "item", "outcome"


class MapWorker:
    """What one process of the pool does.

    An error is a result like any other, so that it arrives as it is, and Ray doesn't try again what fails again.

    Args:
        settings: How the process is set up.
        work: `prepare` and `function`, pickled.
    """

    def __init__(self, settings: ProcessSettings, work: bytes) -> None:
        self._failure: PipelineError | None = None
        try:
            settings.apply()
            prepare, self._function = pickle.loads(work)
            self._state = prepare()
        except Exception as error:
            self._failure = said_of(error, this_process("a worker"))

    def __call__(self, items: Any) -> Any:
        """The outcomes of a table of items."""
        import pyarrow

        outcomes = [self._outcome(item) for item in items[ITEM]]
        return pyarrow.table({OUTCOME: pyarrow.array(outcomes, pyarrow.large_binary())})

    def _outcome(self, item: Any) -> bytes:
        """Whether all went well with the result, or the error, pickled."""
        try:
            if self._failure is None:
                result = self._function(self._state, pickle.loads(item.as_buffer()))
                return pickle.dumps((True, result), protocol=pickle.HIGHEST_PROTOCOL)
            failure = self._failure
        except Exception as error:
            failure = said_of(error, this_process("a worker"))
        return pickle.dumps((False, failure), protocol=pickle.HIGHEST_PROTOCOL)


def mapped(
    params: RayParams,
    settings: ProcessSettings,
    prepare: Callable[[], Any],
    function: Callable[[Any, Any], Any],
    items: Iterable[Any],
) -> Iterator[Any]:
    """The function of each item, in order. What Ray holds at a time is limited by its object store.

    Args:
        params: How many processes, with what each, and how often they may die.
        settings: How each process is set up.
        prepare: See `Workers.map`.
        function: See `Workers.map`.
        items: See `Workers.map`; the items themselves are all held by the driver.

    Raises:
        PipelineError: See `Workers.map`.
    """
    import pyarrow
    import ray
    from ray import cloudpickle
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    pickled = [pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL) for item in items]
    _quiet(DataContext.get_current())
    table = pyarrow.table({ITEM: pyarrow.array(pickled, pyarrow.large_binary())})
    together = math.ceil(len(pickled) / MOST_BLOCKS)
    with warnings.catch_warnings():
        # Every way to set the two numbers of failures is deprecated, and no other has come yet.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        outcomes = from_arrow(table, override_num_blocks=math.ceil(len(pickled) / together)).map_batches(
            MapWorker,
            fn_constructor_args=(settings, cloudpickle.dumps((prepare, function))),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=min(params.workers, len(pickled)), max_tasks_in_flight_per_actor=2),
            num_cpus=params.cpus_per_worker,
            num_gpus=params.gpus_per_worker or None,
            max_restarts=params.max_failures,
            max_task_retries=params.max_failures,
        )
    try:
        with contextlib.closing(iter(outcomes.iter_batches(batch_size=None, batch_format="pyarrow"))) as tables:
            for outcome in (each for table in tables for each in table[OUTCOME]):
                went_well, result = pickle.loads(outcome.as_buffer())
                if not went_well:
                    raise result
                yield result
    except ray.exceptions.RayError as error:
        raise death_of(error, params) from error


def _quiet(context: Any) -> None:
    """Has Ray Data keep the order, and say nothing: the runner has a line for each step."""
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
