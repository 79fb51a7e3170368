"""The same services, tenant and database as the tests of messaging have."""

from tests.messaging.conftest import (
    connection,
    database,
    services,
    shared_copy,
    shared_database,
    standing_clock,
    tenant,
)
from tests.worlds.own_settings import settings

__all__ = [
    "connection",
    "database",
    "services",
    "settings",
    "shared_copy",
    "shared_database",
    "standing_clock",
    "tenant",
]
