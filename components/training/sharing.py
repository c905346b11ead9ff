"""What must hold for several processes to share a training, refused before any work. Needs no TensorFlow."""

from components.training.params import TrainParams
from foundation.errors import ConfigError


def require_even_shares(params: TrainParams, batch_size: int, workers: int, devices: int = 1) -> None:
    """Refuses batches that the workers can't share evenly.

    Args:
        params: The settings.
        batch_size: Blocks of a batch: fewer than the params say where there are fewer blocks.
        workers: How many processes train.
        devices: How many devices each of them has, as far as that is known.

    Raises:
        ConfigError: If so.
    """
    replicas = workers * devices
    each = f" with {devices} devices each" if devices > 1 else ""
    for name, size in (("batch_size", batch_size), ("batch_size_start", params.batch_size_start)):
        if size is None or size % replicas == 0:
            continue
        given = getattr(params, name)
        few = "" if given == size else f" (the train split has no more blocks; train.batch_size is {given})"
        most = max(count for count in range(1, workers + 1) if size % (count * devices) == 0 or count == 1)
        raise ConfigError(
            f"train.{name} must be a multiple of the number of devices that train, so that each has as many blocks",
            received=f"batches of {size} blocks{few} for {workers} workers{each}",
            remedy=f"start {most} worker{'s' if most > 1 else ''} (--ray.workers {most}), or "
            + (
                f"set --train.{name} to a multiple of {replicas}"
                if given == size
                else f"ingest more text: {replicas} blocks or more"
            ),
        )


def require_shareable(params: TrainParams, batch_size: int, workers: int) -> None:
    """Refuses what several workers can't train, as far as it is known without their devices.

    Args:
        params: The settings.
        batch_size: Blocks of a batch.
        workers: How many processes train.

    Raises:
        ConfigError: If so.
    """
    if workers > 1 and params.strategy != "one_device":
        require_even_shares(params, batch_size, workers)
