"""``airflow_settings.yaml``: the project's own file, and what Airflow imports of any such file."""

from __future__ import annotations

from pathlib import Path

from skill_batch.board.database import CONNECTION as BOARD_CONN_ID
from skill_batch.hooks.tenant_db import CleanupDbHook, PlatformDbHook, TenantDbHook
from skill_batch.network import ALLOWED_HOSTS_VARIABLE, MAILBOX_CONN_ID, SMTP_CONN_ID
from skill_batch.notifiers.channels import OPS_EMAIL_CONN_ID, OPS_HTTP_CONN_ID, OPS_SLACK_CONN_ID
from skill_batch.object_storage import UPLOAD_VARIABLE, VARIABLE
from include.skillreport.batches.data_backup.mac import MAC_CONNECTION
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.batches.log_cleanup.batch import ROOTS_VARIABLE
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from include.skillreport.schema.deploy import BOARD
from local_stack.airflow_settings import (
    BACKUP_CONNECTION,
    DATABASE_CONNECTIONS,
    LOG_ROOTS_VARIABLE,
    TOOLS_VARIABLE,
    DatabaseAddress,
    load_airflow_settings,
)
from tests.airflow_installation import PROJECT

SAMPLE = """
airflow:
  connections:
    - conn_id: skill_batch_tenant_db
      conn_type: postgres
      conn_host: 127.0.0.1
      conn_port: 1
      conn_schema: db
      conn_login: batch_tenant
      conn_password: "p@ss: word"
    - conn_id: other
      conn_type: http
      conn_host: example.jp
  pools:
    - pool_name: narrow
      pool_slot: 2
      pool_description: 狭い
  variables:
    - variable_name: greeting
      variable_value: こんにちは
"""


def test_the_projects_file_defines_every_connection_that_the_code_asks_for() -> None:
    settings = load_airflow_settings(PROJECT / "airflow_settings.yaml")
    assert set(settings.connections) == {
        TenantDbHook.default_conn_name,
        PlatformDbHook.default_conn_name,
        CleanupDbHook.default_conn_name,
        BOARD_CONN_ID,
        OPS_SLACK_CONN_ID,
        OPS_EMAIL_CONN_ID,
        OPS_HTTP_CONN_ID,
        SMTP_CONN_ID,
        MAILBOX_CONN_ID,
        BACKUP_CONNECTION,
        MAC_CONNECTION,
    }
    assert set(settings.variables) == {
        VARIABLE,
        UPLOAD_VARIABLE,
        ALLOWED_HOSTS_VARIABLE,
        BIN_VARIABLE,
        ROOTS_VARIABLE,
    }
    assert (CONNECTION, BIN_VARIABLE, ROOTS_VARIABLE) == (
        BACKUP_CONNECTION,
        TOOLS_VARIABLE,
        LOG_ROOTS_VARIABLE,
    )
    assert settings.passwords.keys() == {TenantDbHook.role, PlatformDbHook.role, CleanupDbHook.role, BOARD}
    assert settings.database.host == "127.0.0.1"


def test_an_astro_file_becomes_what_airflow_imports(tmp_path: Path) -> None:
    file = tmp_path / "airflow_settings.yaml"
    file.write_text(SAMPLE, encoding="utf-8")

    settings = load_airflow_settings(file)

    assert settings.connections["skill_batch_tenant_db"] == {
        "conn_type": "postgres",
        "host": "127.0.0.1",
        "port": 1,
        "schema": "db",
        "login": "batch_tenant",
        "password": "p@ss: word",
    }
    assert settings.variables == {"greeting": "こんにちは"}
    assert settings.pools == {"narrow": {"slots": 2, "description": "狭い", "include_deferred": False}}


def test_only_the_database_connections_follow_an_external_server(tmp_path: Path) -> None:
    file = tmp_path / "airflow_settings.yaml"
    file.write_text(SAMPLE, encoding="utf-8")

    moved = (
        load_airflow_settings(file)
        .at(
            DatabaseAddress("db.example.jp", 5433, "skills"),
            tmp_path / "storage",
            "/usr/lib/postgresql/18/bin",
            tmp_path / "logs",
        )
        .connections
    )

    assert moved["other"]["host"] == "example.jp"
    assert "skill_batch_tenant_db" in DATABASE_CONNECTIONS
    assert {name: moved["skill_batch_tenant_db"][name] for name in ("host", "port", "schema", "login")} == {
        "host": "db.example.jp",
        "port": 5433,
        "schema": "skills",
        "login": "batch_tenant",
    }
