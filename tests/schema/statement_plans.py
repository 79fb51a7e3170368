"""The statements of the project, and what their plans read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.batches.log_cleanup.rows import ROW_CLASSES
from include.skillreport.core.database import plan_for_scans, sql_blocks, tenant_transaction
from tests.schema.host_plan_rows import TENANTS

INCLUDE = Path(__file__).parents[2] / "include" / "skillreport"


@dataclass(frozen=True)
class Statement:
    """How a block is run: its parameters, its role, and whether its transaction is set up by ``plan_for_scans``.

    ``whole``: the tables that it reads as a whole, and why.
    """

    parameters: Mapping[str, Any]
    role: str = "batch_platform"
    scans: bool = False
    whole: Mapping[str, str] = field(default_factory=dict)


def all_statements() -> Iterator[tuple[str, str, str]]:
    """Folder, name and text of each block of the SQL files, and of each statement that BATCH-002 generates for the host's tables."""
    folders = {file.parents[1] for file in INCLUDE.rglob("sql/*.sql")} - {INCLUDE / "schema"}
    for folder in sorted(folders):
        for name, text in sql_blocks(folder).items():
            yield str(folder.relative_to(INCLUDE)), name, text
    for row_class in ROW_CLASSES.values():
        for old in row_class.tables if row_class.is_host else ():
            for name, statement in (("old", old.find()), ("delete", old.delete(["text"]))):
                yield (
                    "batches/log_cleanup",
                    f"{name} {old.table}",
                    statement.as_string().replace('"', ""),
                )


def explain(connection: psycopg.Connection, text: str, statement: Statement) -> dict[str, Any]:
    """The plan of a block in the transaction in which its batch runs it."""
    is_of_tenants = statement.role == "batch_tenant"
    with tenant_transaction(connection, list(TENANTS)) if is_of_tenants else connection.transaction():
        if statement.scans:
            plan_for_scans(connection)
        explained = b"EXPLAIN (FORMAT JSON) " + text.encode()
        row = connection.execute(explained, dict(statement.parameters) or None).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def index_names(plan: dict[str, Any]) -> Iterator[str]:
    """The indexes that a plan reads."""
    if "Index Name" in plan:
        yield plan["Index Name"]
    for child in plan.get("Plans", ()):
        yield from index_names(child)


def reads(plan: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The tables that a plan reads, and whether as a whole: row by row, or along an index without a condition.

    PostgreSQL 15 keeps a branch that it never executes.
    """
    if plan.get("One-Time Filter") == "false":
        return
    if "Relation Name" in plan:
        is_whole = plan["Node Type"] == "Seq Scan" or (
            plan["Node Type"] in ("Index Scan", "Index Only Scan") and "Index Cond" not in plan
        )
        yield plan["Relation Name"], is_whole
    for child in plan.get("Plans", ()):
        yield from reads(child)
