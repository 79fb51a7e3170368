"""The demo's login for backups, which every `make demo`, `make up` and `make env` makes sure of."""

from __future__ import annotations

import os

import psycopg

from local_stack.data_management import create_backup_login
from tests.conftest import Database
from tests.worlds.backups import login


def test_the_login_can_be_made_again_with_another_password(database: Database) -> None:
    role = f"backup_{os.urandom(4).hex()}"
    with database.connect() as admin:
        try:
            for password in ("first", "second"):
                create_backup_login(admin, {"login": role, "password": password})
            with psycopg.connect(login(database, role, "second")) as connection:
                assert connection.execute(
                    "SELECT rolbypassrls, rolcreatedb, rolsuper FROM pg_roles WHERE rolname = current_user"
                ).fetchone() == (True, True, False)
        finally:
            admin.execute(f"DROP OWNED BY {role} CASCADE")
            admin.execute(f"DROP ROLE {role}")
