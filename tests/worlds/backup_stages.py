"""Tenants before and after a backup, each state reached once in a session. A test that changes one gets a copy.

A folder's ``conftest.py`` imports the fixtures of the session, a module of tests the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Server, copied_database
from tests.worlds.backups import Backups, planted


@pytest.fixture(scope="session")
def planted_backups(
    server: Server, templates: dict[HostVariant, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backups]:
    """Two tenants have people, settings and requests; a third has left."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "planted backups") as database:
        yield planted(database, tmp_path_factory.mktemp("planted") / "store")


@pytest.fixture(scope="session")
def taken_backups(planted_backups: Backups, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backups]:
    """The same with a backup of ``TODAY``."""
    with planted_backups.copied(tmp_path_factory.mktemp("taken") / "store", "taken backups") as backups:
        backups.take()
        yield backups


@pytest.fixture
def backups(planted_backups: Backups, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Backups]:
    """A copy of the planted tenants, for one test."""
    with planted_backups.copied(tmp_path / "store", request.node.name) as copy:
        yield copy


@pytest.fixture
def taken(taken_backups: Backups, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Backups]:
    """A copy of them with their backup, for one test."""
    with taken_backups.copied(tmp_path / "store", request.node.name) as copy:
        yield copy
