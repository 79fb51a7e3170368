"""Real mail servers of Debian's packages, on ports of 127.0.0.1 and with folders of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mail_servers.programs import missing
from tests.needs import need
from tests.worlds.shared_database import connection, database, shared_copy, shared_database

__all__ = ["connection", "database", "shared_copy", "shared_database"]


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """Skip where the servers cannot run."""
    reason = missing()
    need(not reason, f"make test-mail: {reason}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that the servers' own accounts may enter."""
    path = Path(tempfile.mkdtemp(prefix="mail-servers-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)
