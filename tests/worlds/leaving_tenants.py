"""Tenants that leave: rows with marks in every table, and the stages as whole runs with real tools, files and databases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyrage  # type: ignore[import-untyped]
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.approvals import APPROVE
from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.mac import MAC_CONNECTION
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import (
    APPROVE_OFFBOARDING,
    OFFBOARD_TENANT,
)
from include.skillreport.core.postgres_programs import BIN_VARIABLE
from include.skillreport.operations.approve_offboarding.batch import OffboardingApproval
from include.skillreport.operations.offboard_tenant.batch import TenantOffboarding
from include.skillreport.operations.offboard_tenant.form import OPEN_ITEMS
from include.skillreport.operations.offboard_tenant.settings import OffboardingSettings
from include.skillreport.schema.deletion import TENANT_COLUMN, Rule, deletion_list
from include.skillreport.schema.deploy import CLEANUP
from local_stack.batch_runs import LocalInstallation, run_batch
from local_stack.data_management import create_backup_login
from tests.conftest import Database
from tests.schema.catalogue import relations
from tests.worlds import host_rows
from tests.worlds.approval_rows import answer, asked_about
from tests.worlds.backups import BIN, MAC_KEY
from tests.worlds.planted_rows import plant
from tests.worlds.shared_database import lending_copy

DAY = date(2026, 11, 1)
AFTER_WAIT = DAY + timedelta(days=90)
BEGINNER, ASKER, APPROVER = "退会 太郎", "依頼 次郎", "承認 花子"
AT = datetime(2026, 4, 1)

# The values of a beginning that accepts everything that is open.
ACCEPTED = {"reason": "契約終了", **dict.fromkeys(OPEN_ITEMS, True)}

# Tables of the application that are not in the list of deletion by rule, but have rows of a tenant.
_BILLED = "HIS_TenantBilling"


@dataclass
class Leaving:
    """The stages of tenants of one database."""

    database: Database
    root: Path
    identity: Any = field(default_factory=pyrage.x25519.Identity.generate)
    # Of the backup's login; empty: a superuser.
    dsn: str = ""
    # Of a copied stage.
    question: ApprovalRequest | None = None

    @contextmanager
    def copied(self, folder: Path, test: str) -> Iterator[Leaving]:
        """A copy of the database and of the store, for one test."""
        shutil.copytree(self.root, folder)
        with lending_copy(self.database, test) as copy:
            yield replace(self, database=copy, root=folder)

    @property
    def request(self) -> ApprovalRequest:
        """The request of the question that the copied stage has asked."""
        assert self.question is not None
        return self.question

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(self.root)

    def stage(
        self,
        operation: str,
        tenant: str = "T",
        values: Mapping[str, Any] | None = None,
        *,
        day: date = DAY,
        person: str = BEGINNER,
        dry_run: bool = False,
    ) -> RunResult:
        """A whole run of ``offboard_tenant``."""
        with ExitStack() as stack:
            access = self._access(stack)
            return run_batch(
                access.installation.platform_connection,  # type: ignore[attr-defined]
                access.installation.platform_connection,  # type: ignore[attr-defined]
                OFFBOARD_TENANT,
                TenantOffboarding(access, OffboardingSettings.load(), BillingSettings.load().issuer),
                day,
                codes=(tenant,),
                parameters={"operation": operation, **(values or {})},
                triggered_by=person,
                dry_run=dry_run,
                run_at=datetime(day.year, day.month, day.day, 1, tzinfo=UTC),
            )

    def begun(self, tenant: str = "T") -> RunResult:
        """Begin with everything that is open accepted."""
        return self.stage("begin", tenant, ACCEPTED)

    def exported(self, tenant: str = "T") -> RunResult:
        return self.stage("export", tenant, {"age_key": str(self.identity.to_public())})

    def asked(self, tenant: str = "T", day: date = AFTER_WAIT, person: str = ASKER) -> ApprovalRequest:
        """The question, and the request that its run makes."""
        result = self.stage("ask", tenant, day=day, person=person)
        assert result.status == "completed", self.problems(result)
        asked = asked_about(self.database, result)
        assert asked is not None
        return asked.request

    def up_to_question(self, tenant: str = "T") -> ApprovalRequest:
        for result in (self.begun(tenant), self.exported(tenant)):
            assert result.status == "completed", self.problems(result)
        return self.asked(tenant)

    def answer(
        self, request: ApprovalRequest, person: str = APPROVER, option: str = APPROVE, **options: Any
    ) -> RunResult:
        """The answer, and the whole run that applies it."""
        with ExitStack() as stack:
            batch = OffboardingApproval(self._access(stack), BillingSettings.load().issuer)
            return answer(
                self.database,
                request,
                APPROVE_OFFBOARDING,
                batch,
                option,
                person=person,
                at=datetime(2027, 2, 1, tzinfo=UTC),
                **options,
            )

    def problems(self, result: RunResult) -> list[str]:
        """The errors of a run's tenants."""
        with self.database.connect() as connection:
            rows = connection.execute(
                "SELECT error_message FROM batch.tenant_outcome WHERE execution_id = %s AND status = 'failed'",
                [result.execution_id],
            )
            return [message for (message,) in rows]

    def offboarding(self, column: str) -> Any:
        """A value of the newest row."""
        with self.database.connect() as connection:
            row = connection.execute(
                sql.SQL(
                    "SELECT {} FROM batch.offboarding ORDER BY begun_at DESC, offboarding_id DESC LIMIT 1"
                ).format(sql.Identifier(column))
            ).fetchone()
        assert row is not None
        return row[0]

    def _access(self, stack: ExitStack) -> BackupAccess:
        platform = stack.enter_context(self.database.connect("batch_platform"))
        cleanup = stack.enter_context(self.database.connect(CLEANUP))
        installation = LocalInstallation(
            platform,
            object_store=self.store,
            cleanup_connection=cleanup,
            databases={CONNECTION: self.dsn or self.database.dsn},
            secrets={MAC_CONNECTION: MAC_KEY},
            variables={BIN_VARIABLE: BIN},
        )
        return BackupAccess(BackupSettings.load(), installation)


