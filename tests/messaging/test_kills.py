"""A worker that is killed with SIGKILL at any statement, or between a message and its answer: no message is lost or sent twice.

Each worker processes one shard of a batch that sends, against real services and a real database. After the kill the leases end, and
the next runs go on. `make test-all` kills at a sample of the moments, `make test-kills` at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.run_spec import BatchSpec
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.kill_scenes import KILLED, Kill, Scene
from tests.messaging.sending import key_pair
from tests.worlds.outbox_rows import make_due, run_notifications
from tests.worlds.shared_database import delete_rows

# Seconds from a message to its answer, so that a worker can be killed in between.
LATENCY = 0.03

NEVER = Kill()

Begin = Callable[[Scene], tuple[BatchSpec, Run]]


def first_attempt(scene: Scene) -> tuple[BatchSpec, Run]:
    """The daily run, for the first time."""
    scene.throttle()
    return SCHEDULED_NOTIFICATIONS, scene.open(SCHEDULED_NOTIFICATIONS)


def hourly_run(scene: Scene) -> tuple[BatchSpec, Run]:
    """The hourly run after a daily one in which the services failed. The application has cancelled a message in between."""
    services = scene.services
    services.fail_next("slack", "internal_error")
    services.fail_next("slack", "http_503", times=3)
    services.fail_next("teams", 503)
    services.fail_next("line_works", 503)
    services.fail_next("email", "450 4.2.0 Try again later", times=2)
    run_notifications(scene.database, services, codes=[KILLED])
    scene.cancel()
    make_due(scene.host)
    # Closes the channel.
    services.fail_next("teams", 401)
    scene.throttle()
    return NOTIFICATION_RETRY, scene.open(NOTIFICATION_RETRY)


def second_attempt(scene: Scene) -> tuple[BatchSpec, Run]:
    """The daily run again, after its first attempt was killed while its first messages were under way."""
    spec, run = first_attempt(scene)
    scene.work(spec, run, Kill("next", 1))
    return spec, run


@contextmanager
def scene_of(database: Database, begin: Begin, send_seconds: int) -> Iterator[tuple[Scene, BatchSpec, Run]]:
    """A scene on empty tables, and the run whose worker is killed."""
    with StandIns(line_works_public_key=key_pair()[1]) as services, database.connect() as host:
        scene = Scene(database, host, services, send_seconds)
        scene.fill()
        for service in ("email", "slack", "teams", "line_works"):
            services.latency(service, LATENCY)
        spec, run = begin(scene)
        yield scene, spec, run
    delete_rows(database)


def kills_of(database: Database, begin: Begin, send_seconds: int) -> list[Kill]:
    """The moments at which a worker can be killed, in the order of a run that is not."""
    with scene_of(database, begin, send_seconds) as (scene, spec, run):
        earlier = len(scene.services.messages)
        statements = scene.work(spec, run, NEVER).statements
        arrivals = len(scene.services.messages) - earlier
        scene.go_on()
        scene.check()
    assert statements > 20
    # How much an earlier attempt has left depends on the moment of its kill.
    assert arrivals > 0
    return [
        *(Kill(moment, number) for number in range(1, statements + 1) for moment in ("before", "after")),
        *(Kill("arrival", number) for number in range(1, arrivals + 1)),
    ]


def kill_at(database: Database, begin: Begin, kill: Kill, send_seconds: int) -> bool:
    """Kill a worker, and go on; returns whether it did not end before.

    :raises AssertionError: a message was lost, arrived too often, or is not known to the operators.
    """
    with scene_of(database, begin, send_seconds) as (scene, spec, run):
        neighbours = scene.neighbours()
        worked = scene.work(spec, run, kill)
        assert scene.neighbours() == neighbours
        scene.go_on()
        scene.check()
    return worked.was_killed


def check_kills(database: Database, begin: Begin, kills: Sequence[Kill], send_seconds: int) -> None:
    """Kill at each of these moments.

    :raises AssertionError: something went wrong after some of the kills, or too many workers ended before.
    """
    failures, killed = {}, 0
    for kill in kills:
        try:
            killed += kill_at(database, begin, kill, send_seconds)
        except AssertionError as failure:
            failures[str(kill)] = str(failure)
            delete_rows(database)
    assert failures == {}
    # The number of statements differs a little from run to run, and more on a busy machine.
    assert killed >= int(0.9 * len(kills))


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize(("begin", "count"), [(first_attempt, 2), (hourly_run, 2), (second_attempt, 2)])
def test_a_sample_of_the_moments(shared_database: Database, begin: Begin, count: int) -> None:
    # Throttled messages wait for a second: they are left to the next run.
    kills = kills_of(shared_database, begin, send_seconds=1)
    sample = [kills[int((place + 0.5) * len(kills) / count)] for place in range(count)]

    check_kills(shared_database, begin, sample, send_seconds=1)


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("begin", [first_attempt, hourly_run, second_attempt])
def test_all_moments(shared_database: Database, begin: Begin) -> None:
    kills = kills_of(shared_database, begin, send_seconds=30)

    check_kills(shared_database, begin, kills, send_seconds=30)
