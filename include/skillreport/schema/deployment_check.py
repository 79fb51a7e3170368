"""Check at the start of each run that the database has the schema that this code needs. Does not import Alembic."""

from __future__ import annotations

from pathlib import Path

import psycopg

from include.skillreport.core.database import count_of
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks.findings import Finding, refuse, remark
from include.skillreport.schema.checks.host import find_hidden_rows, find_several_tenants
from include.skillreport.schema.host_contract import check_host

_VERSIONS = Path(__file__).with_name("versions")

UPGRADE_HINT = "`python -m include.skillreport upgrade` を実行してください"


def check_deployment(connection: psycopg.Connection) -> None:
    """Check everything that can change between two runs: the host's schema, its tenants, its row-level security, and schema ``batch``.

    :raises SchemaError: contains the problem and the command to run.
    """
    missing = missing_part(connection)
    if missing:
        raise SchemaError(missing.text)
    variant = check_host(connection)
    deployed = connection.execute("SELECT host_variant, revision FROM batch.deployment").fetchone()
    if deployed is None or deployed[1] != head_revision():
        found = "なし" if deployed is None else deployed[1]
        raise SchemaError(
            f"スキーマ batch の版は {found} ですが、このコードには {head_revision()} が必要です。{UPGRADE_HINT}。"
        )
    if deployed[0] != variant:
        raise SchemaError(
            f"スキーマ batch のビューはホストの {deployed[0]} 版のものですが、ホストは {variant} 版です。{UPGRADE_HINT}。"
        )
    refuse(find_hidden_rows(connection))
    tenants = count_of(connection, "SELECT count(*) FROM batch.all_tenant WHERE status <> 'DELETED'")
    refuse(find_several_tenants(tenants, variant))


def missing_part(connection: psycopg.Connection) -> Finding | None:
    """Which part of schema ``batch`` is missing as a whole: the schema itself, or its views."""
    names = {
        name
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('batch') AND relkind IN ('r', 'v')"
        )
    }
    if "deployment" not in names:
        return remark(
            "not-deployed", "このデータベースにスキーマ batch がありません。", f"{UPGRADE_HINT}。", "batch"
        )
    if "all_tenant" not in names:
        return remark(
            "detached",
            "スキーマ batch のビューがありません（detach で取り外されたか、ホストの表ごと削除されました）。",
            "`prisma db push` が終わったら `python -m include.skillreport attach` を実行してください。",
            "batch",
        )
    return None


def head_revision() -> str:
    """The newest revision of this code."""
    return max(path.name.split("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))
