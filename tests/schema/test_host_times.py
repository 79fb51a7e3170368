"""Times of the application that are no dates: infinity, and years that Python cannot represent, in every view over its tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Server, copied_database
from tests.schema.catalogue import rows_of
from tests.schema.statement_plans import all_statements
from tests.worlds import host_rows

NO_DATES = ("infinity", "-infinity", "9999-12-31 23:59:59", "294276-12-31 23:59:59", "4713-01-01 BC")

# Compared by an index of the host's table. Rows whose time is no date are deleted or archived like others.
COMPARED = {
    ("all_finished_notification", "sent_at_utc"),
    ("all_system_log", "created_at_utc"),
    ("all_token", "expires_at_utc"),
}

# The views over the host's tables, directly or through other views, and their columns with a date or a time. is_written: a view
# cannot write an expression, so the column is the host's.
_COLUMNS = """
WITH RECURSIVE used AS (
    SELECT DISTINCT rule.ev_class AS view, need.refobjid AS relation
    FROM pg_rewrite AS rule
    INNER JOIN pg_depend AS need ON need.classid = 'pg_rewrite'::regclass AND need.objid = rule.oid
    INNER JOIN pg_class AS view ON rule.ev_class = view.oid
    WHERE
        view.relnamespace = 'batch'::regnamespace AND view.relkind = 'v'
        AND need.refclassid = 'pg_class'::regclass AND need.refobjid <> rule.ev_class
),
over_host AS (
    SELECT used.view FROM used
    INNER JOIN pg_class AS host ON used.relation = host.oid
    WHERE host.relnamespace = 'public'::regnamespace
    UNION
    SELECT used.view FROM used
    INNER JOIN over_host ON used.relation = over_host.view
)
SELECT
    view.relname, attname,
    EXISTS (
        SELECT FROM unnest(ARRAY['batch_tenant', 'batch_platform', 'batch_board']) AS role (name)
        WHERE
            has_column_privilege(role.name, attrelid, attnum, 'INSERT')
            OR has_column_privilege(role.name, attrelid, attnum, 'UPDATE')
    ) AS is_written
FROM over_host
INNER JOIN pg_class AS view ON over_host.view = view.oid
INNER JOIN pg_attribute ON attrelid = view.oid AND attnum > 0
WHERE atttypid IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype)
ORDER BY view.relname, attnum
"""

# What makes the views show the row. Each table has one row, HIS_NotificationLog one that waits and one that was sent.
_ROWS: list[tuple[str, dict[str, object]]] = [
    ("MST_Tenant", {}),
    ("MST_TenantSettings", {}),
    ("MST_UserAuth", {}),
    ("MST_EmployeeJobType", {"job_type_id": "job"}),
    ("MST_JobTypeSkill", {"job_type_id": "job", "required_level": 1}),
    ("MST_NotificationSettings", {}),
    ("SYS_IntegrationConfig", {}),
    ("SYS_BackupHistory", {}),
    ("SYS_SystemLog", {"request_url": "/"}),
    ("SYS_TenantUsage", {}),
    ("SYS_TokenStore", {}),
    ("HIS_AuditLog", {}),
    ("HIS_NotificationLog", {"id": "waiting", "send_status": "PENDING", "recipient_type": "BILLING_CONTACT"}),
    ("HIS_NotificationLog", {"id": "sent", "send_status": "SENT"}),
    ("HIS_ReportGeneration", {"generation_status": "COMPLETED"}),
    ("HIS_TenantBilling", {"billing_status": "PAID"}),
    ("TRN_GoalProgress", {}),
    ("TRN_PDU", {"activity_type": "certification"}),
    ("TRN_SkillEvidence", {}),
    ("TRN_SkillRecord", {"skill_item_id": "skill"}),
    ("TRN_TrainingHistory", {}),
]

# These read an application's table only to find what was paid, or whom letters are for. Their times are the batches' own.
_OWN_TIMES = {
    "board_billing_address",
    "board_billing_mail",
    "board_invoice",
    "board_receivable",
    "receivable",
}


@pytest.fixture(params=list(HostVariant))
def host(
    request: pytest.FixtureRequest, server: Server, templates: dict[HostVariant, str]
) -> Iterator[psycopg.Connection]:
    """A host of each variant, with a row of tenant A in every table that has times."""
    with (
        copied_database(server, templates[request.param], f"times_{request.param}") as database,
        database.connect() as connection,
    ):
        for table, values in _ROWS:
            host_rows.insert(connection, table, **(_required(connection, table) | values))
        yield connection


def test_no_view_shows_a_time_that_python_cannot_represent(host: psycopg.Connection) -> None:
    columns = _time_columns(host)
    readable = [(view, column) for view, column, is_raw in columns if not is_raw]
    with _context_of_a(host):
        assert {view for view, _ in readable if not rows_of(host, view)} == _OWN_TIMES

    unreadable = []
    for value in NO_DATES:
        with _everywhere(host, value):
            unreadable += [
                (value, view, column) for view, column in readable if not _is_readable(host, view, column)
            ]
    assert unreadable == []


def test_an_end_that_is_no_date_means_no_end(host: psycopg.Connection) -> None:
    for value in NO_DATES:
        edge = date(1, 12, 31) if value.endswith("BC") or value.startswith("-") else date(9999, 1, 1)
        bound = datetime(edge.year, edge.month, edge.day)
        with _everywhere(host, value):
            assert _read(host, "contract_end, contract_start, created_on, updated_on", "all_tenant") == [
                (None, edge, edge, edge)
            ]
            for view in ("all_tenant_setting", "all_required_skill", "all_employee_job_type"):
                assert _read(host, "effective_until_utc, effective_from_utc", view) == [(None, bound)], view
            assert _read(host, "scheduled_at_utc", "all_waiting_notification") == [(bound,)]
            assert (
                _read(host, "expires_on", "all_certificate") == _read(host, "due_on", "all_goal") == [(None,)]
            )
            assert _read(host, "last_login_at_utc", "all_account") == [(None,)]
            assert _read(host, "*", "all_api_request") == _read(host, "*", "all_user_action") == []


def test_no_statement_returns_a_time_as_the_host_has_it(deployed: psycopg.Connection) -> None:
    raw = {(view, column) for view, column, is_raw in _time_columns(deployed) if is_raw}
    assert raw >= COMPARED
    views = {view for view, _ in raw}
    returned = []
    checked = set()
    for folder, name, text in all_statements():
        used = views.intersection(re.findall(r"batch\.(\w+)", text))
        checked |= used
        if used and raw.intersection(_returned_columns(deployed, text)):
            returned.append((folder, name))
    assert checked == views
    assert returned == []


def _time_columns(connection: psycopg.Connection) -> list[tuple[str, str, bool]]:
    """View, column, and whether the column is as the host has it."""
    return [
        (view, column, is_written or (view, column) in COMPARED)
        for view, column, is_written in connection.execute(_COLUMNS)
    ]


def _required(connection: psycopg.Connection, table: str) -> dict[str, object]:
    """Values of the columns that must have one, and of those with a time."""
    values: dict[str, object] = {
        "text": "x",
        "character varying": "x",
        "integer": 1,
        "timestamp": "2026-10-01",
    }
    rows = connection.execute(
        """
        SELECT attname, split_part(format_type(atttypid, null), ' without', 1) FROM pg_attribute
        WHERE
            attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
            AND (attname = 'tenant_id' OR (attnotnull AND NOT atthasdef) OR atttypid = 'timestamp'::regtype)
        """,
        [f'public."{table}"'],
    )
    return {column: "A" if column == "tenant_id" else values[kind] for column, kind in rows}


@contextmanager
def _context_of_a(connection: psycopg.Connection) -> Iterator[psycopg.Transaction]:
    """A transaction in the context of A that may also write the application's tables."""
    with connection.transaction() as transaction:
        connection.execute("SELECT set_config('batch.tenant_id', 'A', true)")
        yield transaction


