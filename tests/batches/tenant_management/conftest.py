"""These tests change rows only: they share one database."""

from pathlib import Path

import pytest

from include.skillreport.core.execution.object_store import ObjectStore
from tests.shared_database import connection, database, platform, shared_copy, shared_database

__all__ = ["connection", "database", "platform", "shared_copy", "shared_database"]


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty directory for files."""
    return ObjectStore(tmp_path / "store")
