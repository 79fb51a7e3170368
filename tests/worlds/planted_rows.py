"""A tenant's row for any table or view of schema ``batch``, generated from the catalogue, so that a new table needs no new test."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.worlds import host_rows

# The values for check constraints that a value generated from the type would not satisfy.
_CHECKED: dict[tuple[str, str], Any] = {
    ("channel", "channel"): "email",
    ("execution_log", "status"): "running",
    ("tenant_outcome", "status"): "pending",
    ("known_key", "kind"): "placeholder",
    ("reconciliation", "placement"): "person",
    ("backup", "status"): "running",
    ("usage_warning", "kind"): "quota",
    ("discount", "kind"): "percentage",
    ("extra_charge", "tax_category"): "standard",
    ("invoice", "kind"): "invoice",
    ("payment", "kind"): "payment",
    ("payment", "source"): "operation",
    ("adjustment", "kind"): "fee",
    ("letter_decision", "kind"): "stop",
    ("letter_copy", "kind"): "cc",
    ("contract_change", "kind"): "discount",
    ("contract_change", "status"): "waiting",
    ("entered_values", "token"): "0123456789abcdef0123456789abcdef",
    ("invoice", "period_start"): date(2026, 10, 1),
    ("invoice_document", "format"): "pdf",
    ("invoice_revision", "revision"): 2,
    ("accounting_month", "month"): date(2026, 10, 1),
    ("tenant_inactivity", "stage"): "none",
    ("inactivity_change", "from_stage"): "none",
    ("inactivity_change", "to_stage"): "warning",
    ("inactivity_change", "reason"): "inactivity",
    ("applied_setting", "source"): "plan",
    ("setting_change", "kind"): "inserted",
    ("incident", "severity"): "warning",
    ("directory_account", "kind"): "member",
    ("directory_account", "state"): "active",
    ("account_link", "matched_by"): "email",
    ("sync_plan", "status"): "planned",
    ("directory_change", "kind"): "link",
    ("statistics_group", "dimension"): "category",
    ("statistics_group", "people"): 5,
    ("monthly_report", "report_month"): date(2026, 10, 1),
    ("monthly_report_file", "format"): "pdf",
    ("operator_alert", "channel"): "slack",
    ("approval_request", "kind"): "invoices",
    ("operator_alert", "severity"): "HIGH",
    ("offboarding", "stage"): "begun",
    ("offboarding_table", "rule"): "delete",
    ("frozen_person", "kind"): "any",
}


def plant(connection: psycopg.Connection, relation: str, tenant_id: str) -> None:
    """As superuser: the tenant's row, and the rows that its foreign keys name. A second call inserts no second row."""
    if relation == "tenant":  # its columns come from the host's
        host_rows.tenant(connection, tenant_id)
        return
    if relation == "tenant_notification_now":  # the same
        host_rows.insert(
            connection,
            "HIS_NotificationLog",
            "ON CONFLICT DO NOTHING",
            id=f"id of {tenant_id}",
            tenant_id=tenant_id,
            recipient_address=f"destination of {tenant_id}",
            updated_at=host_rows.UPDATED_AT,
        )
        return
    if relation == "tenant_employee":  # the same
        host_rows.insert(
            connection,
            "MST_Employee",
            "ON CONFLICT DO NOTHING",
            id=f"employee of {tenant_id}",
            employee_code=f"code of {tenant_id}",
            tenant_id=tenant_id,
            updated_at=host_rows.UPDATED_AT,
        )
        return
    plant_parents(connection, relation, tenant_id)
    host_table = _host_table_of(connection, relation)
    if host_table:  # some of its views are for reading or updating only
        row = {"updated_at": host_rows.UPDATED_AT} | row_of(connection, relation, tenant_id)
        host_rows.insert(connection, host_table, "ON CONFLICT DO NOTHING", **row)
        return
    insert(connection, relation, row_of(connection, relation, tenant_id), "ON CONFLICT DO NOTHING")


