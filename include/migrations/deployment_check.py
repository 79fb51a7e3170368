"""Check at the start of each run that the database has the schema that this code needs. Does not import Alembic."""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.database import count_of
from include.errors import SchemaError
from include.migrations.host_contract import HostVariant, check_host, check_single_tenant

_VERSIONS = Path(__file__).with_name("versions")


def check_deployment(connection: psycopg.Connection) -> None:
    """Check the revision of schema ``batch`` and the variant of the host.

    :raises SchemaError: says what is missing and which command to run.
    """
    upgrade_hint = "`python -m include.migrations upgrade` を実行してください"
    variant = check_host(connection)
    if connection.execute("SELECT to_regclass('batch.deployment')").fetchone() == (None,):
        raise SchemaError(f"このデータベースにスキーマ batch がありません。{upgrade_hint}。")
    deployed = connection.execute("SELECT host_variant, revision FROM batch.deployment").fetchone()
    if deployed is None or deployed[1] != head_revision():
        found = "なし" if deployed is None else deployed[1]
        raise SchemaError(
            f"スキーマ batch の版は {found} ですが、このコードには {head_revision()} が必要です。{upgrade_hint}。"
        )
    if deployed[0] != variant:
        raise SchemaError(
            f"スキーマ batch のビューはホストの {deployed[0]} 版のものですが、ホストは {variant} 版です。{upgrade_hint}。"
        )
    if variant is HostVariant.BASE:
        check_single_tenant(count_of(connection, "SELECT count(*) FROM batch.all_tenant"))


def head_revision() -> str:
    """The newest revision of this code."""
    return max(path.name.split("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))
