"""BATCH-019-03 with listings that contradict themselves or do not end, at each of the three services."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from local_stack.stand_ins import StandInDirectory, StandIns
from tests.conftest import Database
from tests.worlds.directory_rows import (
    DAY,
    employees,
    graph_user,
    line_works,
    line_works_user,
    links,
    member,
    outcome,
    run_sync,
    slack,
    teams,
)

pytestmark = pytest.mark.tenants("A", admin_email="admin@a.example.jp")


@dataclass(frozen=True)
class Service:
    """A service, and its spelling of a user with another address or in another state."""

    part: str
    connect: Callable[[psycopg.Connection, StandIns], StandInDirectory]
    user: Callable[..., dict[str, Any]]
    other_address: dict[str, Any]
    gone: dict[str, Any]


SERVICES = {
    "slack": Service("slack", slack, member, {"email": "x@example.jp"}, {"deleted": True}),
    "teams": Service("teams", teams, graph_user, {"mail": "x@example.jp"}, {"accountEnabled": False}),
    "line_works": Service(
        "line_works", line_works, line_works_user, {"email": "x@example.jp"}, {"isDeleted": True}
    ),
}


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> Service:
    return SERVICES[request.param]


@pytest.fixture(autouse=True)
def staff(host: psycopg.Connection) -> None:
    """Three employees of the tenant."""
    employees(host, range(1, 4))


def linked(host: psycopg.Connection) -> list[tuple[str, str]]:
    return [(employee, status) for _, employee, status in links(host)]


def mirror(host: psycopg.Connection) -> list[tuple[Any, ...]]:
    return host.execute("SELECT * FROM batch.directory_account ORDER BY external_id").fetchall()


@pytest.mark.parametrize("back_to", [1, 2])
def test_a_listing_whose_cursors_repeat_is_incomplete_and_changes_nothing(
    shared_database: Database, host: psycopg.Connection, services: StandIns, service: Service, back_to: int
) -> None:
    directory = service.connect(host, services)
    directory.pages = [[service.user(number)] for number in (1, 2, 3)]
    directory.next_pages = {3: back_to}

    result = run_sync(shared_database, services)

    assert result.status == "failed"
    assert "すでに読んだページに戻りました" in result.failed_tenants[0].reason
    assert links(host) == []
    # The attempt that the run repeats reads the last page again.
    assert sum(call.startswith("users") for call in directory.calls) < 10


def test_a_cursor_that_names_its_own_page_is_incomplete(
    shared_database: Database, host: psycopg.Connection, services: StandIns, service: Service
) -> None:
    directory = service.connect(host, services)
    directory.pages = [[service.user(1)], [service.user(2)]]
    directory.next_pages = {2: 2}

    assert run_sync(shared_database, services).status == "failed"
    assert links(host) == []


def test_an_account_that_is_listed_twice_with_the_same_values_is_linked(
    shared_database: Database, host: psycopg.Connection, services: StandIns, service: Service
) -> None:
    service.connect(host, services).pages = [
        [service.user(1), service.user(2), service.user(1)],
        [service.user(2)],
    ]

    result = run_sync(shared_database, services)

    assert result.status == "completed"
    assert linked(host) == [("A-E1", "active"), ("A-E2", "active")]


@pytest.mark.parametrize("difference", ["other_address", "gone"])
@pytest.mark.parametrize("in_one_page", [True, False])
def test_an_account_listed_twice_with_different_values_is_reported_and_unchanged(
    shared_database: Database,
    host: psycopg.Connection,
    services: StandIns,
    service: Service,
    difference: str,
    in_one_page: bool,
) -> None:
    directory = service.connect(host, services)
    directory.pages = [[service.user(1), service.user(2)]]
    run_sync(shared_database, services)
    before = (links(host), mirror(host))

    other = service.user(2, **getattr(service, difference))
    twice = service.user(3, **getattr(service, difference)), service.user(3)
    users = [service.user(1), service.user(2), other, *twice]
    directory.pages = [users] if in_one_page else [[user] for user in users]
    directory.expire_deltas()
    result = run_sync(shared_database, services, DAY + timedelta(days=1))

    assert result.status == "completed"
    assert (links(host), mirror(host)) == before
    notes = str(outcome(host, service.part)["notes"])
    assert notes.count("名簿に内容の異なる行が複数あります") == 2, notes


def test_changes_of_one_user_follow_each_other_and_do_not_contradict(
    shared_database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    directory = teams(host, services)
    directory.pages = [[graph_user(1)]]
    run_sync(shared_database, services)

    directory.change(graph_user(1, mail="first@example.jp"))
    directory.change(graph_user(1, mail="second@example.jp"))
    run_sync(shared_database, services, DAY + timedelta(days=1))

    assert host.execute("SELECT email FROM batch.directory_account").fetchall() == [("second@example.jp",)]