def plant_tenant(connection: psycopg.Connection, tenant_id: str, other: str = "") -> None:
    """Rows of the tenant in every table of the application with rows of tenants, with a mark in every text.

    ``other``: another tenant, whose people stand in these rows as editors.
    """
    for table in deletion_list():
        if table.is_host and (table.rule is not Rule.KEEP or table.name == _BILLED):
            row = _row(connection, table.name, tenant_id)
            if table.person_column and table.name not in ("MST_Employee", "MST_UserAuth"):
                row[table.person_column] = (
                    f"emp-{tenant_id}" if table.key_kind == "employee" else f"u-{tenant_id}"
                )
            if other:
                row |= {
                    name: f"code-{other}"
                    for name in ("updated_by", "approved_by", "mentor_id")
                    if name in row
                }
            host_rows.insert(connection, table.name, **row)


def _row(connection: psycopg.Connection, table: str, tenant_id: str) -> dict[str, Any]:
    columns = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s",
        [table],
    ).fetchall()
    row: dict[str, Any] = {}
    for name, data_type in columns:
        if data_type in ("text", "character varying"):
            row[name] = mark(tenant_id, f"{table}.{name}")
        elif data_type == "ARRAY":
            row[name] = [mark(tenant_id, f"{table}.{name}")]
        elif data_type in ("json", "jsonb"):
            row[name] = Jsonb({"value": mark(tenant_id, f"{table}.{name}")})
        else:
            row[name] = {"boolean": False}.get(data_type, AT if "timestamp" in data_type else 1)
    named: dict[str, dict[str, Any]] = {
        "MST_Employee": {"id": f"emp-{tenant_id}", "employee_code": f"code-{tenant_id}"},
        "MST_UserAuth": {"user_id": f"u-{tenant_id}", "employee_id": f"code-{tenant_id}"},
        "MST_Tenant": {"tenant_code": tenant_id, "status": "INACTIVE", "contract_end_date": AT},
    }
    fixed = {TENANT_COLUMN: tenant_id, "is_deleted": False} | named.get(table, {})
    return row | {name: value for name, value in fixed.items() if name in row}


def mark(tenant_id: str, place: str) -> str:
    """A text that no other tenant has."""
    return f"«{tenant_id}» {place}"


def plant_own(connection: psycopg.Connection, tenant_id: str) -> None:
    """A row of the tenant in every table of ours, with its id in every text."""
    for relation in relations(connection, "r"):
        if relation not in (
            "offboarding",
            "offboarding_table",
            "frozen_person",
            "frozen_chunk",
            "deleted_tenant",
        ):
            columns = connection.execute(
                "SELECT FROM information_schema.columns WHERE table_schema = 'batch' AND table_name = %s AND column_name = %s",
                [relation, TENANT_COLUMN],
            )
            if columns.rowcount:
                plant(connection, relation, tenant_id)


def marked(connection: psycopg.Connection, text: str, tables: Sequence[str] | None = None) -> dict[str, int]:
    """The tables of both schemas, or those of these names, with rows that contain the text, and their number."""
    names = _filled(connection, ["public", "batch"], tables)
    return {name: len(rows) for name, rows in _rows_with(connection, text, names).items()}


def whole(connection: psycopg.Connection, tenant_id: str) -> dict[str, list[str]]:
    """The application's rows with marks of the tenant, by table."""
    return _rows_with(connection, f"«{tenant_id}»", _filled(connection, ["public"]))


def _filled(
    connection: psycopg.Connection, schemas: Sequence[str], tables: Sequence[str] | None = None
) -> list[tuple[str, str]]:
    """Schema and name of the tables that have or had rows."""
    return connection.execute(
        """
        SELECT nspname, relname FROM pg_class INNER JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE
            nspname = ANY(%(schemas)s) AND relkind = 'r' AND pg_relation_size(pg_class.oid) > 0
            AND (%(tables)s::text[] IS null OR relname = ANY(%(tables)s::text[]))
        ORDER BY 1, 2
        """,
        {"schemas": schemas, "tables": tables},
    ).fetchall()


def _rows_with(
    connection: psycopg.Connection, text: str, tables: Sequence[tuple[str, str]]
) -> dict[str, list[str]]:
    """The rows that contain the text, by table, in one statement."""
    found: dict[str, list[str]] = {}
    selects = [
        sql.SQL("SELECT {}, own::text FROM {} AS own WHERE strpos(own::text, {}) > 0").format(
            ".".join(table), sql.Identifier(*table), text
        )
        for table in tables
    ]
    if selects:
        for name, row in connection.execute(sql.SQL(" UNION ALL ").join(selects) + sql.SQL(" ORDER BY 1, 2")):
            found.setdefault(name, []).append(row)
    return found


@contextmanager
def backup_login(database: Database) -> Iterator[str]:
    """A login for backups that is no superuser; its name. The password is test-backup."""
    role = f"backup_{os.urandom(4).hex()}"
    with database.connect() as host:
        create_backup_login(host, {"login": role, "password": "test-backup"})
        try:
            yield role
        finally:
            host.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(role)))
            host.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
