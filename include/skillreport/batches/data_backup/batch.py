"""BATCH-001: backs up everything from one snapshot, then restores and compares it before the backup counts.

The dump is restored into a scratch database, which proves that it can be restored. The tenants' exports are read from that database, so all
of them show the same snapshot, on any number of tasks and machines. The live database has no long transaction, and is not read per tenant.
"""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import psycopg

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.archive import about_superuser
from include.skillreport.batches.data_backup.comparison import (
    hashed_tables,
    plan_comparison,
    tenant_of_the_day,
)
from include.skillreport.batches.data_backup.database_dump import entries_of_superuser, store_dump
from include.skillreport.batches.data_backup.database_properties import read_properties
from include.skillreport.batches.data_backup.deleted_tenants import (
    correct_entries,
    mark_deleted_tenants,
    refuse_deleted_tenants,
)
from include.skillreport.batches.data_backup.expiry import delete_expired
from include.skillreport.batches.data_backup.files import (
    DUMP_MANIFEST,
    FOLDER,
    MANIFEST,
    Manifest,
    Packer,
)
from include.skillreport.batches.data_backup.ledger import (
    OwnBackup,
    all_tenants,
    begin_backup,
    close_as_failed,
    close_as_verified,
    has_begun,
    own_backup,
    require_unfinished,
    unfinished_backup,
)
from include.skillreport.batches.data_backup.ownership import (
    OwnedTable,
    index_owners,
    left_out,
    owned_tables,
    tenant_rows,
)
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.remarks import dump_remark, left_out_remark
from include.skillreport.batches.data_backup.restore import restore_database
from include.skillreport.batches.data_backup.room import require_local_room, too_small
from include.skillreport.batches.data_backup.server import DatabaseServer
from include.skillreport.batches.data_backup.snapshot import contents_until_awaited, exported_snapshot
from include.skillreport.batches.data_backup.spool import WAITING_BYTES, DatabaseSize, TableSize
from include.skillreport.batches.data_backup.tables import list_tables
from include.skillreport.batches.data_backup.tenant_export import (
    export_tenant,
    manifest_path,
    restore_tenant,
    verify_restored,
)
from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import (
    Outcome,
    Request,
    Run,
    RunRemark,
    TenantBatch,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_remarks import record_remark
from include.skillreport.core.execution.temporary_files import temporary_folder

_SQL = Statements(Path(__file__).parent)

log = logging.getLogger(__name__)

# The room that a local store needs, relative to the last backup.
_GROWTH_PERCENT = 110

_MANIFEST_READERS = 16

# If another session waits this long for a table locked by a dump, all tables are released, and the remaining ones are not verified.
_PATIENCE = timedelta(seconds=30)


@dataclass(frozen=True)
class ExportSource:
    """The database with a run's restored dump, and its tables with tenants' rows."""

    execution_id: str
    backup: OwnBackup
    snapshot: psycopg.Connection
    tables: Sequence[OwnedTable]

    @classmethod
    def open(cls, execution_id: str, backup: OwnBackup, snapshot: psycopg.Connection) -> Self:
        """The source with this connection, prepared by ``index_owners``."""
        return cls(execution_id, backup, snapshot, owned_tables(snapshot))


class DataBackupBatch(TenantBatch):
    """The steps of BATCH-001; see ``include.skillreport.core.execution.batch``. ``dump`` and ``check`` run before the tenants."""

    states = frozenset({"rows"})

    def __init__(self, access: BackupAccess, patience: timedelta = _PATIENCE) -> None:
        self._access = access
        self._patience = patience
        self._settings = access.settings
        self._source: ExportSource | None = None

    def options(self, request: Request) -> dict[str, Any]:
        """``accept_smaller``: accept a dump that is much smaller than the previous one.

        :raises SettingsError: the login does not see all rows. :raises UnsuitableProgramsError: no installed tools fit the server.
        :raises BackupError: a restored database contains deleted tenants.
        :raises ConnectionMissingError: the key is missing.
        """
        self._access.check()
        refuse_deleted_tenants(request.platform, self._access.store(), self._access.mac_keys())
        return {"accept_smaller": request.values.get("accept_smaller") is True}

    def further_tenants(self, request: Request) -> Collection[str]:
        """All tenants, including former ones."""
        return all_tenants(request.platform)

    def announces(self, run: Run) -> bool:
        """True if the backup is of its day. A run for an earlier day contains today's rows."""
        return run.business_date == run.run_date

    # Before the tenants

    def dump(self, work: Work) -> None:
        """Dump the database from one snapshot, record each table's content in it, and store the files.

        :raises BackupError: there is no space, another run is taking a backup, pg_dump fails, or the dump is suspiciously small. Older
            backups do not change.
        """
        server = self._access.server()
        server.check()
        size = server.sizes()
        require_local_room(self._settings.jobs, size)
        is_repeated = has_begun(work.connection, work.run)
        if not is_repeated:
            self._require_store_room(size, work)
        if work.store is None:
            log.info(
                "Dry run: the database has %d bytes, and there is room for its dump", size.database_bytes
            )
            return
        backup_id = begin_backup(
            work.connection,
            work.run,
            work.store,
            self._access.mac_keys(),
            self._access.installation.now(),
            encrypted=self._settings.encrypted,
        )
        self._look_after_register(work, work.store)
        # No other run is active, so failed runs left all existing scratch databases.
        for database in server.databases(server.scratch_prefix):
            server.drop(database)
        packer = self._access.packer(work.store, backup_id)
        # Files of an earlier attempt must not become part of this backup.
        work.store.delete(packer.folder)
        if is_repeated:  # not earlier, because those files used space
            self._require_store_room(size, work)
        manifest = self._take(work, server, packer, backup_id, size.tables)
        self._require_size(work.connection, work.run, manifest.total_bytes)
        written = packer.write_manifest(manifest, DUMP_MANIFEST)
        _SQL.execute(
            work.connection,
            "record_dump",
            execution_id=work.run.execution_id,
            dump_bytes=manifest.total_bytes,
            dump_sha256=written.sha256,
            encrypted=self._settings.encrypted,
        )
        log.info(
            "%s: %d tables, %d rows, %d bytes in %s",
            backup_id,
            len(manifest.tables),
            sum(table.rows for table in manifest.tables),
            manifest.total_bytes,
            work.store.location(packer.folder),
        )

    def _take(
        self, work: Work, server: DatabaseServer, packer: Packer, backup_id: str, sizes: Sequence[TableSize]
    ) -> Manifest:
        """Store the dump of one snapshot; the manifest contains the tables' contents."""
        with (
            temporary_folder() as spool,
            server.connect() as connection,
            exported_snapshot(connection) as snapshot,
        ):
            files = store_dump(
                server,
                packer,
                snapshot,
                Path(spool, "dump"),
                jobs=self._settings.jobs,
                waiting_bytes=WAITING_BYTES,
            )
            left_out = entries_of_superuser(server, packer, files, Path(spool, "contents"))
            comparison = plan_comparison(sizes, self._settings.compare_percent, work.run.business_date)
            tables, properties = list_tables(connection), read_properties(connection)
            contents = contents_until_awaited(
                connection, server.connect, tables, hashed=comparison.tables, patience=self._patience
            )
        compared = comparison.about(contents, [(table.schema, table.name) for table in tables])
        self._record(work, "dump", dump_remark(server, properties, compared["unverified"]))
        about = {
            "backup_id": backup_id,
            "kind": "dump",
            "database": properties,
            "compared": compared,
            "superuser_only": about_superuser(left_out, [(table.schema, table.name) for table in tables]),
        }
        return Manifest(about, files, contents)

    def check(self, work: Work) -> None:
        """Restore the stored files into a scratch database, and compare the recorded tables with the snapshot.

        :raises BackupDamagedError: something differs; then drops the scratch database. :raises BackupError: there is no space.
        """
        if work.run.dry_run:
            return
        server, backup = self._access.server(), unfinished_backup(work.connection, work.run)
        require_local_room(self._settings.jobs, server.sizes())
        scratch = server.scratch_database(backup.backup_id)
        server.drop(scratch)
        packer = self._access.packer(work.files, backup.backup_id, encrypted=backup.encrypted)
        manifest = restore_database(
            server,
            packer,
            scratch,
            self._settings.jobs,
            sha256=backup.dump,
            with_owners=False,
        )
        with server.connect(scratch) as connection:
            index_owners(connection)
        if not server.is_superuser():
            self._record(work, "check", left_out_remark(manifest))
        compared = manifest.about.get("compared", {})
        log.info(
            "%s: %d tables have the rows of the snapshot, %d are unverified; compared by content: %d tables, %d of %d bytes "
            "(compare_percent %d)",
            backup.backup_id,
            len(manifest.tables),
            len(compared.get("unverified", [])),
            len(hashed_tables(manifest.tables)),
            compared.get("bytes", 0),
            compared.get("total_bytes", 0),
            compared.get("percent", 100),
        )

    # Tenant by tenant

    def process(self, work: Work) -> list[Outcome]:
        """Count the rows to export. The backup's own login reads the restored database."""
        if work.run.dry_run:
            return [UnitResult(tenant_id, {"rows": 0}, records=0) for tenant_id in work.tenant_ids]
        source = self._export_source(work.run)
        results: list[Outcome] = []
        for tenant_id in work.tenant_ids:
            rows = tenant_rows(source.snapshot, source.tables, tenant_id)
            results.append(UnitResult(tenant_id, {"rows": rows}, records=rows))
        return results

    def write_files(self, work: Work, tenant_id: str) -> dict[str, Any]:
        """Export the tenant from the restored snapshot. The outcome contains the manifest's hash."""
        source = self._export_source(work.run)
        packer = self._access.packer(work.files, source.backup.backup_id, encrypted=source.backup.encrypted)
        return {"manifest": export_tenant(source.snapshot, source.tables, packer, tenant_id).sha256}

    # After the tenants

    def finish(self, work: Work) -> None:
        """Restore one tenant's export, write the manifest, and then delete older backups.

        :raises BackupError: a tenant's export is missing, so there is no manifest and no backup.
        """
        failed = _SQL.column(work.connection, "failed_exports", execution_id=work.run.execution_id)
        if failed:
            raise BackupError(
                f"{len(failed)} テナントの書き出しが終わっていないため、バックアップは完成していません（{'、'.join(failed[:5])}）。"
            )
        backup = own_backup(work.connection, work.run)
        backup_id = backup.backup_id
        if backup.status == "verified":  # an earlier attempt has closed it
            delete_expired(work, backup_id, self._settings.retention)
            return
        require_unfinished(backup)
        total = self._write_manifest(work, backup)
        server = self._access.server()
        server.drop(server.scratch_database(backup_id))
        log.info("%s is complete: %d bytes, restored and compared", backup_id, total)
        delete_expired(work, backup_id, self._settings.retention)

    def _write_manifest(self, work: Work, backup: OwnBackup) -> int:
        """Check one tenant's export, write the manifest, and record the backup as verified. Returns its bytes."""
        backup_id = backup.backup_id
        packer = self._access.packer(work.files, backup_id, encrypted=backup.encrypted)
        named = {"execution_id": work.run.execution_id}
        exports = _SQL.rows(work.connection, "exported_tenants", **named)
        hashes = {row["tenant_id"]: row["manifest_sha256"] for row in exports}
        tenant_ids = list(hashes)
        files, total = [], 0
        exported: Counter[tuple[str, str]] = Counter()
        compared: dict[str, Any] = {}
        paths = [DUMP_MANIFEST, *map(manifest_path, tenant_ids)]
        # Object stores answer slowly, but many requests concurrently.
        with ThreadPoolExecutor(_MANIFEST_READERS) as pool:
            found = pool.map(packer.entry, paths, [backup.dump, *hashes.values()])
            for path, (entry, manifest) in zip(paths, found, strict=True):
                files.append(entry)
                total += manifest.total_bytes
                if path == DUMP_MANIFEST:
                    compared = manifest.about.get("compared", {})
                else:
                    exported.update({(each.schema, each.name): each.rows for each in manifest.tables})
        with self._access.scratch(backup_id) as snapshot:
            not_exported = left_out(snapshot, exported)
        for each in not_exported:
            log.info("%s: %d rows are in no tenant's export: %s", each.table, each.rows, each.reason)
        checked = tenant_of_the_day(tenant_ids, work.run.business_date)
        if checked is not None:
            self._check_tenant(backup_id, packer, checked, hashes[checked])
        verified_at = datetime.now(UTC)
        about = {
            "backup_id": backup_id,
            "kind": "backup",
            "business_date": work.run.business_date.isoformat(),
            "snapshot_at": backup.snapshot_at.isoformat(),
            "verified_at": verified_at.isoformat(),
            "encrypted": backup.encrypted,
            "tenants": len(tenant_ids),
            "restored_tenant": checked,
            "compared": compared,
            "total_bytes": total,
            "not_per_tenant": [asdict(each) for each in not_exported],
        }
        manifest = Manifest(about, files)
        sha256 = hashlib.sha256(manifest.as_json()).hexdigest()
        _SQL.execute(work.connection, "record_manifest", **named, manifest_sha256=sha256)
        packer.write_manifest(manifest, MANIFEST, self._access.mac_keys())
        packer.read_manifest(MANIFEST, sha256)
        close_as_verified(work.connection, work.run, total, sha256, verified_at)
        return total

    def discard(self, work: Work) -> None:
        """Record an incomplete backup as failed. Its scratch database stays until the next run, because tasks may be cleared."""
        close_as_failed(work.connection, work.run)

    def _require_store_room(self, size: DatabaseSize, work: Work) -> None:
        """Check the space. :raises BackupError: a local store is too small, with the folder and the bytes."""
        free = work.store.free_bytes() if work.store else None
        if work.store is None or free is None:
            return
        row = _last_backup(work.connection, work.run)
        needed = row[1] * _GROWTH_PERCENT // 100 if row else size.database_bytes
        if free < needed:
            raise BackupError(
                f"{too_small(work.store.location(FOLDER), needed, free)}。空けるか、置き場所を広げてください。"
            )

    def _require_size(self, platform: psycopg.Connection, run: Run, dump_bytes: int) -> None:
        row = _last_backup(platform, run)
        # Deleted tenants explain a smaller dump.
        least = max(0, row[0] - row[2]) * self._settings.least_percent / 100 if row else 0
        if dump_bytes < least and not run.options["accept_smaller"]:
            raise BackupError(
                f"ダンプが小さすぎます（{dump_bytes:,} バイト、前回 {row[0] if row else 0:,} バイトの "
                f"{self._settings.least_percent} % 未満）。",
                "DUMP_SMALLER",
            )

    def _record(self, work: Work, step: str, remark: RunRemark) -> None:
        """Record a note for operators. A later attempt of the step replaces it."""
        record_remark(work.connection, work.run, step, remark, self._access.installation.now())

    def _look_after_register(self, work: Work, store: ObjectStore) -> None:
        """Correct the register's entries of deleted tenants from this database, and record the entries that do not count."""
        keys = self._access.mac_keys()
        correct_entries(work.connection, store, keys)
        register = mark_deleted_tenants(work.connection, store, keys)
        details = {"unproved": len(register.unproved), "hasMacKey": bool(keys.keys)}
        self._record(work, "register", RunRemark(details, register.unproved_sentence, "ENTRY_UNPROVED"))

    def _export_source(self, run: Run) -> ExportSource:
        """The restored database. A shard opens it once for all its tenants, and again after a lost connection.

        A separate connection reads the ledger, because the tenants' role cannot. :raises BackupError: the backup is complete, or missing.
        """
        source = self._source
        if source is None or source.execution_id != run.execution_id or source.snapshot.closed:
            with self._access.server().connect() as connection:
                backup = unfinished_backup(connection, run)
            source = ExportSource.open(run.execution_id, backup, self._access.scratch(backup.backup_id))
            # The batch object exists as long as its shard's task.
            weakref.finalize(self, source.snapshot.close)
            self._source = source
        return source

    def _check_tenant(self, backup_id: str, packer: Packer, tenant_id: str, sha256: str) -> None:
        """Restore the export in the scratch database, whose tables have the snapshot's columns."""
        manifest = packer.read_manifest(manifest_path(tenant_id), sha256)
        with self._access.scratch(backup_id) as connection:
            schema = restore_tenant(connection, packer, manifest)
            verify_restored(connection, schema, manifest)


def _last_backup(platform: psycopg.Connection, run: Run) -> tuple[int, ...] | None:
    return _SQL.execute(platform, "last_backup_bytes", execution_id=run.execution_id).fetchone()
