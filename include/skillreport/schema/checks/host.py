"""Check the content of the host's database: its tenants, and the rows visible to the views."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import psycopg
from psycopg import sql

from include.skillreport.core.database import Statements
from include.skillreport.schema.checks.findings import Finding, error, remark
from include.skillreport.schema.deletion import unlisted_problem, unlisted_tables
from include.skillreport.schema.host_contract import HostVariant, load_contract

_SQL = Statements(Path(__file__).parent)

_UNKNOWN_TENANT_REMEDY = (
    "バッチはこれらの行のテナントを従業員から決め、決められない行はどのテナントにも数えません。"
    "アプリケーションが書くテナント ID を確認してください。"
)

_NAMED_TENANTS = 5


def find_hidden_rows(connection: psycopg.Connection, further: Collection[str] = ()) -> list[Finding]:
    """Host tables (the contract's and ``further`` ones) whose row-level security hides rows from the views.

    The views then return no rows and no error, so a run would treat a full table as empty.
    """
    tables = [*(table.name for table in load_contract()), *further]
    names = _SQL.column(connection, "hidden_tables", tables=tables)
    return [
        error(
            "row-security",
            f'表 "{name}" の行レベルセキュリティが、バッチのビュー（所有者 batch_owner）から行を隠しています。',
            "管理者が `ALTER ROLE batch_owner BYPASSRLS` を実行するか、"
            f'`CREATE POLICY batch_owner ON public."{name}" TO batch_owner USING (true)` を実行してください。',
            name,
        )
        for name in names
    ]


def find_unlisted_tables(connection: psycopg.Connection) -> list[Finding]:
    """A finding about tables that the deletion list lacks. They prevent the deletion of tenants."""
    unlisted = unlisted_tables(connection)
    return [remark("deletion-unlisted", unlisted_problem(unlisted), "", unlisted[0])] if unlisted else []


def find_several_tenants(tenants: int, variant: HostVariant) -> list[Finding]:
    """A finding if a host without tenant columns has several tenants, because accounts cannot be assigned to them.

    ``tenants`` excludes deleted tenants.
    """
    if variant is not HostVariant.BASE or tenants <= 1:
        return []
    return [
        error(
            "several-tenants",
            f'ホストに {tenants} テナントありますが、利用者のテナントを示す列 "MST_Employee"."tenant_id" がありません。',
            "ホストのマルチテナント移行を行ってから `python -m include.skillreport upgrade` を実行してください。",
            "MST_Tenant",
        )
    ]


def count_tenants(connection: psycopg.Connection) -> int:
    """The number of host tenants that are not deleted. Reads the host's table, so it runs as the deployer."""
    return int(_SQL.row(connection, "count_tenants")[0])


def find_unknown_tenants(connection: psycopg.Connection) -> list[Finding]:
    """Tenants in rows that MST_Tenant lacks, by table. Reads the host's tables, so it runs as the deployer."""
    findings = []
    for table in _SQL.column(
        connection, "tables_with_tenant", tables=[table.name for table in load_contract()]
    ):
        unknown = connection.execute(
            sql.SQL(
                "SELECT tenant_id, count(*) FROM {} WHERE tenant_id NOT IN (SELECT tenant_id FROM public.{})"
                " GROUP BY tenant_id ORDER BY count(*) DESC, tenant_id"
            ).format(sql.Identifier("public", table), sql.Identifier("MST_Tenant"))
        ).fetchall()
        if unknown:
            named = "、".join(f"'{tenant_id}'（{rows} 行）" for tenant_id, rows in unknown[:_NAMED_TENANTS])
            further = len(unknown) - _NAMED_TENANTS
            findings.append(
                remark(
                    "unknown-tenant",
                    f'表 "{table}" に、MST_Tenant にないテナントの行があります: {named}'
                    + (f"ほか {further} テナント。" if further > 0 else "。"),
                    _UNKNOWN_TENANT_REMEDY,
                    table,
                )
            )
    return findings
