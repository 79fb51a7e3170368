"""The cases share one database and one set of stand-ins, whose addresses are in their rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.schema.host_contract import HostVariant
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.contracts.case import Case, Form, World
from tests.contracts.runs import Finished, Trial
from tests.contracts.state import State, read_state
from tests.messaging.sending import key_pair
from tests.worlds.flow_run import FlowRun
from tests.worlds.kept_rows import planted_once
from tests.worlds.shared_database import delete_rows, lending_copy, shareable_copy, shared_database

__all__ = ["shared_database"]


@pytest.fixture(scope="session")
def shared_copy(deletable_templates: dict[HostVariant, Database]) -> Iterator[Database]:
    """The multi-tenant host, with the permission to delete."""
    template = deletable_templates[HostVariant.MULTI_TENANT]
    with shareable_copy(template.server, template.name) as copy:
        yield copy


@pytest.fixture
def database(
    case: Case, request: pytest.FixtureRequest, deletable_templates: dict[HostVariant, Database]
) -> Iterator[Database]:
    """The shared database, or the case's own."""
    if not case.is_long:
        yield request.getfixturevalue("shared_database")
        return
    with lending_copy(deletable_templates[HostVariant.MULTI_TENANT], str(case)) as copy:
        yield copy


@pytest.fixture
def host_database(database: Database) -> Database:
    """The same."""
    return database


@pytest.fixture(scope="session")
def services() -> Iterator[StandIns]:
    """All services."""
    with StandIns(line_works_public_key=key_pair()[1]) as stand_ins:
        yield stand_ins


@pytest.fixture
def world(
    case: Case,
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    """The case's world without rows and files."""
    world = World(database, host, tmp_path / "files", services)
    _set_up(case, world, monkeypatch)
    return world


@pytest.fixture
def trial(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> Trial:
    """The case in its world, in which nothing has run."""

    def restore() -> None:
        delete_rows(world.database)
        shutil.rmtree(world.folder)
        _set_up(case, world, monkeypatch)
        _plant(case, world)

    return Trial(case, world, _plant(case, world), restore)


@pytest.fixture
def finished(case: Case, world: World) -> Finished:
    """The case after an undisturbed run. The first test of a process does it, and the others copy what it has left."""

    def finish() -> tuple[Trial, State, FlowRun]:
        trial = Trial(case, world, _plant(case, world))
        before, run = read_state(world), trial.run()
        assert not run.has_failed, run.kinds
        return trial, before, run

    key = (str(case), "finished")
    trial, before, run = planted_once(key, world.database, finish, ObjectStore(world.folder))
    run.move(world.database, case.installation(world), case.create_batch and case.create_batch(world))
    return Finished(replace(trial, world=world), run, before, read_state(world))


def _set_up(case: Case, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.folder.mkdir()
    case.prepare(world)
    case.set_up(monkeypatch, world.folder)


def _plant(case: Case, world: World) -> Form:
    return planted_once(str(case), world.database, lambda: case.plant(world), ObjectStore(world.folder))
