"""Restores the entire database into a new one, or one tenant into a separate schema or over the live rows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg

from include.skillreport.batches.data_backup.archive import restorable_tables
from include.skillreport.batches.data_backup.comparison import comparison_sentence, hashed_tables
from include.skillreport.batches.data_backup.database_dump import load_dump
from include.skillreport.batches.data_backup.database_properties import (
    apply_properties,
    lost_properties,
    tablespaces_sentence,
)
from include.skillreport.batches.data_backup.deleted_tenants import (
    hold_off_deletion,
    mark_deleted_tenants,
)
from include.skillreport.batches.data_backup.files import (
    DUMP_MANIFEST,
    MANIFEST,
    BackupDamagedError,
    Manifest,
    Packer,
    differences,
)
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.ownership import find_owners
from include.skillreport.batches.data_backup.remarks import left_sentence
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.spool import WAITING_BYTES
from include.skillreport.batches.data_backup.tables import list_tables, table_contents
from include.skillreport.batches.data_backup.tenant_comparison import Conflict, compare
from include.skillreport.batches.data_backup.tenant_export import (
    MergedTable,
    manifest_path,
    merge,
    restore_tenant,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.run_log import deleted_sentence
from include.skillreport.core.execution.temporary_files import temporary_folder

log = logging.getLogger(__name__)

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class TenantRestore:
    """The result of a tenant's restore: the schema, the comparison with the live rows before a merge, and the merged tables.

    ``kept``: it was no dry run.
    """

    schema: str
    rows: int
    conflicts: list[Conflict] = field(default_factory=list)
    merged: list[MergedTable] | None = None
    kept: bool = True

    @property
    def merged_rows(self) -> int:
        """The number of rows that a merge wrote."""
        return sum(each.updated + each.inserted for each in self.merged or ())

    @property
    def differing(self) -> dict[str, int]:
        """The differing rows of all tables, in the numbers of ``Conflict``."""
        return {
            name: sum(getattr(conflict, name) for conflict in self.conflicts)
            for name in ("changed", "missing", "new")
        }

    def lines(self) -> list[str]:
        """The report for operators."""
        restored = f"{self.rows} 行をスキーマ {self.schema} に復元しました。"
        return [restored, *(self.notes() if self.conflicts else ["現在の行との違いはありません。"])]

    def notes(self) -> list[str]:
        """The differences from the live rows, or the results of a merge, in total and per table."""
        if self.merged is None:
            changed, missing, new = self.differing.values()
            total = (
                f"復元した行のうち、現在と異なる {changed} 行、現在ない {missing} 行。取得後に増えた {new} 行"
            )
            return [total, *(conflict.sentence() for conflict in self.conflicts)]
        written = {table.name: table for table in self.merged}
        return [
            f"現在の表に {self.merged_rows} 行を書きました"
            if self.kept
            else f"反映すると、現在の表に {self.merged_rows} 行を書きます",
            *(each.merged_sentence(written.get(each.name), kept=self.kept) for each in self.conflicts),
        ]


def restore_database(
    server: DatabaseServer,
    packer: Packer,
    database: str,
    jobs: int,
    *,
    sha256: str,
    with_owners: bool = True,
) -> Manifest:
    """Restore an entire dump into a new database and compare the manifest's tables with the snapshot. Returns the manifest.

    Compares the number of rows and, if the manifest contains a hash, the content. The manifest lacks the tables that
    ``contents_until_awaited`` did not record.

    ``sha256`` is the hash of ``dump.json``, from the database or from the backup's manifest; see ``Packer.read_manifest``. An
    incomplete database is dropped.
    :raises BackupDamagedError: a table differs. :raises BackupError: the database exists, or pg_restore fails.
    """
    manifest = packer.read_manifest(DUMP_MANIFEST, sha256)
    with temporary_folder() as spool:
        load_dump(
            server,
            packer,
            manifest,
            database,
            Path(spool, "dump"),
            jobs=jobs,
            waiting_bytes=WAITING_BYTES,
            with_owners=with_owners,
        )
    with server.dropped_after_error(database):
        log.info("復元した表を、取得時の記録と比べています。")
        with server.connect(database) as connection:
            found = table_contents(connection, list_tables(connection), hashed=hashed_tables(manifest.tables))
        is_whole = with_owners or server.is_superuser()
        wrong = differences(manifest.tables if is_whole else restorable_tables(manifest), found)
        if wrong:
            raise BackupDamagedError(f"復元結果が取得時と一致しません: {'、'.join(wrong)}")
    return manifest


def restore_as_new(
    server: DatabaseServer,
    packer: Packer,
    database: str,
    jobs: int,
    *,
    sha256: str,
    keys: MacKeys,
    with_owners: bool,
    owner: str,
    complete: Callable[[int], None] = lambda _: None,
) -> tuple[str, ...]:
    """Restore an entire dump under a name of the run ``owner``, and rename it when it is compared and complete.

    Returns sentences for operators. Deletes the database of an earlier attempt. Calls ``complete`` with the database's oid just before the
    renaming. ``keys``: of the register of deleted tenants. Errors as ``restore_database``.
    """
    server.refuse_existing(database)
    temporary = server.run_database(owner)
    server.drop(temporary)
    manifest = restore_database(server, packer, temporary, jobs, sha256=sha256, with_owners=with_owners)
    properties = manifest.about.get("database", {})
    with server.dropped_after_error(temporary):
        with server.connect(temporary) as restored:
            register = mark_deleted_tenants(restored, packer.store, keys)
        with server.connect() as connection:
            if properties:
                apply_properties(connection, temporary, properties, with_owner=with_owners)
            number = number_of(connection, temporary)
        with server.connect(temporary) as restored:
            lost = lost_properties(restored, properties, with_owner=with_owners)
        assert number is not None
        complete(number)
        server.rename(temporary, database)
    left = server.databases(server.run_prefix)
    sentences = (
        f"データベース {database} に復元しました（{comparison_sentence(manifest)}）",
        lost,
        tablespaces_sentence(properties),
        deleted_sentence(register.repeated) if register.repeated else None,
        register.unproved_sentence,
        left_sentence(left) if left else None,
    )
    return tuple(filter(None, sentences))


def number_of(connection: psycopg.Connection, database: str) -> int | None:
    """The oid of a database, which does not change with the name; None if it does not exist."""
    return next(iter(_SQL.column(connection, "database_number", database=database)), None)


def entry_of(manifest: Manifest, path: str) -> str:
    """The SHA-256 of another manifest in the backup's manifest. :raises BackupDamagedError: it is not listed."""
    for file in manifest.files:
        if file.path == path:
            return file.sha256
    raise BackupDamagedError(
        f"バックアップの目録に {path} がありません（取得時にいなかったテナントではありませんか）。"
    )


