"""The tests of the operations share one database, except those that restore into it, which have ``own_database``."""

from tests.batches.tenant_management.conftest import arrived, store
from tests.conftest import database as own_database
from tests.messaging.conftest import services
from tests.shared_database import connection, database, platform, shared_copy, shared_database

__all__ = [
    "arrived",
    "connection",
    "database",
    "own_database",
    "platform",
    "services",
    "shared_copy",
    "shared_database",
    "store",
]
