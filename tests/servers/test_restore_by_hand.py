"""The lines of the page with which a DBA restores a backup without this project, on an empty server of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from local_stack.stack import PROJECT
from tests.conftest import Database, Server
from tests.servers.debian_server import debian_server, programs_of
from tests.worlds.backup_stages import planted_backups, taken_backups
from tests.worlds.backups import Backups, of_tenant

__all__ = ["planted_backups", "taken_backups"]

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

PAGE = PROJECT / "docs" / "install" / "database.md"
HEADING = "### Without this project"
BACKUP = "BKP_20261101_001"


def test_the_six_lines_restore_everything_on_an_empty_server(taken_backups: Backups, tmp_path: Path) -> None:
    taken = taken_backups
    lines = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("```sh\n")[2].partition("```")[0]
    assert len(lines.splitlines()) == 6
    shutil.copytree(taken.root / "backups" / taken.newest, tmp_path / BACKUP)
    with debian_server(17) as url:
        target = urlsplit(url)
        about = {"PGHOST": "127.0.0.1", "PGPORT": str(target.port), "PGUSER": "postgres"}
        path = f"{programs_of(17)}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["/bin/sh", "-c", lines],
            cwd=tmp_path,
            env={"PATH": path, "PGPASSWORD": str(target.password), **about},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "pg_restore" not in done.stderr
        server = Server(url, "127.0.0.1", target.port or 0)
        restored = Database(taken.database.name, server)
        assert of_tenant(restored, "A") == of_tenant(taken.database, "A")
        with psycopg.connect(url) as admin, taken.database.connect() as original:
            query = "SELECT datcollate FROM pg_database WHERE datname = %s"
            for connection in (admin, original):
                assert connection.execute(query, [restored.name]).rowcount == 1
        with psycopg.connect(server.dsn(restored.name)) as connection:
            owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'batch.backup'::regclass"
            assert connection.execute(owner).fetchone() == ("batch_owner",)