def plant_parents(connection: psycopg.Connection, relation: str, tenant_id: str) -> None:
    """The rows that the foreign keys of the tenant's row name."""
    for parent in {parent for parent, _ in foreign_keys(connection, relation).values()} - {relation}:
        plant(connection, parent, tenant_id)


def row_of(connection: psycopg.Connection, relation: str, tenant_id: str) -> dict[str, Any]:
    """The tenant's row: of a table the columns that have to be given, of a view all. Text names its column and tenant."""
    parents = foreign_keys(connection, relation)
    row: dict[str, Any] = {}
    for column, type_name in _columns(connection, relation).items():
        table, source = parents.get(column, (relation, column))
        row[column] = _value(table, source, type_name, tenant_id)
    return row


def insert(connection: psycopg.Connection, relation: str, row: dict[str, Any], on_conflict: str = "") -> None:
    """Insert a row as the role of the connection, in its context."""
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
            sql.Identifier("batch", relation),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
            sql.SQL(on_conflict),
        ),
        list(row.values()),
    )


def _host_table_of(connection: psycopg.Connection, relation: str) -> str | None:
    """The host's table of a view; None for a table."""
    row = connection.execute(
        """
        SELECT DISTINCT host.relname
        FROM pg_class AS view
        INNER JOIN pg_rewrite ON ev_class = view.oid
        INNER JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid
        INNER JOIN pg_class AS host ON refclassid = 'pg_class'::regclass AND refobjid = host.oid
        WHERE
            view.relnamespace = 'batch'::regnamespace AND view.relname = %s AND view.relkind = 'v'
            AND host.relnamespace = 'public'::regnamespace
        """,
        [relation],
    ).fetchone()
    return None if row is None else str(row[0])


def _columns(connection: psycopg.Connection, relation: str) -> dict[str, str]:
    """Name and type of the columns to give."""
    return dict(
        connection.execute(
            """
            SELECT attname, format_type(atttypid, NULL)
            FROM pg_attribute
            INNER JOIN pg_class ON pg_class.oid = attrelid
            WHERE
                relnamespace = 'batch'::regnamespace AND relname = %s AND attnum > 0 AND NOT attisdropped
                AND attgenerated = '' AND attidentity = ''
                AND (relkind = 'v' OR attname = 'tenant_id' OR (attnotnull AND NOT atthasdef))
            ORDER BY attnum
            """,
            [relation],
        ).fetchall()
    )


def foreign_keys(connection: psycopg.Connection, relation: str) -> dict[str, tuple[str, str]]:
    """The table and column that each referencing column names."""
    rows = connection.execute(
        """
        SELECT child.attname, parent_table.relname, parent.attname
        FROM pg_constraint AS foreign_key
        INNER JOIN pg_class AS child_table ON child_table.oid = conrelid
        INNER JOIN pg_class AS parent_table ON parent_table.oid = confrelid
        CROSS JOIN LATERAL unnest(conkey, confkey) AS pair (child_number, parent_number)
        INNER JOIN pg_attribute AS child ON child.attrelid = conrelid AND child.attnum = child_number
        INNER JOIN pg_attribute AS parent ON parent.attrelid = confrelid AND parent.attnum = parent_number
        WHERE contype = 'f' AND connamespace = 'batch'::regnamespace AND child_table.relname = %s
        """,
        [relation],
    )
    return {column: (table, source) for column, table, source in rows}


def _value(relation: str, column: str, type_name: str, tenant_id: str) -> Any:
    if column == "tenant_id":
        return tenant_id
    if (relation, column) in _CHECKED:
        return _CHECKED[relation, column]
    text = f"{column} of {tenant_id}"
    values: dict[str, Any] = {
        "text": text,
        "text[]": [text],
        "integer": 1,
        "bigint": 1,
        "numeric": 1,
        "boolean": False,
        "date": date(2026, 10, 31),
        "timestamp without time zone": datetime(2026, 10, 31),
        "timestamp with time zone": datetime(2026, 10, 31, tzinfo=UTC),
        "jsonb": Jsonb({}),
    }
    assert type_name in values, f"say here what batch.{relation}.{column} of type {type_name} may hold"
    return values[type_name]
