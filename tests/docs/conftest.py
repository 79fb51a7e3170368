"""One deployed database, whose catalogue the pages repeat."""

from tests.shared_database import shared_copy, shared_database

__all__ = ["shared_copy", "shared_database"]