def restore_one_tenant(
    connection: psycopg.Connection,
    packer: Packer,
    tenant_id: str,
    *,
    manifest_sha256: str,
    keys: MacKeys,
    merged: bool = False,
    kept: bool = True,
) -> TenantRestore:
    """Restore a tenant into its own schema and compare it with the live rows. ``merged`` also overwrites the live rows.

    Uses one transaction. If ``kept`` is false (a dry run), it rolls back and only the report remains. ``keys``: of the register of deleted
    tenants.
    :raises BackupError: the tenant is or was deleted; see ``hold_off_deletion``.
    """
    with connection.transaction() as transaction:
        hold_off_deletion(connection, packer.store, keys, tenant_id)
        top = packer.read_manifest(MANIFEST, manifest_sha256)
        path = manifest_path(tenant_id)
        manifest = packer.read_manifest(path, entry_of(top, path))
        log.info("テナント %s の行を復元しています。", tenant_id)
        schema = restore_tenant(connection, packer, manifest)
        tables = find_owners(connection)
        log.info("現在の行と比べています。")
        conflicts = compare(
            connection, schema, manifest, tables, datetime.fromisoformat(str(top.about["snapshot_at"]))
        )
        if merged:
            log.info("現在の行に反映しています。")
        written = merge(connection, schema, manifest, tables) if merged else None
        if not kept:
            raise psycopg.Rollback(transaction)
    return TenantRestore(schema, int(manifest.about["rows"]), conflicts, written, kept)
