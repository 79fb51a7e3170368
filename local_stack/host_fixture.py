"""Create the host application's tables in an empty database, for the demo, the tests and the benchmarks."""

from importlib import resources
from typing import Any

import psycopg

from include.migrations.host_contract import HostVariant

__all__ = ["HostVariant", "create_host_schema"]

MIGRATIONS = {
    HostVariant.BASE: ("base.sql",),
    HostVariant.MULTI_TENANT: ("base.sql", "multi_tenant.sql"),
}


def create_host_schema(conn: psycopg.Connection[Any], variant: HostVariant) -> None:
    """Create the host's 51 tables in schema public of the connected database, in one transaction.

    :raises psycopg.errors.DuplicateTable: the tables exist.
    """
    scripts = resources.files("local_stack") / "host_schema"
    with conn.transaction():
        conn.execute("SET LOCAL search_path TO public")
        for script in MIGRATIONS[variant]:
            conn.execute((scripts / script).read_bytes())
