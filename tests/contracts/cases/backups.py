"""The backup, and restores from it and from the archives of deleted rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from psycopg import sql

from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.batches.log_cleanup.marked import folder_of
from include.skillreport.core.catalog import DATA_BACKUP
from include.skillreport.core.execution.row_archive import archive_names
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from include.skillreport.operations.restore_backup.form import FORM
from local_stack.batch_runs import LocalInstallation
from tests.contracts.case import PERSON, Case, Form, World, entered
from tests.worlds import host_rows, marked_rows
from tests.worlds.backups import TODAY, Backups

_TARGET = "restored_by_the_contract"


def backups(world: World) -> Backups:
    """The backups of the installation."""
    return Backups(world.database, world.folder / "store")


def installation(world: World) -> LocalInstallation:
    """With the connection and the keys of backups."""
    return backups(world).installation


def people(world: World) -> Form:
    for tenant_id in "ABC":
        host_rows.tenant(world.host, tenant_id)
        person = host_rows.user(world.host, tenant_id, f"{tenant_id}1")
        host_rows.request(world.host, person, datetime(2026, 10, 1))
    return {}


def changed_since(world: World) -> Form:
    """After the backup, a person of each tenant got another name, and the account of one is gone."""
    people(world)
    backups(world).take()
    world.host.execute("""UPDATE "MST_Employee" SET full_name = 'changed'""")
    world.host.execute('DELETE FROM "MST_UserAuth"')
    return {}


def archived(world: World) -> Form:
    """BATCH-002 has archived and deleted a marked row of each tenant."""
    people(world)
    marked_rows.close_month(world.host, marked_rows.OLD.date().replace(month=9, day=1))
    for tenant_id in "ABC":
        marked_rows.planted(world.host, f"{tenant_id}1")
    marked_rows.clean(world.database, world.store)
    (name,) = archive_names(world.store, folder_of("A"))
    return {"archive": name}


def drop(world: World) -> None:
    """Drop what an earlier run has restored."""
    for tenant_id in "ABC":
        schema = sql.Identifier(restored_schema(tenant_id))
        world.host.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
    world.host.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(_TARGET)))


def _restore(name: str, plant: Callable[[World], Form], *changes: str, is_long: bool = False) -> Case:
    def planted(world: World) -> Form:
        values = {"tenants": ["A"], "reason": "誤って消した行を戻すため", "target": _TARGET, **plant(world)}
        return entered(FORM, name, values)

    return Case(
        RESTORE_BACKUP,
        name,
        TODAY,
        planted,
        frozenset(changes),
        person=PERSON,
        installation=installation,
        prepare=drop,
        is_long=is_long,
    )


CASES = (
    Case(
        DATA_BACKUP,
        "",
        TODAY,
        people,
        frozenset({"batch.backup", "public.SYS_BackupHistory", "files"}),
        installation=installation,
        is_long=True,
    ),
    _restore("list_deleted_rows", archived),
    _restore("restore_deleted_rows", archived, "public.TRN_SkillRecord"),
    _restore("compare", changed_since, is_long=True),
    _restore("merge", changed_since, "public.MST_Employee", "public.MST_UserAuth", is_long=True),
    _restore("new_database", changed_since, is_long=True),
)
