"""Every text of a deleted tenant's rows in our own tables: gone, or in a column that is kept."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.schema.deletion import TENANT_COLUMN, Rule, deletion_list
from tests.worlds.leaving_stages import leaving, unproved_exports
from tests.worlds.leaving_tenants import Leaving, mark
from tests.worlds.planted_rows import insert, row_of

__all__ = ["leaving", "unproved_exports"]

MARK = "«T» "

# The other columns of the rows that stay: keys, words of the batches, names of our own people, and what the law keeps.
KEPT_OF_BLANKED = {
    "outbox": {
        "created_by",
        "dedupe_key",
        "error_class",
        "error_code",
        "host_log_id",
        "mirrored_status",
        "reported_by",
        "template_key",
    },
    "tenant_outcome": {"error_code"},
    "billing_profile": {
        "address",
        "country",
        "currency",
        "department",
        "partner_code",
        "postal_code",
        "recipient_name",
    },
    "contract_change": {"changed", "decided_by", "decided_in", "entered_by", "execution_id", "reason"},
}


def columns_of(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """The columns that hold texts, with their types, without keys: those name other rows."""
    rows = connection.execute(
        """
        SELECT attname, format_type(atttypid, null) FROM pg_attribute
        WHERE
            attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
            AND atttypid IN ('text'::regtype, 'text[]'::regtype, 'jsonb'::regtype)
            AND NOT EXISTS (
                SELECT FROM pg_constraint WHERE conrelid = attrelid AND contype IN ('p', 'f') AND attnum = ANY(conkey)
            )
        """,
        {"table": f"batch.{table}"},
    )
    return {name: kind for name, kind in rows if name != TENANT_COLUMN}


def mark_rows(connection: psycopg.Connection, table: str) -> set[str]:
    """Put a mark into each text of the tenant's rows; returns the columns that have one. A check allows only words of its own."""
    marked = set()
    person = next(each.person_column for each in deletion_list() if each.name == table)
    key, value = (person, "u-T") if person else (TENANT_COLUMN, "T")
    columns = columns_of(connection, table)
    columns.pop(key, None)
    for column, kind in columns.items():
        text = mark("T", f"{table}.{column}")
        content = {"text": text, "text[]": [text], "jsonb": Jsonb({"value": text})}[kind]
        try:
            changed = connection.execute(
                sql.SQL("UPDATE batch.{} SET {} = %s WHERE {} = %s").format(
                    sql.Identifier(table), sql.Identifier(column), sql.Identifier(key)
                ),
                [content, value],
            )
        except psycopg.errors.CheckViolation:
            continue
        assert changed.rowcount, table
        marked.add(column)
    return marked


def left(connection: psycopg.Connection, table: str) -> set[str]:
    """The columns with marks."""
    return {
        column
        for column in columns_of(connection, table)
        if connection.execute(
            sql.SQL("SELECT FROM batch.{} WHERE strpos({}::text, %s) > 0").format(
                sql.Identifier(table), sql.Identifier(column)
            ),
            [MARK],
        ).rowcount
    }


@pytest.mark.usefixtures("unproved")
def test_texts_stay_only_where_they_are_kept(leaving: Leaving) -> None:
    with leaving.database.connect() as connection:
        for table in deletion_list():
            if not table.is_host and table.person_column and table.name != "person_key":
                row = row_of(connection, table.name, "T") | {table.person_column: "u-T"}
                insert(connection, table.name, row)
        # Rows are changed as they may stand there after years, past triggers that allow only some changes.
        connection.execute("SET session_replication_role = replica")
        own = [
            table
            for table in deletion_list()
            if not table.is_host
            and (table.person_column or TENANT_COLUMN in all_columns(connection, table.name))
            and table.name
            not in ("offboarding", "frozen_person", "frozen_chunk", "deleted_tenant", "person_key")
        ]
        connection.execute(
            "UPDATE batch.tenant_outcome SET status = 'failed', error_code = 'x', error_message = 'x'"
        )
        marks = {table.name: mark_rows(connection, table.name) for table in own}
    assert leaving.problems(leaving.answer(leaving.up_to_question())) == []
    with leaving.database.connect() as connection:
        for table in own:
            stays = left(connection, table.name)
            if table.rule is Rule.BLANK:
                assert stays == KEPT_OF_BLANKED[table.name], table.name
                assert stays <= marks[table.name], table.name
                assert not stays & table.blanks.keys(), table.name
                assert marks[table.name] >= table.blanks.keys(), table.name
            else:
                assert stays == (marks[table.name] if table.rule is Rule.KEEP else set()), table.name


def all_columns(connection: psycopg.Connection, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'batch' AND table_name = %s",
        [table],
    )
    return [name for (name,) in rows]
