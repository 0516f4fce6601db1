"""The arbiter's decisions, without processes: who is spawned, retired, aborted and killed."""

import random
from collections import Counter

import pytest

from ferrule.arbiter.roster import (
    KILL_AFTER_ABORT,
    KILL_AFTER_GRACE,
    LONGEST_BACK_OFF,
    Limits,
    Plan,
    Snapshot,
    View,
    back_off,
    plan,
    recycling_point,
)

LIMITS = Limits(
    timeout=30.0,
    worker_boot_timeout=60.0,
    graceful_timeout=30.0,
    recycle_grace=300.0,
    min_worker_lifetime=0.0,
    worker_lifetime=0.0,
    max_worker_memory=0,
)
NOW = 1000.0


def ready(id: int, *, generation: int = 1, started: float = NOW - 100, beat: float = NOW, **more: object) -> View:
    return View(id, generation, started, ready=started, beat=beat, **more)  # type: ignore[arg-type]


def booting(id: int, *, generation: int = 1, started: float = NOW - 1) -> View:
    return View(id, generation, started)


def snapshot(
    *workers: View,
    target: int = 2,
    generation: int = 1,
    limits: Limits = LIMITS,
    now: float = NOW,
    spawn_after: float = 0.0,
) -> Snapshot:
    return Snapshot(now, target, generation, workers, limits, spawn_after)


def causes(made: Plan) -> list[tuple[int, str]]:
    return [(each.id, each.cause) for each in made.retire]


def test_an_empty_server_spawns_all_its_workers() -> None:
    assert plan(snapshot(target=4)).spawn == 4


def test_a_complete_server_is_left_alone() -> None:
    made = plan(snapshot(ready(1), ready(2)))
    assert (made.spawn, made.retire, made.abort, made.kill) == (0, (), (), ())


def test_booting_workers_count_so_that_nobody_is_spawned_twice() -> None:
    assert plan(snapshot(ready(1), booting(2))).spawn == 0


def test_a_dead_worker_is_replaced_at_once() -> None:
    assert plan(snapshot(ready(1))).spawn == 1


def test_back_off_delays_spawning_and_says_when_to_look_again() -> None:
    made = plan(snapshot(ready(1), spawn_after=NOW + 2))
    assert (made.spawn, made.look_again) == (0, NOW + 2)
    assert plan(snapshot(ready(1), spawn_after=NOW)).spawn == 1


def test_a_reload_spawns_first_and_retires_nobody_before_the_replacement_is_ready() -> None:
    old = (ready(1), ready(2))
    assert plan(snapshot(*old, generation=2)) == plan(snapshot(*old, generation=2))
    made = plan(snapshot(*old, generation=2))
    assert (made.spawn, made.retire) == (1, ())
    made = plan(snapshot(*old, booting(3, generation=2), generation=2))
    assert (made.spawn, made.retire) == (0, ())
    made = plan(snapshot(*old, ready(3, generation=2), generation=2))
    assert causes(made) == [(1, "reload")]
    assert made.retire[0].grace == LIMITS.graceful_timeout


def test_a_reload_goes_on_until_every_old_worker_is_gone() -> None:
    made = plan(snapshot(ready(1, retired=NOW), ready(2), ready(3, generation=2), generation=2))
    assert (made.spawn, causes(made)) == (1, [])
    made = plan(snapshot(ready(2), ready(3, generation=2), ready(4, generation=2), generation=2))
    assert (made.spawn, causes(made)) == (0, [(2, "reload")])


def test_a_large_server_replaces_a_quarter_at_a_time() -> None:
    workers = [ready(id) for id in range(1, 17)]
    assert plan(snapshot(*workers, target=16, generation=2)).spawn == 4


@pytest.mark.parametrize(
    ("worker", "limits", "cause"),
    [
        (ready(1, requests=50, max_requests=50), LIMITS, "max-requests"),
        (ready(1), LIMITS._replace(worker_lifetime=100.0), "worker-lifetime"),
        (ready(1, rss=101), LIMITS._replace(max_worker_memory=100), "max-worker-memory"),
        (ready(1, unwanted="request-timeout"), LIMITS, "request-timeout"),
    ],
)
def test_every_cause_of_recycling_takes_the_same_readiness_gated_path(worker: View, limits: Limits, cause: str) -> None:
    made = plan(snapshot(worker, ready(2, started=NOW - 1), limits=limits))
    assert (made.spawn, made.retire) == (1, ())
    made = plan(snapshot(worker, ready(2, started=NOW - 1), ready(3, started=NOW - 1), limits=limits))
    assert causes(made) == [(1, cause)]
    assert made.retire[0].grace == LIMITS.recycle_grace


def test_no_recycling_below_the_minimum_lifetime() -> None:
    limits = LIMITS._replace(min_worker_lifetime=200.0, worker_lifetime=1.0, max_worker_memory=1)
    worker = ready(1, requests=50, max_requests=50, rss=2)
    assert plan(snapshot(worker, ready(2), limits=limits)).spawn == 0
    assert plan(snapshot(worker, ready(2), limits=limits, generation=2)).spawn == 1  # a reload does not wait


