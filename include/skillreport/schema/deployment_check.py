"""Check at the start of each run that the database has this code's schema. Does not import Alembic."""

from __future__ import annotations

import psycopg

from include.skillreport.core.database import count_of
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.channels import find_other_channels
from include.skillreport.schema.checks.findings import Finding, refuse, remark
from include.skillreport.schema.checks.host import find_hidden_rows, find_several_tenants
from include.skillreport.schema.deletion import require_all_listed, require_deletion, tables_to_delete_from
from include.skillreport.schema.host_contract import HostVariant, check_host
from include.skillreport.schema.revisions import UPGRADE_HINT, find_other_revision, head_revision


def check_deployment(connection: psycopg.Connection) -> None:
    """Check everything that can change between runs: the host's schema, tenants and row-level security, and schema ``batch``.

    :raises SchemaError: contains the problem and the command to run.
    """
    missing = missing_part(connection)
    if missing:
        raise SchemaError(missing.text)
    variant = check_host(connection)
    other = find_other_deployment(connection, variant)
    if other:
        raise SchemaError(other.text)
    refuse(find_hidden_rows(connection))
    tenants = count_of(connection, "SELECT count(*) FROM batch.all_tenant WHERE status <> 'DELETED'")
    refuse(find_several_tenants(tenants, variant))


def check_deletion(connection: psycopg.Connection) -> None:
    """Check that a tenant can be deleted completely. More tables lose rows than the batches read.

    :raises SchemaError: the installation may not delete, a table is not listed, or row-level security hides rows from the views.
    """
    require_deletion(connection)
    require_all_listed(connection)
    refuse(find_hidden_rows(connection, tables_to_delete_from()))


def find_other_deployment(connection: psycopg.Connection, variant: HostVariant) -> Finding | None:
    """A finding if this code cannot use the last deployment: by its revision, host variant or set of channels."""
    # A schema from before version 1.0.0 has no column oldest_code.
    deployed = connection.execute(
        "SELECT revision, to_jsonb(deployment) ->> 'oldest_code', host_variant FROM batch.deployment"
    ).fetchone()
    revision, oldest_code, views = deployed or (None, None, None)
    other = find_other_revision(revision, oldest_code)
    if other:
        return other
    if views == variant:
        # A newer deployment may have more channels.
        return find_other_channels(connection) if revision == head_revision() else None
    problem = f"スキーマ batch のビューはホストの {views} 版のものですが、ホストは {variant} 版です。"
    return remark("outdated", problem, f"{UPGRADE_HINT}。", "batch")


def missing_part(connection: psycopg.Connection) -> Finding | None:
    """A finding if schema ``batch`` or its views are missing."""
    names = {
        name
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('batch') AND relkind IN ('r', 'v')"
            " AND relname IN ('deployment', 'all_tenant')"
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
