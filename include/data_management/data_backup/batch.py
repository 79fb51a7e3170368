"""BATCH-001: everything in one snapshot, restored and compared before it counts.

The one snapshot is pg_dump's. The dump is restored into a scratch database, which proves that it can be, and the tenants' exports are
read from there: they show the very same snapshot, however many tasks and machines share the work and however long it takes, and
the live database neither keeps a transaction open for hours nor is read once per tenant.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import disk_usage
from typing import Any

import psycopg

from include.data_management.data_backup.files import (
    DUMP_MANIFEST,
    FOLDER,
    KEY_CONNECTION,
    MANIFEST,
    BackupDamagedError,
    Manifest,
    Packer,
    StoredFile,
    is_complete,
)
from include.data_management.data_backup.ledger import take_in_stored
from include.data_management.data_backup.restore import (
    entry_of,
    restore_database,
    restore_one_tenant,
)
from include.data_management.data_backup.retention import VerifiedBackup, backups_to_keep
from include.data_management.data_backup.server import (
    BIN_VARIABLE,
    CONNECTION,
    BackupError,
    DatabaseServer,
    exported_snapshot,
    index_tenants,
    list_tables,
    spool_folder,
    table_contents,
)
from include.data_management.data_backup.tenant_export import (
    export_tenant,
    manifest_path,
    restore_tenant,
    verify_restored,
)
from include.database import read_sql
from include.errors import ParameterError, SettingsError, code_of, is_recoverable, reason_of
from include.execution.installation import Installation
from include.execution.object_store import ObjectStore
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult
from include.settings import BackupSettings

_HERE = Path(__file__).parent

log = logging.getLogger(__name__)

ACTIONS = ("backup", "compare", "merge", "restore_database")

# A dump is written uncompressed before it is packed, and a restore needs the same room; a little more than the database's size.
_ROOM_PERCENT = 110


class DataBackupBatch(TenantBatch):
    """The steps of BATCH-001; see ``TenantBatch`` for what each must hold to. ``dump`` and ``check`` come before the tenants."""

    writes_files = True

    def __init__(self, settings: BackupSettings) -> None:
        self._settings = settings
        self._installation: Installation | None = None

    def install(self, installation: Installation) -> None:
        self._installation = installation

    def options(
        self, parameters: Mapping[str, Any], tenants: Sequence[Tenant], *, all_tenants: bool
    ) -> dict[str, Any]:
        """``action``, the backup to restore (empty: the newest), the new database's name, whether a small dump is accepted."""
        action = parameters.get("action") or "backup"
        if action not in ACTIONS:
            raise ParameterError(
                f"操作（action）{action!r} は使えません。{'、'.join(ACTIONS)} のどれかを指定してください。"
            )
        if action == "backup" and not all_tenants:
            raise ParameterError("バックアップは常に全体です。パラメータ tenants を空にしてください。")
        if action in ("compare", "merge") and (all_tenants or not tenants):
            raise ParameterError(
                "復元するテナントをパラメータ tenants に指定してください（全体の復元は restore_database です）。"
            )
        target = str(parameters.get("target") or "").strip()
        if action == "restore_database" and not target:
            raise ParameterError("復元先の新しいデータベース名をパラメータ target に指定してください。")
        return {
            "action": action,
            "backup": str(parameters.get("backup") or "").strip(),
            "target": target,
            "accept_smaller": parameters.get("accept_smaller") is True,
        }

    def verify(
        self,
        platform: psycopg.Connection,
        options: Mapping[str, Any],
        tenants: Sequence[Tenant],  # noqa: ARG002
    ) -> None:
        """Before anything is written: the login sees all rows, the tools fit, the key is there, the backup to restore exists."""
        self._server().check()
        self._identity()
        if options["action"] != "backup":
            self._backup_to_restore(platform, options["backup"])

    def further_tenants(self, platform: psycopg.Connection, business_date: date) -> Collection[str]:  # noqa: ARG002
        """All of them: a tenant that has left has rows as long as the host keeps them."""
        rows = platform.execute("SELECT tenant_id FROM batch.all_tenant")
        return {tenant_id for (tenant_id,) in rows}

    # Before the tenants

    def dump(self, platform: psycopg.Connection, run: Run, store: ObjectStore | None) -> None:
        """Dump the database from one snapshot, note what each table held in it, and store the files.

        :raises BackupError: there is no room, another run is taking a backup, pg_dump fails, or the dump is suspiciously small.
            Nothing older is touched then.
        """
        if run.options["action"] != "backup":
            log.info("%s: nothing is dumped", run.options["action"])
            return
        server = self._server()
        size = server.check()
        self._require_room(size, store)
        if store is None:
            log.info("Dry run: the database has %d bytes, and there is room for it", size)
            return
        backup_id = self._begin(platform, run, store)
        # No other run is at work now: a scratch database that is there belongs to one that came to nothing.
        for database in server.databases(server.scratch_prefix):
            server.drop(database)
        packer = self._packer(store, backup_id)
        # What an earlier try has left must not be taken for this one's.
        store.delete(packer.folder)
        with spool_folder() as spool:
            folder = Path(spool, "dump")
            with server.connect() as connection, exported_snapshot(connection) as snapshot:
                server.dump(snapshot, folder, self._settings.jobs)
                tables = table_contents(connection, list_tables(connection))
            files = self._pack_dump(packer, folder)
        manifest = Manifest({"backup_id": backup_id, "kind": "dump"}, files, tables)
        self._require_size(platform, run, manifest.total_bytes)
        packer.write_manifest(manifest, DUMP_MANIFEST)
        platform.execute(
            read_sql(_HERE, "record_dump"),
            {"execution_id": run.execution_id, "dump_bytes": manifest.total_bytes},
        )
        log.info(
            "%s: %d tables, %d rows, %d bytes in %s",
            backup_id,
            len(tables),
            sum(table.rows for table in tables),
            manifest.total_bytes,
            store.location(packer.folder),
        )

    def check(self, platform: psycopg.Connection, run: Run, store: ObjectStore | None) -> None:
        """Restore what was stored into a scratch database and compare every table with the snapshot; or restore as the form says.

        :raises BackupDamagedError: something differs; the scratch database is gone then.
        """
        if run.options["action"] == "restore_database":
            self._restore_database(platform, run)
            return
        if run.options["action"] != "backup" or store is None:
            return
        server, backup_id = self._server(), self._unfinished_backup(platform, run)
        scratch = server.scratch_database(backup_id)
        server.drop(scratch)
        packer = self._packer(store, backup_id)
        manifest = restore_database(server, packer, scratch, self._settings.jobs, with_owners=False)
        with server.connect(scratch) as connection:
            index_tenants(connection)
        log.info("%s: all %d tables are as they were in the snapshot", backup_id, len(manifest.tables))

    # Tenant by tenant

    def process(
        self,
        connection: psycopg.Connection,  # noqa: ARG002 - the backup's own login reads the restored database
        run: Run,
        tenant_ids: Sequence[str],
    ) -> list[TenantResult | TenantFailure]:
        """Count what there is to export; or restore the tenant."""
        match run.options["action"]:
            case "compare" | "merge":
                return [self._restored(run, tenant_id) for tenant_id in tenant_ids]
            case "restore_database":
                return [TenantResult(tenant_id, {}, records=0) for tenant_id in tenant_ids]
        if run.dry_run:
            return [TenantResult(tenant_id, {"rows": 0}, records=0) for tenant_id in tenant_ids]
        backup_id = self._backup_at_work(run)
        results: list[TenantResult | TenantFailure] = []
        with self._scratch(backup_id) as snapshot:
            tables = [table for table in list_tables(snapshot) if table.has_tenant]
            for tenant_id in tenant_ids:
                rows = sum(content.rows for content in table_contents(snapshot, tables, tenant_id))
                results.append(TenantResult(tenant_id, {"rows": rows}, records=rows))
        return results

    def deliver(
        self,
        connection: psycopg.Connection,  # noqa: ARG002
        run: Run,
        tenant_id: str,
        store: ObjectStore,
    ) -> None:
        """Export the tenant from the restored snapshot."""
        if run.options["action"] != "backup":
            return
        backup_id = self._backup_at_work(run)
        with self._scratch(backup_id) as snapshot:
            export_tenant(snapshot, self._packer(store, backup_id), tenant_id)

    # After the tenants

    def finish(self, platform: psycopg.Connection, run: Run, store: ObjectStore) -> None:
        """Restore one tenant's export, write the manifest, and only then let older backups go.

        :raises BackupError: a tenant is missing, so that there is no manifest and no backup.
        """
        if run.options["action"] != "backup":
            return
        failed = [
            tenant_id
            for (tenant_id,) in platform.execute(
                read_sql(_HERE, "failed_exports"), {"execution_id": run.execution_id}
            )
        ]
        if failed:
            raise BackupError(
                f"{len(failed)} テナントの書き出しが終わっていないため、バックアップは完成していません（{'、'.join(failed[:5])}）。"
                "失敗した process を下流ごと消去（Clear）してください。"
            )
        backup_id, status, snapshot_at = self._own_backup(platform, run)
        if status == "verified":  # closed before
            self._let_go(platform, run, store, backup_id)
            return
        _require_unfinished(backup_id, status)
        packer = self._packer(store, backup_id)
        tenant_ids = [
            tenant_id
            for (tenant_id,) in platform.execute(
                "SELECT tenant_id FROM batch.tenant_outcome WHERE execution_id = %s ORDER BY tenant_id",
                [run.execution_id],
            )
        ]
        files, total = [], 0
        for path in (DUMP_MANIFEST, *map(manifest_path, tenant_ids)):
            entry, manifest = packer.entry(path)
            files.append(entry)
            total += manifest.total_bytes
        checked = tenant_of_the_day(tenant_ids, run.business_date)
        if checked is not None:
            self._check_tenant(backup_id, packer, checked)
        verified_at = datetime.now(UTC)
        about = {
            "backup_id": backup_id,
            "kind": "backup",
            "business_date": run.business_date.isoformat(),
            "snapshot_at": snapshot_at.isoformat(),
            "verified_at": verified_at.isoformat(),
            "encrypted": self._settings.encrypted,
            "tenants": len(tenant_ids),
            "restored_tenant": checked,
            "total_bytes": total,
            "not_per_tenant": [
                f"{table.schema}.{table.name}" for table in self._tables(backup_id) if not table.has_tenant
            ],
        }
        written = packer.write_manifest(Manifest(about, files), MANIFEST)
        packer.read_manifest(MANIFEST, written.sha256)
        with platform.transaction():
            platform.execute(
                read_sql(_HERE, "record_verified"),
                {
                    "execution_id": run.execution_id,
                    "total_bytes": total,
                    "manifest_sha256": written.sha256,
                    "verified_at": verified_at,
                },
            )
            _close_history(platform, run, "SUCCESS", total, written.sha256)
        server = self._server()
        server.drop(server.scratch_database(backup_id))
        log.info("%s is complete: %d bytes, restored and compared; tenant %s too", backup_id, total, checked)
        self._let_go(platform, run, store, backup_id)

    def discard(self, platform: psycopg.Connection, run: Run) -> None:
        """Say of a backup that came to nothing that it did. Its scratch database stays until the next run: an instance may be cleared."""
        with platform.transaction():
            failed = platform.execute(
                read_sql(_HERE, "record_failed"), {"execution_id": run.execution_id}
            ).fetchone()
            if failed:
                _close_history(
                    platform, run, "FAILED", None, None, "実行が失敗しました。理由は Airflow のログにあります"
                )

    # What the steps share

    def _server(self) -> DatabaseServer:
        return DatabaseServer(self._installed.database(CONNECTION), self._installed.variable(BIN_VARIABLE))

    @property
    def _installed(self) -> Installation:
        assert self._installation is not None, "the flow installs a batch before its first step"
        return self._installation

    def _identity(self) -> str | None:
        return self._installed.secret(KEY_CONNECTION) if self._settings.encrypted else None

    def _packer(self, store: ObjectStore, backup_id: str) -> Packer:
        return Packer(
            store,
            f"{FOLDER}/{backup_id}",
            level=self._settings.compression_level,
            identity=self._identity(),
        )

    def _scratch(self, backup_id: str) -> psycopg.Connection:
        server = self._server()
        database = server.scratch_database(backup_id)
        if not server.databases(database):
            raise BackupError(
                f"検証用データベース {database} がありません。dump から下流ごと消去（Clear）してください。"
            )
        return server.connect(database)

    def _tables(self, backup_id: str) -> list[Any]:
        with self._scratch(backup_id) as snapshot:
            return list_tables(snapshot)

    def _require_room(self, size: int, store: ObjectStore | None) -> None:
        needed = size * _ROOM_PERCENT // 100
        with spool_folder() as spool:
            places = [(spool, disk_usage(spool).free)]
        free = store.free_bytes() if store else None
        if store and free is not None:
            places.append((store.location(FOLDER), free))
        for place, available in places:
            if available < needed:
                raise BackupError(
                    f"{place} の空き容量が足りません（必要 {needed:,} バイト、空き {available:,} バイト）。"
                    "空けるか、置き場所を広げてください。"
                )

    def _require_size(self, platform: psycopg.Connection, run: Run, dump_bytes: int) -> None:
        row = platform.execute(
            read_sql(_HERE, "last_dump_bytes"), {"execution_id": run.execution_id}
        ).fetchone()
        least = row[0] * self._settings.least_percent / 100 if row else 0
        if dump_bytes < least and not run.options["accept_smaller"]:
            raise BackupError(
                f"ダンプが小さすぎます（{dump_bytes:,} バイト、前回 {row[0] if row else 0:,} バイトの "
                f"{self._settings.least_percent} % 未満）。データが失われていないか確認し、正しければ"
                "「小さいダンプを認める」を付けて実行してください。"
            )

    def _begin(self, platform: psycopg.Connection, run: Run, store: ObjectStore) -> str:
        """Let the ledger catch up with the store, and write the run's own rows; returns the backup's id.

        :raises BackupError: another run is at work, or this one's backup is complete or deleted.
        """
        execution = {"execution_id": run.execution_id}
        with platform.transaction():
            platform.execute("LOCK TABLE batch.backup IN SHARE ROW EXCLUSIVE MODE")
            other = platform.execute(read_sql(_HERE, "running_backup"), execution).fetchone()
            if other:
                raise BackupError(
                    "別の実行がバックアップ中です（{}、DAG {} の {}）。"
                    "それが終わるのを待ってから、dump を下流ごと消去（Clear）してください。".format(*other)
                )
            own = platform.execute(read_sql(_HERE, "own_backup"), execution).fetchone()
            if own:
                _require_unfinished(str(own[0]), str(own[1]))
            take_in_stored(platform, store, run.execution_id)
            row = platform.execute(
                read_sql(_HERE, "begin_backup"),
                execution | {"business_date": run.business_date, "stored": store.names(FOLDER)},
            ).fetchone()
            assert row is not None
            backup_id = str(row[0])
            if is_complete(store, backup_id):  # its run died before the ledger knew
                raise _is_complete_already(backup_id)
            platform.execute(read_sql(_HERE, "reopen_execution"), execution)
            platform.execute(read_sql(_HERE, "close_abandoned_history"), execution)
            platform.execute(
                read_sql(_HERE, "note_location"),
                {"backup_id": backup_id, "location": store.location(f"{FOLDER}/{backup_id}")},
            )
            platform.execute(
                read_sql(_HERE, "write_history"),
                execution | {"encrypted": self._settings.encrypted},
            )
        return backup_id

    def _own_backup(self, connection: psycopg.Connection, run: Run) -> tuple[str, str, datetime]:
        """Id, status and time of the run's backup."""
        row = connection.execute(read_sql(_HERE, "own_backup"), {"execution_id": run.execution_id}).fetchone()
        if row is None:
            raise BackupError("この実行のダンプがありません。dump から下流ごと消去（Clear）してください。")
        return str(row[0]), str(row[1]), row[2]

    def _unfinished_backup(self, connection: psycopg.Connection, run: Run) -> str:
        """The id of the run's backup. :raises BackupError: it is complete, and stays as it is; or it is deleted."""
        backup_id, status, _ = self._own_backup(connection, run)
        _require_unfinished(backup_id, status)
        return backup_id

    def _backup_at_work(self, run: Run) -> str:
        """The same for a tenant's step, whose own role sees no backups."""
        with self._server().connect() as connection:
            return self._unfinished_backup(connection, run)

    def _pack_dump(self, packer: Packer, folder: Path) -> list[StoredFile]:
        def pack(path: Path) -> StoredFile:
            with path.open("rb") as source:
                return packer.pack(source, f"dump/{path.name}")

        with ThreadPoolExecutor(self._settings.jobs) as pool:
            return list(pool.map(pack, sorted(folder.iterdir())))

    def _check_tenant(self, backup_id: str, packer: Packer, tenant_id: str) -> None:
        """Restore the export in the scratch database, where the tables are as they were."""
        manifest = packer.read_manifest(manifest_path(tenant_id))
        with self._scratch(backup_id) as connection:
            schema = restore_tenant(connection, packer, manifest)
            verify_restored(connection, schema, manifest)

    def _let_go(self, platform: psycopg.Connection, run: Run, store: ObjectStore, own: str) -> None:
        """Delete what retention does not keep, and what runs without a manifest have left."""
        verified = []
        for backup in _verified_backups(platform):
            if is_complete(store, backup.backup_id):
                verified.append(backup)
            else:
                log.warning(
                    "%s was verified, but has no manifest in %s any more: nothing of it is deleted",
                    backup.backup_id,
                    store.location(FOLDER),
                )
        kept = backups_to_keep(verified, self._settings.retention) | {own}
        unfinished = platform.execute(
            read_sql(_HERE, "unfinished_backups"), {"execution_id": run.execution_id}
        )
        leaving = [backup.backup_id for backup in verified if backup.backup_id not in kept]
        # One with a manifest is complete: the next run takes it in.
        leaving += [backup_id for (backup_id,) in unfinished if not is_complete(store, backup_id)]
        # Committed before anything is deleted, so that the next retention finds what a kill has left.
        deleting = platform.execute(read_sql(_HERE, "record_deleting"), {"backup_ids": leaving}).fetchall()
        for (backup_id,) in sorted(deleting):
            # The manifest goes first: what a kill leaves behind is no backup any more.
            store.delete(f"{FOLDER}/{backup_id}/{MANIFEST}")
            store.delete(f"{FOLDER}/{backup_id}")
            with platform.transaction():
                platform.execute(read_sql(_HERE, "record_deleted"), {"backup_id": backup_id})
                platform.execute(read_sql(_HERE, "delete_history"), {"backup_id": backup_id})
            log.info("%s is deleted", backup_id)

    # Restoring

    def _backup_to_restore(self, platform: psycopg.Connection, backup_id: str) -> str:
        store = self._installed.store()
        backups = [
            each.backup_id for each in _verified_backups(platform) if is_complete(store, each.backup_id)
        ]
        if not backups:
            raise ParameterError("検証済みのバックアップが保存先にまだありません。")
        if backup_id and backup_id not in backups:
            raise ParameterError(
                f"バックアップ '{backup_id}' は使えません。使えるのは {'、'.join(backups[-10:])} です。"
            )
        return backup_id or backups[-1]

    def _restored(self, run: Run, tenant_id: str) -> TenantResult | TenantFailure:
        """Restore a tenant as the backup's login, in a transaction of its own."""
        try:
            server = self._server()
            with server.connect() as connection:
                backup_id = self._backup_to_restore(connection, run.options["backup"])
                done = restore_one_tenant(
                    connection,
                    self._packer(self._installed.store(), backup_id),
                    tenant_id,
                    manifest_sha256=_manifest_sha256(connection, backup_id),
                    merged=run.options["action"] == "merge",
                    kept=not run.dry_run,
                )
        except Exception as error:
            return TenantFailure(tenant_id, code_of(error), reason_of(error), is_recoverable(error))
        return TenantResult(
            tenant_id,
            {
                "restored": done.rows,
                "changed": sum(conflict.changed for conflict in done.conflicts),
                "missing": sum(conflict.missing for conflict in done.conflicts),
                "new": sum(conflict.new for conflict in done.conflicts),
                "merged": done.merged_rows or 0,
            },
            records=done.rows,
            report=(f"{tenant_id}（{backup_id}）", *done.lines()),
        )

    def _restore_database(self, platform: psycopg.Connection, run: Run) -> None:
        backup_id = self._backup_to_restore(platform, run.options["backup"])
        server, target = self._server(), run.options["target"]
        packer = self._packer(self._installed.store(), backup_id)
        top = packer.read_manifest(MANIFEST, _manifest_sha256(platform, backup_id))
        if run.dry_run:
            return
        if not server.is_superuser():
            raise SettingsError(
                f"所有者と権限を復元するため、接続 '{CONNECTION}' のログインはスーパーユーザーである必要があります。"
                "コマンド `python -m include.data_management.data_backup restore` を管理者の接続で実行してください。"
            )
        restore_database(server, packer, target, self._settings.jobs, sha256=entry_of(top, DUMP_MANIFEST))
        log.info("%s is restored into the database %s", backup_id, target)