def test_recycling_never_takes_capacity_below_the_target() -> None:
    """Follow plans for many workers that are all due at once: ready workers never fall below the target."""
    target, workers, now, id = 6, [ready(n, max_requests=1, requests=1) for n in range(1, 7)], NOW, 6
    lowest = len(workers)
    for _ in range(200):
        made = plan(snapshot(*workers, target=target, now=now))
        for _ in range(made.spawn):
            id += 1
            workers.append(booting(id, started=now))
        leaving = {each.id for each in made.retire}
        workers = [w._replace(retired=now, grace=1.0) if w.id in leaving else w for w in workers]
        serving = [w for w in workers if w.ready is not None and w.retired is None]
        lowest = min(lowest, len(serving))
        now += 0.5
        workers = [w for w in workers if w.retired is None or now - w.retired < 2]
        workers = [w._replace(ready=now, beat=now) if w.ready is None and now - w.started > 1 else w for w in workers]
        workers = [w._replace(beat=now) for w in workers]
    assert lowest == target
    assert {w.id for w in workers}.isdisjoint(range(1, 7))
    assert len(workers) == target


def test_scaling_up_spawns_and_scaling_down_retires_the_oldest() -> None:
    workers = (ready(1, started=NOW - 5), ready(2, started=NOW - 50))
    assert plan(snapshot(*workers, target=3)).spawn == 1
    made = plan(snapshot(*workers, target=1))
    assert causes(made) == [(2, "scaled down")]
    assert made.retire[0].grace == LIMITS.graceful_timeout


def test_scaling_down_prefers_workers_that_are_due_anyway() -> None:
    workers = (ready(1, started=NOW - 50), ready(2, started=NOW - 5, unwanted="request-timeout"))
    assert causes(plan(snapshot(*workers, target=1))) == [(2, "request-timeout")]


def test_no_target_retires_everybody_even_those_who_boot() -> None:
    made = plan(snapshot(ready(1), booting(2), target=0))
    assert {id for id, _ in causes(made)} == {1, 2}
    assert made.spawn == 0


def test_a_stuck_worker_is_asked_for_its_traceback_then_killed_and_replaced_meanwhile() -> None:
    stuck = ready(1, beat=NOW - 31)
    made = plan(snapshot(stuck, ready(2)))
    assert [(each.id, each.cause) for each in made.abort] == [(1, "timeout")]
    assert (made.spawn, made.kill) == (1, ())
    aborted = stuck._replace(aborted=NOW)
    made = plan(snapshot(aborted, ready(2), booting(3)))
    assert (made.abort, made.kill, made.spawn, made.look_again) == ((), (), 0, NOW + KILL_AFTER_ABORT)
    made = plan(snapshot(aborted, ready(2), booting(3), now=NOW + KILL_AFTER_ABORT))
    assert [each.id for each in made.kill] == [1]


def test_a_worker_that_beats_is_not_stuck_and_the_next_look_is_when_it_might_be() -> None:
    made = plan(snapshot(ready(1, beat=NOW - 29), ready(2)))
    assert (made.abort, made.look_again) == ((), NOW + 1)


def test_a_fresh_worker_has_the_whole_timeout_for_its_first_beat() -> None:
    assert plan(snapshot(ready(1, started=NOW - 5, beat=0.0), ready(2))).abort == ()


def test_a_draining_worker_that_is_stuck_is_aborted_too() -> None:
    made = plan(snapshot(ready(1, beat=NOW - 31, retired=NOW - 20, grace=300.0), ready(2), ready(3)))
    assert [each.id for each in made.abort] == [1]


def test_a_worker_that_overstays_its_grace_is_killed() -> None:
    overdue = ready(1, retired=NOW - 30 - KILL_AFTER_GRACE, grace=30.0)
    assert [each.cause for each in plan(snapshot(overdue, ready(2), ready(3))).kill] == ["did not leave in time"]
    patient = ready(1, retired=NOW - 1e6, grace=float("inf"))
    assert plan(snapshot(patient, ready(2), ready(3))).kill == ()


def test_a_worker_that_does_not_boot_in_time_is_killed_and_its_place_taken() -> None:
    made = plan(snapshot(booting(1, started=NOW - 60), ready(2)))
    assert [each.cause for each in made.kill] == ["worker-boot-timeout"]
    assert made.spawn == 1


def test_time_outs_of_zero_are_off() -> None:
    limits = LIMITS._replace(timeout=0.0, worker_boot_timeout=0.0)
    made = plan(snapshot(ready(1, beat=0.0), booting(2, started=0.0), limits=limits))
    assert (made.abort, made.kill, made.look_again) == ((), (), float("inf"))


def test_recycling_points_of_many_workers_are_spread_over_the_whole_range() -> None:
    generator = random.Random(5)
    points = [recycling_point(1000, 100, generator.randint) for _ in range(50)]
    assert min(points) >= 900
    assert max(points) <= 1100
    assert max(points) - min(points) > 150
    assert max(Counter(points).values()) <= 3  # never all at once
    assert sum(point > 1000 for point in points) in range(15, 36)


def test_jitter_stays_within_half_of_a_small_limit() -> None:
    generator = random.Random(5)
    points = {recycling_point(10, 100, generator.randint) for _ in range(500)}
    assert points == set(range(5, 16))
    assert recycling_point(0, 100, generator.randint) == 0
    assert recycling_point(7, 0, generator.randint) == 7


def test_back_off_grows_and_is_bounded() -> None:
    waits = [back_off(failures) for failures in range(40)]
    assert waits[:3] == [0.0, 0.0, 0.0]
    assert waits[3] > 0
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_BACK_OFF
