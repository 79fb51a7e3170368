"""The tests of the operations share one database, except those that restore into it, which have ``own_database``."""

from tests.batches.tenant_management.conftest import arrived
from tests.conftest import database as own_database
from tests.messaging.conftest import services
from tests.worlds.backup_stages import planted_backups, taken_backups
from tests.worlds.billing_rows import billed
from tests.worlds.contract_entries import tenants
from tests.worlds.leaving_stages import asked_stage, exported_stage, frozen_stage, planted_stage
from tests.worlds.shared_database import connection, database, platform, shared_copy, shared_database

__all__ = [
    "arrived",
    "asked_stage",
    "billed",
    "connection",
    "database",
    "exported_stage",
    "frozen_stage",
    "own_database",
    "planted_backups",
    "planted_stage",
    "platform",
    "services",
    "shared_copy",
    "shared_database",
    "taken_backups",
    "tenants",
]
