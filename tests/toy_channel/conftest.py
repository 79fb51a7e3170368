"""A deployment with one channel more: its folder is registered, and ``upgrade`` has written it to the database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from tests.board.conftest import board
from tests.conftest import PASSWORDS, Database, Server
from tests.toy_channel.service import ToyService, toy_service
from tests.toy_channel.toy import TOY
from tests.worlds.shared_database import database, shareable_copy, shared_database

__all__ = ["board", "database", "shared_database"]


@pytest.fixture(scope="session")
def shared_copy(server: Server, templates: dict[HostVariant, str]) -> Iterator[Database]:
    """A database with the channel, for all tests of the folder."""
    with shareable_copy(server, templates[HostVariant.MULTI_TENANT]) as copy:
        with pytest.MonkeyPatch.context() as patched:
            patched.setitem(CHANNELS, str(TOY), TOY)
            upgrade(copy.dsn, passwords=PASSWORDS)
        yield copy


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of the toy channel in ``messaging/channels/__init__.py``."""
    monkeypatch.setitem(CHANNELS, str(TOY), TOY)


@pytest.fixture
def toy(registered: None, database: Database) -> Iterator[ToyService]:  # noqa: ARG001
    """The service of the deployed channel."""
    with toy_service() as service:
        yield service
