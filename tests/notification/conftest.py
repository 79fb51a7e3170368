"""Fresh stand-ins for each test, and a tenant whose settings point at them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from include.demo.stand_ins import StandIns
from tests.notification.sending import Tenant, key_pair


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns(line_works_public_key=key_pair()[1]) as stand_ins:
        yield stand_ins


@pytest.fixture
def tenant(services: StandIns) -> Tenant:
    return Tenant(services)
