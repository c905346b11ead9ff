"""The processes that train a model together: how they meet, agree and share the blocks, and what ends them.

Each has a copy of the model and a share of every batch (data parallelism, `tf.distribute.MultiWorkerMirroredStrategy`).
What is the same in all of them, such as the losses, each finds out for itself. What may differ, such as the disk's
state and the clock, the chief decides: it alone writes, and no variable of a training needs another process to be
read.
"""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context as eager_context

from components.contract.workers import Member, MemberLost
from components.masking.shares import Share
from components.training.replicas import PACK_BYTES
from foundation.errors import ConfigError

JOB = "worker"
"""What TF_CONFIG calls those that train."""
HEARTBEAT_SECONDS = 30
"""For how long a process may give no sign of life; one whose connections are closed is found gone at once."""
MEETING_SECONDS = 600
"""How long the first to come waits for the last."""
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
"""What TensorFlow raises where another process is gone."""
ABORTED = "Collective ops is aborted"
"""What stands in all other errors that it may raise then."""


class Members:
    """Those that train together, seen from one of them; without arguments one process that trains alone.

    Args:
        rank: This one's number; the chief's is 0.
        count: How many there are.
        local_replicas: Copies of the model in each, where there are several processes.

    Attributes:
        strategy: What sums over them; None where there is nothing to sum.
    """

    strategy: tf.distribute.Strategy | None = None

    def __init__(self, rank: int = 0, count: int = 1, local_replicas: int = 1) -> None:
        self.rank = rank
        self.count = count
        self.local_replicas = local_replicas

    @property
    def is_chief(self) -> bool:
        """Whether this one writes, reports and decides."""
        return self.rank == 0

    def share(self, blocks: int) -> Share | None:
        """Which blocks of each step this process has; None for all.

        Args:
            blocks: Blocks that a step learns from. Each replica has as many, those of one process side by side.
        """
        if self.count == 1:
            return None
        each = blocks // self.count
        return Share(blocks, np.arange(self.rank * each, (self.rank + 1) * each))

    def padded_share(self, blocks: int) -> np.ndarray | None:
        """The numbers of the blocks of a validation's batch that this process has; None for all.

        Each replica has equally many, so that some numbers may be `blocks` or more: those blocks don't count.
        """
        if self.count == 1:
            return None
        each = -(-blocks // (self.count * self.local_replicas)) * self.local_replicas
        return np.arange(self.rank * each, (self.rank + 1) * each)

    def distributed(self, dataset: tf.data.Dataset) -> Any:
        """A data set of this process' share, with the blocks of one replica after the other, as `fit` takes it."""
        return dataset

    def chosen(self, value: str | None) -> str | None:
        """What the chief chooses, for all.

        Args:
            value: Counts where this is the chief.
        """
        return value

    def require_alike(self, facts: Mapping[str, Any]) -> None:
        """Refuses processes that would compute different things.

        Args:
            facts: Each is equal in all, and asked about once.

        Raises:
            ConfigError: If one isn't.
        """

    def require_alike_weights(self, weights: Sequence[tf.Variable]) -> None:
        """Refuses models that don't begin with the same weights, such as those of a checkpoint that was changed.

        Raises:
            ConfigError: If they aren't equal in all processes.
        """

    def wait(self) -> None:
        """Waits until all are here.

        Raises:
            MemberLost: If one is gone.
        """


ALONE = Members()
"""One process that trains by itself."""


class SeveralMembers(Members):
    """Processes that train together, seen from one of them. TF_CONFIG says where they are.

    To be made before TensorFlow has computed anything; waits for the others.

    Args:
        member: Which one this is.

    Raises:
        MemberLost: If the others don't come.
    """

    strategy: tf.distribute.Strategy

    def __init__(self, member: Member) -> None:
        cores = cores_of_each(json.loads(os.environ["TF_CONFIG"]), member.rank)
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        eager_context.context().configure_coordination_service(
            service_type="standalone",
            service_leader=f"/job:{JOB}/replica:0/task:0",
            coordinated_jobs=[coordination_config_pb2.CoordinatedJob(name=JOB, num_tasks=member.count)],
            heartbeat_timeout_in_ms=HEARTBEAT_SECONDS * 1000,
            cluster_register_timeout_in_ms=MEETING_SECONDS * 1000,
        )
        with lost_members():
            strategy = tf.distribute.MultiWorkerMirroredStrategy(communication_options=communication())
        # Every process has as many batches, so that none has to ask the others at each whether they have one more.
        strategy.extended.experimental_enable_get_next_as_optional = False
        super().__init__(member.rank, member.count, len(strategy.extended.worker_devices))
        self.strategy = strategy

    def distributed(self, dataset: tf.data.Dataset) -> Any:
        """See `Members`."""
        return self.strategy.distribute_datasets_from_function(lambda _: dataset)

    def chosen(self, value: str | None) -> str | None:
        """See `Members`."""
        # As a sum, in which all others' part is 0: who waits for it learns at once that the chief is gone.
        mine = json.dumps(value).encode() if self.is_chief else b""
        [length] = self._sum([len(mine)])
        return json.loads(bytes(self._sum(list(mine.ljust(length, b"\0")))))

    def require_alike(self, facts: Mapping[str, Any]) -> None:
        """See `Members`."""
        eager, place = eager_context.context(), "/".join(sorted(facts))
        with lost_members():
            eager.set_config_key_value(f"{place}/{self.rank}", json.dumps(facts))
            told = [
                json.loads(eager.get_config_key_value(f"{place}/{rank}", MEETING_SECONDS * 1000))
                for rank in range(self.count)
            ]
        for rank, other in enumerate(told):
            differing = [name for name in facts if other.get(name) != told[0].get(name)]
            if differing:
                raise ConfigError(
                    "the workers that train together must be alike: the same devices, precision, libraries and weights",
                    received="; ".join(
                        f"{name} {told[0].get(name)!r} of worker 0 and {other.get(name)!r} of worker {rank}"
                        for name in differing
                    ),
                    remedy="start all workers on machines of one kind and from one image; where auto differs, set "
                    "--train.precision and --train.jit_compile",
                )

    def require_alike_weights(self, weights: Sequence[tf.Variable]) -> None:
        """See `Members`."""
        digest = hashlib.sha256()
        for weight in weights:
            digest.update(np.ascontiguousarray(weight.numpy()).data)
        self.require_alike({"first weights": digest.hexdigest()[:16]})

    def wait(self) -> None:
        """See `Members`."""
        self._sum([1])

    def _sum(self, numbers: list[int]) -> list[int]:
        """Small numbers, one by one summed over all processes."""
        with lost_members():
            total = self.strategy.reduce("SUM", tf.constant(numbers, tf.float32), axis=None)
        return [int(number) for number in total.numpy()]


def communication() -> tf.distribute.experimental.CommunicationOptions:
    """How the processes' sums travel: by NCCL between GPUs, in a ring of gRPC between CPUs.

    There is no timeout: TensorFlow would start a thread for each sum, and others may wait for as long as the chief
    writes a checkpoint. That a process is gone, its heartbeat says.
    """
    kinds = tf.distribute.experimental.CommunicationImplementation
    has_gpus = bool(tf.config.list_physical_devices("GPU"))
    return tf.distribute.experimental.CommunicationOptions(
        bytes_per_pack=PACK_BYTES, implementation=kinds.NCCL if has_gpus else kinds.RING
    )


def cores_of_each(cluster: Mapping[str, Any], rank: int) -> int:
    """How many threads an operation may use in one of several processes: the cores that it is given.

    Those that whoever started it says (`TF_NUM_INTRAOP_THREADS`, or `OMP_NUM_THREADS` as Ray sets it), or an equal part
    of its machine's.

    Args:
        cluster: What TF_CONFIG says.
        rank: Which of its workers.
    """
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdecimal() and int(os.environ[name]) > 0:
            return int(os.environ[name])
    hosts = [address.rpartition(":")[0] for address in cluster["cluster"][JOB]]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // Counter(hosts)[hosts[rank]])


@contextlib.contextmanager
def lost_members() -> Iterator[None]:
    """A context in which TensorFlow's errors of a process that is gone become `MemberLost`."""
    try:
        yield
    except tf.errors.OpError as error:
        if isinstance(error, LOST) or ABORTED in str(error):
            raise MemberLost(str(error.message).strip().splitlines()[-1]) from error
        raise
