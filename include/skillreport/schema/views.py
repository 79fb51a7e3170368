"""Create, replace and drop the views of schema ``batch``, as ``batch_owner`` in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psycopg
from psycopg import errors, sql

from include.skillreport.schema.checks.privileges import granted
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.leaving import create_leaving_views, withdraw_deletion

FOLDER = Path(__file__).with_name("host_views")

# In loading order, after the variant's file.
_FILES = (
    "tenants",
    "people",
    "employees",
    "activity",
    "skills",
    "notifications",
    "results",
    "documents",
    "board",
)


def replace_views(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    """Make the views and their privileges those of this code.

    A view of the same columns, or of more at its end, is replaced, so that objects outside of the schema may use it. If one has other
    columns, all are dropped and created. Views of other code are dropped. :raises psycopg.Error: an outside object uses a view that is
    dropped.
    """
    try:
        with driver.transaction():
            _create_views(driver, variant, deletes=deletes)
    except errors.InvalidTableDefinition:
        drop_views(driver)
        _create_views(driver, variant, deletes=deletes)


def existing_views(driver: psycopg.Connection) -> dict[str, str]:
    """By the name of each view of the schema: the place of its definition in the catalogue, which changes when it is replaced."""
    return dict(
        driver.execute(
            """
            SELECT relation.relname, definition.ctid::text
            FROM pg_class AS relation
            INNER JOIN pg_rewrite AS definition ON relation.oid = definition.ev_class
            WHERE relation.relnamespace = to_regnamespace('batch') AND relation.relkind = 'v'
            """
        ).fetchall()
    )


def drop_views(driver: psycopg.Connection) -> None:
    """Drop all. :raises psycopg.Error: an outside object uses one."""
    _drop(driver, existing_views(driver))


def _create_views(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    before = existing_views(driver)
    _revoke_privileges(driver)
    for name in (variant, *_FILES):
        driver.execute((FOLDER / f"{name}.sql").read_bytes())
    if deletes:
        create_leaving_views(driver, variant)
    else:
        withdraw_deletion(driver)
    after = existing_views(driver)
    _drop(driver, [name for name, place in before.items() if after[name] == place])


def _revoke_privileges(driver: psycopg.Connection) -> None:
    """Revoke what others may do with the views. A replaced view would keep it."""
    of_views = [(name, role) for name, kind, role in granted(driver, "batch") if kind == "v"]
    if of_views:
        views = [sql.Identifier("batch", name) for name in {name for name, _ in of_views}]
        roles = [
            sql.Identifier(role) if role else sql.SQL("PUBLIC") for role in {role for _, role in of_views}
        ]
        driver.execute(
            sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(", ").join(views), sql.SQL(", ").join(roles))
        )


def _drop(driver: psycopg.Connection, names: Iterable[str]) -> None:
    """In one statement, because they use each other."""
    views = [sql.Identifier("batch", name) for name in names]
    if views:
        driver.execute(sql.SQL("DROP VIEW {}").format(sql.SQL(", ").join(views)))
