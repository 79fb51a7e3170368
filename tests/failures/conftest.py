"""The external services of the tests of messaging, and one database."""

from tests.messaging.conftest import services
from tests.worlds.shared_database import database, shared_copy, shared_database

__all__ = ["database", "services", "shared_copy", "shared_database"]
