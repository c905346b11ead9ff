"""What the settings of Ray refuse, before there is any Ray."""

import math
import os

import pytest

from components.config.runner_settings import RayParams
from foundation.errors import ConfigError
from runners.ray.places import require_sensible_number


@pytest.mark.parametrize("address", ["auto", "10.0.0.5:6379", "head:6379", "ray-head.default.svc:6379", "[::1]:6379"])
def test_addresses_of_clusters(address):
    assert RayParams(address=address).address == address


@pytest.mark.parametrize(
    ("address", "received"),
    [
        ("", "an empty one"),
        ("somewhere", "somewhere"),
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5:99999", "10.0.0.5:99999"),  # of which the system would make another port
        ("10.0.0.5:0", "10.0.0.5:0"),
        ("http://10.0.0.5:6379", "http://10.0.0.5:6379"),
        ("::1:6379", "::1:6379"),
        ("ray://10.0.0.5:10001", "ray://10.0.0.5:10001, an address of Ray Client"),
        ("ray://me:secret@10.0.0.5:10001", "one with an @"),
        ("me:secret@10.0.0.5:6379", "one with an @"),
    ],
)
def test_what_is_no_address_is_refused(address, received):
    with pytest.raises(ConfigError, match=r"ray\.address must") as caught:
        RayParams(address=address)
    assert f"Received: {received}" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["cpus_per_worker", "gpus_per_worker", "timeout_seconds"])
@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0])
def test_numbers_that_mean_nothing_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"ray.{key} must be"):
        RayParams(**{key: value})


def test_no_more_workers_than_a_machine_can_bear():
    cores = os.cpu_count() or 1
    require_sensible_number(RayParams(workers=max(8, cores)))
    require_sensible_number(RayParams(workers=100_000, address="auto"))
    with pytest.raises(ConfigError, match="a cluster of this machine alone must have at most"):
        require_sensible_number(RayParams(workers=100_000))