def _verified_backups(connection: psycopg.Connection) -> list[VerifiedBackup]:
    """Those of the ledger, in the order in which they were verified."""
    return [VerifiedBackup(*row) for row in connection.execute(read_sql(_HERE, "verified_backups"))]


def _require_unfinished(backup_id: str, status: str) -> None:
    """:raises BackupError: a run's backup with this status must not be worked on any more."""
    if status == "verified":
        raise _is_complete_already(backup_id)
    if status in ("deleting", "deleted"):
        raise BackupError(
            f"この実行のバックアップ {backup_id} は整理（削除）されました。取り直すには、新しく実行（Trigger）してください。"
        )


def _is_complete_already(backup_id: str) -> BackupError:
    return BackupError(
        f"この実行のバックアップ {backup_id} は完成しているため、変更しません。取り直すには、新しく実行（Trigger）してください。"
    )


def tenant_of_the_day(tenant_ids: Sequence[str], day: date) -> str | None:
    """Whose export is restored on this day: another one each day, all of them in turn; None without tenants."""
    return tenant_ids[day.toordinal() % len(tenant_ids)] if tenant_ids else None


def _manifest_sha256(connection: psycopg.Connection, backup_id: str) -> str:
    row = connection.execute(
        "SELECT manifest_sha256 FROM batch.backup WHERE backup_id = %s", [backup_id]
    ).fetchone()
    if row is None:
        raise BackupDamagedError(f"バックアップ {backup_id} の記録がありません。")
    return str(row[0])


def _close_history(
    platform: psycopg.Connection,
    run: Run,
    status: str,
    total: int | None,
    sha256: str | None,
    error: str | None = None,
) -> None:
    platform.execute(
        read_sql(_HERE, "close_history"),
        {
            "execution_id": run.execution_id,
            "status": status,
            "bytes": total,
            "sha256": sha256,
            "error": error,
        },
    )
