"""One deployed database, whose catalogue the pages repeat."""

from tests.worlds.shared_database import shared_copy, shared_database

__all__ = ["shared_copy", "shared_database"]
