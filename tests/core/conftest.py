"""The execution frame's tests change rows only: they share one database."""

from tests.worlds.shared_database import connection, host_database, platform, shared_copy, shared_database

__all__ = ["connection", "host_database", "platform", "shared_copy", "shared_database"]
