"""Fresh stand-ins and an empty database for each test, and a tenant whose settings point at the stand-ins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.skillreport.messaging import pacing, sender, throttle
from local_stack.stand_ins import StandIns, faults
from tests.messaging.sending import Tenant, key_pair
from tests.virtual_time import VirtualTime
from tests.worlds.shared_database import connection, database, shared_copy, shared_database

__all__ = ["connection", "database", "shared_copy", "shared_database"]


@pytest.fixture
def services() -> Iterator[StandIns]:
    """The services."""
    with StandIns(line_works_public_key=key_pair()[1]) as stand_ins:
        yield stand_ins


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The services count all requests of a test as simultaneous."""
    VirtualTime().replace_clock(monkeypatch, faults)


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> VirtualTime:
    """The time of the senders and of the services' rate limits: it passes while a sender waits."""
    clock = VirtualTime()
    for module in (sender, throttle, pacing, faults):
        clock.replace_clock(monkeypatch, module)
    return clock


@pytest.fixture
def tenant(services: StandIns) -> Tenant:
    """One tenant's settings."""
    return Tenant(services)
