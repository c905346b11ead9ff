"""When checkpoints are due, by a clock that is told: the first soon, the others in 2% of the time."""

import itertools
import random

import pytest

from components.training.resuming import PART_OF_TIME, Schedule


def simulate(seconds, step_seconds, write_seconds):
    """When the writing of each checkpoint began and ended, if steps and writing take as long as the callables say."""
    now, began, written = 1000.0, 1000.0, []
    schedule = Schedule(began)
    while now < began + seconds:
        now += step_seconds()
        schedule.step_ends(now)
        if schedule.is_due(now):
            started = now
            now += write_seconds()
            schedule.was_written(started, now)
            written.append((started - began, now - began))
    return written


def largest_part(written):
    """The largest part of the time since the first checkpoint that was spent on others, at the end of any."""
    [(_, first), *later] = written
    spent = itertools.accumulate(end - start for start, end in later)
    return max(part / (end - first) for part, (_, end) in zip(spent, later, strict=True))


@pytest.mark.parametrize("step", [0.001, 0.3, 4.0, 9.0])
@pytest.mark.parametrize("write", [0.05, 1.0, 10.0])
def test_the_first_comes_within_30_seconds_and_the_others_take_2_percent(step, write):
    written = simulate(5_000, lambda: step, lambda: write)
    assert written[0][1] <= 20 + max(step, write) <= 30
    assert written[0][0] >= 20 - step
    assert largest_part(written) <= PART_OF_TIME < 0.02
    # Nor are they rarer than that.
    starts = [start for start, _ in written[1:]]
    assert max(second - first for first, second in itertools.pairwise(starts)) <= write / PART_OF_TIME + write + step


def test_a_first_step_that_takes_long_is_followed_by_a_checkpoint():
    """As one does that is compiled: the next would come too late."""
    steps = itertools.chain([25.0], itertools.repeat(0.2))
    assert simulate(60, lambda: next(steps), lambda: 0.5)[0] == (25.0, 25.5)


def test_writing_that_takes_a_little_longer_each_time_takes_2_percent():
    times = itertools.accumulate(
        itertools.repeat(1.3), lambda seconds, factor: min(seconds * factor, 10.0), initial=0.5
    )
    assert 0.01 < largest_part(simulate(5_000, lambda: 0.3, lambda: next(times))) <= 0.02


@pytest.mark.parametrize("seed", range(5))
def test_a_disk_that_is_slow_at_times_takes_no_more_either(seed):
    """By more than the one writing that took longer than the last."""
    chance = random.Random(seed)
    times = [0.1, 0.1, 0.1, 5.0]
    written = simulate(20_000, lambda: 0.2, lambda: chance.choice(times))
    assert len(written) > 50
    [(_, first), *_, (_, end)] = written
    assert sum(ended - began for began, ended in written[1:]) <= PART_OF_TIME * (end - first) + max(times)


def test_a_long_validation_is_followed_by_no_crowd_of_checkpoints():
    steps = itertools.chain(itertools.repeat(0.1, 400), [3000.0], itertools.repeat(0.1))
    written = simulate(3_300, lambda: next(steps), lambda: 0.2)
    after = [start for start, _ in written if start > 3040]
    assert all(second - first > 0.2 / PART_OF_TIME for first, second in itertools.pairwise(after))