@contextmanager
def _everywhere(connection: psycopg.Connection, value: str) -> Iterator[None]:
    """Inside, all times of the application have this value, in the context of A."""
    with _context_of_a(connection) as transaction:
        for table in dict.fromkeys(table for table, _ in _ROWS):
            times = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND atttypid = 'timestamp'::regtype",
                [f'public."{table}"'],
            )
            changes = [sql.SQL("{} = {}").format(sql.Identifier(name), value) for (name,) in times]
            connection.execute(
                sql.SQL("UPDATE {} SET {}").format(sql.Identifier(table), sql.SQL(", ").join(changes))
            )
        yield
        raise psycopg.Rollback(transaction)


def _is_readable(connection: psycopg.Connection, view: str, column: str) -> bool:
    try:
        with connection.transaction():
            connection.execute(
                sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier("batch", view))
            ).fetchall()
    except psycopg.DataError:
        return False
    return True


def _read(connection: psycopg.Connection, columns: LiteralString, view: str) -> list[tuple[Any, ...]]:
    return connection.execute(
        sql.SQL("SELECT {} FROM {}").format(sql.SQL(columns), sql.Identifier("batch", view))
    ).fetchall()


def _returned_columns(connection: psycopg.Connection, block: str) -> set[tuple[str, str]]:
    """The view and the column of each value that a block returns unchanged, as PostgreSQL describes its result."""
    names: dict[str, int] = {}
    numbered = re.sub(
        r"%\((\w+)\)s", lambda found: f"${names.setdefault(found[1], len(names) + 1)}", block
    ).replace("%%", "%")
    prepared = connection.pgconn.prepare(b"", numbered.encode())
    assert not prepared.error_message, (block, prepared.error_message)
    result = connection.pgconn.describe_prepared(b"")
    places = [(result.ftable(number), result.ftablecol(number)) for number in range(result.nfields)]
    return {
        (view, column)
        for view, column in connection.execute(
            """
            SELECT relname, attname
            FROM unnest(%s::oid[], %s::smallint[]) AS place (relation, number)
            INNER JOIN pg_attribute ON attrelid = relation AND attnum = number
            INNER JOIN pg_class ON pg_class.oid = relation
            """,
            [[relation for relation, _ in places], [number for _, number in places]],
        )
    }
