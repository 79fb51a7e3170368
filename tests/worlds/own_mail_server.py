"""A tenant's own mail server: the application's row, and the option that allows it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import psycopg

from local_stack.stand_ins import StandIns
from tests.worlds import host_rows

UPDATED_AT = datetime(2026, 10, 1)

SECRET = "smtp-very-secret"
AUTH = {"username": "skill@tenant.example", "password": SECRET}

CONNECTION = {
    "use_tls": True,
    "use_ssl": False,
    "from_address": "skill@tenant.example",
    "from_name": "株式会社テスト",
}


def row(**changes: Any) -> dict[str, Any]:
    """The application's row ``smtp_server``."""
    return {
        "endpoint_url": changes.pop("endpoint_url", "smtp.tenant.example:587"),
        "auth_config": json.dumps({**AUTH, **{name: changes.pop(name) for name in AUTH if name in changes}}),
        "connection_config": json.dumps(CONNECTION | changes),
    }


def own_server(host: psycopg.Connection, own: StandIns, *, allowed: bool = True) -> None:
    """A's own mail server, and the option that allows it."""
    host_rows.insert(
        host,
        "SYS_IntegrationConfig",
        id="integration_smtp",
        tenant_id="A",
        integration_key="smtp_server",
        integration_type="SMTP",
        auth_type="BASIC",
        is_enabled=True,
        updated_at=UPDATED_AT,
        **row(endpoint_url=f"127.0.0.1:{own.smtp_port}", use_tls=False),
    )
    if allowed:
        host_rows.insert(
            host,
            "MST_TenantSettings",
            id="own",
            tenant_id="A",
            setting_key="batch.notification.own_mail_server",
            setting_value="true",
            updated_at=UPDATED_AT,
        )
