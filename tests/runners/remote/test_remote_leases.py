"""Locks between machines."""

import threading
import time

import pytest

from foundation.errors import ArtifactError
from foundation.process_lock import LockHeld
from runners.remote.address import parse_address
from runners.remote.leases import Heartbeat, Leases
from runners.remote.opening import open_store


@pytest.fixture
def store(address):
    return open_store(parse_address(address), to_write=True)


def leases_of(store, owner, seconds=60.0):
    return Leases(store.objects, owner, store.clock_ahead_seconds, seconds)


def make_expired(leases, monkeypatch):
    """Has a machine see all leases of others as not renewed for long."""
    monkeypatch.setattr(leases, "is_fresh", lambda there: False)


def test_one_at_a_time_of_many_at_once(store):
    inside, most, entered = [], [], []

    def work(number):
        for _ in range(2):
            with leases_of(store, f"machine {number}").hold("artifacts/train/0123", "train"):
                inside.append(number)
                most.append(len(inside))
                entered.append(number)
                time.sleep(0.01)
                inside.remove(number)

    threads = [threading.Thread(target=work, args=[number]) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert max(most) == 1
    assert len(entered) == 10
    assert not store.objects.list("locks")


def test_who_does_not_wait_is_told_who_holds_it(store):
    with leases_of(store, "one").hold("artifacts/train/0123", "train"):
        other = leases_of(store, "two").hold("artifacts/train/0123", "train", wait=False)
        with pytest.raises(LockHeld, match=r"held by process \d+ on "), other:
            pass
        with leases_of(store, "two").hold("artifacts/train/4567", "train", wait=False):
            pass


def test_an_expired_lease_is_taken_and_its_holder_finds_out(store, monkeypatch):
    slow, quick = leases_of(store, "slow"), leases_of(store, "quick")
    with slow.hold("artifacts/train/0123", "train") as lost:
        make_expired(quick, monkeypatch)
        with quick.hold("artifacts/train/0123", "train", wait=False) as taken:
            assert taken.place > lost.place
            slow.renew_all()
            assert lost.is_lost
            with pytest.raises(ArtifactError, match="taken by another machine"):
                slow.require(lost)
            quick.require(taken)
    assert not store.objects.list("locks")


def test_of_many_who_find_it_expired_one_takes_it(store, monkeypatch):
    with leases_of(store, "died").hold("artifacts/train/0123", "train"):
        takers = [leases_of(store, f"machine {number}") for number in range(4)]
        died = list(store.objects.list("locks").values())
        for each in takers:
            monkeypatch.setattr(each, "is_fresh", lambda there: there not in died)
        inside, most = [], []

        def work(leases):
            with leases.hold("artifacts/train/0123", "train"):
                inside.append(leases)
                most.append(len(inside))
                time.sleep(0.02)
                inside.remove(leases)

        threads = [threading.Thread(target=work, args=[each]) for each in takers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    assert most == [1, 1, 1, 1]


def test_the_same_staging_directory_takes_over_at_once(store):
    died, here = leases_of(store, "this machine"), leases_of(store, "this machine")
    with died.hold("artifacts/train/0123", "train"), here.hold("artifacts/train/0123", "train", wait=False):
        pass


def test_a_renewed_lease_lasts_beyond_its_time(store, monkeypatch):
    holder = leases_of(store, "one", seconds=2.0)
    heartbeat = Heartbeat((holder.renew_all,), holder.seconds)
    heartbeat.start()
    try:
        with holder.hold("artifacts/train/0123", "train") as lease:
            renewed = lease.renewed
            until = time.monotonic() + 30
            while lease.renewed == renewed and time.monotonic() < until:
                time.sleep(0.05)
            assert lease.renewed > renewed
            there = store.objects.list("locks")[lease.place]
            assert holder.is_fresh(there)
            holder.require(lease)
    finally:
        heartbeat.end()


def test_expired_leases_of_the_dead_are_removed(store, monkeypatch):
    leases = leases_of(store, "one")
    store.objects.write("locks/artifacts--train--0123/000001", b"{}")
    assert leases.remove_expired() == 0
    make_expired(leases, monkeypatch)
    assert leases.remove_expired() == 1
    assert not store.objects.list("locks")
