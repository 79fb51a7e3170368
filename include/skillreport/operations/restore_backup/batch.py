"""Restore from a backup: tenants next to or into their live rows, or the entire database into a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.files import (
    DUMP_MANIFEST,
    FOLDER,
    MANIFEST,
    Packer,
    is_complete,
)
from include.skillreport.batches.data_backup.ledger import (
    StoredBackup,
    all_tenants,
    find_backup,
    verified_backups,
)
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.restore import (
    entry_of,
    number_of,
    restore_as_new,
    restore_one_tenant,
)
from include.skillreport.batches.data_backup.server import CONNECTION, DatabaseServer
from include.skillreport.batches.log_cleanup.marked import folder_of
from include.skillreport.core.errors import BatchError, ParameterError
from include.skillreport.core.execution.batch import Outcome, Request, RunRemark, UnitBatch, UnitResult, Work
from include.skillreport.core.execution.digest import listed
from include.skillreport.core.execution.row_archive import archive_names
from include.skillreport.core.execution.run_remarks import load_remarks, record_remark
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.core.execution.tenant_selection import select_tenants
from include.skillreport.operations.restore_backup import form
from include.skillreport.operations.restore_backup.deleted_rows import describe_archives, restore_rows
from include.skillreport.operations.restore_backup.form import FORM
from include.skillreport.operations.shown import ChecksShown

# The maximum number of archives in an outcome; the task's log lists all.
_LISTED = 20

# The run's record of a restored database's oid.
_STEP, _DATABASE = "restore", "database_number"

# The prefix of the id of the unit that restores the entire database.
_WHOLE = "database "


class BackupRestore(ChecksShown, UnitBatch):
    """Works on the named tenants, or on one unit for the entire database. Connects with the backup's login."""

    states = frozenset({"archives", "restored", "existing", "merged", "new", "changed", "missing"})

    own_form = FORM

    def __init__(self, access: BackupAccess) -> None:
        self._access = access

    def changed(self, work: Work, *, again: bool = False) -> Mapping[str, str]:
        """Compare the tenants and the backup, without the new database."""
        tenant_ids = [each for each in work.tenant_ids if not each.startswith(_WHOLE)]
        return super().changed(replace(work, tenant_ids=tenant_ids), again=again)

    def units(self, request: Request) -> Sequence[Unit]:
        """The new database, and the named tenants, including inactive ones."""
        entered = FORM.entered(request.values, request.run_date)
        units: list[Unit] = []
        if isinstance(entered, form.NewDatabase):
            units.append(Unit(_database(entered), entered.target, f"新しいデータベース {entered.target}"))
        if request.codes or not units:
            units += select_tenants(request.platform, request.codes, all_tenants(request.platform)).tenants
        return units

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values, with the ``backup`` to restore (default: the newest), fixed by its manifest's hash.

        :raises ParameterError: there is no such backup or archive. :raises BackupError: there is no backup at all.
        :raises BackupDamagedError: as ``read_stored``. Raises the errors of ``BackupAccess.check``.
        """
        entered = FORM.entered(request.values)
        options = entered.values()
        if isinstance(entered, form.RestoreDeletedRows):
            self._check_archive(request, entered.archive)
        if isinstance(entered, form.ListDeletedRows | form.RestoreDeletedRows):
            return options
        self._access.check()
        assert isinstance(entered, form.Restore)
        found = self._backup(request, entered)
        shown = {name: getattr(found, name) for name in ("manifest_sha256", "encrypted", "has_mac")}
        return {**options, **shown, "backup": found.backup_id}

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Restore a tenant in one transaction, or the entire database, or list or restore archives of a tenant's deleted rows."""
        entered = FORM.entered(work.run.options)
        if isinstance(entered, form.ListDeletedRows):
            lines = describe_archives(work.connection, self._access.store(), unit_id)
            notes = tuple(listed(lines, str, "ほか {} 件は実行のログにあります", _LISTED)) or (
                "書庫はありません",
            )
            return UnitResult(unit_id, {"archives": len(lines)}, 0, notes, report=tuple(lines[_LISTED:]))
        if isinstance(entered, form.RestoreDeletedRows):
            return self._restore_deleted_rows(work, unit_id, entered.archive)
        assert isinstance(entered, form.Restore)
        packer = self._access.packer(
            self._access.store(), entered.backup, encrypted=work.run.options["encrypted"]
        )
        sha256, accepted = str(work.run.options["manifest_sha256"]), _accepted(work)
        if isinstance(entered, form.NewDatabase) and unit_id == _database(entered):
            notes = () if work.run.dry_run else self._restore_all(work, packer, entered, sha256)
            return UnitResult(
                unit_id, {"restored": int(not work.run.dry_run)}, records=0, notes=(*accepted, *notes)
            )
        with self._access.server().connect() as connection:
            done = restore_one_tenant(
                connection,
                packer,
                unit_id,
                manifest_sha256=sha256,
                keys=self._access.mac_keys(),
                merged=isinstance(entered, form.Merge),
                # Beside a new database, a tenant's restored schema would remain.
                kept=not work.run.dry_run and not isinstance(entered, form.NewDatabase),
            )
        return UnitResult(
            unit_id,
            {"restored": done.rows, **done.differing, "merged": done.merged_rows},
            records=done.rows,
            notes=(*accepted, *done.notes()),
            report=(f"{unit_id}（{entered.backup}）", *done.lines()),
        )

    def _restore_deleted_rows(self, work: Work, tenant_id: str, archive: str) -> UnitResult:
        kept = not work.run.dry_run
        with self._access.server().connect() as connection:
            found = restore_rows(
                connection,
                work.connection,
                self._access.store(),
                self._access.mac_keys(),
                tenant_id,
                archive,
                kept=kept,
            )
        left = f"従業員がもういない {found.ownerless:,} 行は戻していません。" if found.ownerless else ""
        note = (
            f"{found.table} に今ない {found.inserted:,} 行を{'戻しました' if kept else '戻します'}。"
            f"今ある {found.existing:,} 行はそのままです。{left}"
            "削除済みの印を付けて戻すので、残す行はアプリケーションで印を外してください。外さないと、BATCH-002 がまた削除します"
        )
        details = {"restored": found.inserted if kept else 0, "existing": found.existing}
        if found.ownerless:
            details["ownerless"] = found.ownerless
        return UnitResult(tenant_id, details, details["restored"], (note,))

    def _check_archive(self, request: Request, archive: str) -> None:
        self._access.server()  # the connection exists
        for tenant_id in request.tenant_ids:
            if archive not in archive_names(self._access.store(), folder_of(tenant_id)):
                raise ParameterError(
                    f"テナント '{tenant_id}' に書庫 '{archive}' はありません。"
                    "「削除済みの行の書庫の一覧」にある名前を指定してください。"
                )

    def _restore_all(
        self, work: Work, packer: Packer, entered: form.NewDatabase, sha256: str
    ) -> tuple[str, ...]:
        """Restore the entire database. Returns notes for operators."""
        server = self._access.server()
        with_owners = server.is_superuser()
        if self._has_restored(work, server, entered.target):
            return (f"データベース {entered.target} は、この実行の前の試行で復元済みです",)

        def record(number: int) -> None:
            remark = RunRemark({_DATABASE: number})
            record_remark(work.connection, work.run, _STEP, remark, self._access.installation.now())

        done, *notes = restore_as_new(
            server,
            packer,
            entered.target,
            self._access.settings.jobs,
            sha256=entry_of(packer.read_manifest(MANIFEST, sha256), DUMP_MANIFEST),
            keys=self._access.mac_keys(),
            with_owners=with_owners,
            owner=work.run.execution_id,
            complete=record,
        )
        hint = (
            f"所有者と権限は復元していません（接続 '{CONNECTION}' のログインがスーパーユーザーでないため）。"
            "アプリやバッチの接続先にするなら、管理者の接続で `python -m include.skillreport backup restore` を実行してください"
        )
        return (f"{entered.backup} を{done}", *(() if with_owners else (hint,)), *notes)

    def _has_restored(self, work: Work, server: DatabaseServer, target: str) -> bool:
        """True if an earlier attempt of the run completed the database, and was killed after that."""
        remark = load_remarks(work.connection, work.run.execution_id).by_step.get(_STEP, {})
        with server.connect() as connection:
            return _DATABASE in remark and remark[_DATABASE] == number_of(connection, target)

    def _backup(self, request: Request, entered: form.Restore) -> StoredBackup:
        """The named backup of the ledger or the store, or the newest of the ledger."""
        store, backup_id = self._access.store(), entered.backup
        backups = [
            each.backup_id
            for each in verified_backups(request.platform)
            if is_complete(store, each.backup_id)
        ]
        if not (backup_id or backups) or (
            backup_id not in ("", *backups) and not is_complete(store, backup_id)
        ):
            raise _unusable(
                backup_id, backups or [each for each in store.names(FOLDER) if is_complete(store, each)]
            )
        return find_backup(
            request.platform,
            store,
            backup_id or backups[-1],
            self._access.mac_keys(),
            now=self._access.installation.now(),
            day=request.business_date,
            without_mac=entered.without_mac,
        )


def _unusable(backup_id: str, usable: Sequence[str]) -> BatchError:
    if not usable:
        return BackupError(
            "検証済みのバックアップが保存先にまだありません。BATCH-001 の成功を待つか、先に BATCH-001 を実行してください。",
            "NO_BACKUP",
        )
    named = (
        f"バックアップ '{backup_id}' は使えません"
        if backup_id
        else "台帳に検証済みのバックアップがありません"
    )
    return ParameterError(f"{named}。使えるのは {'、'.join(usable[-10:])} です。")


def _accepted(work: Work) -> tuple[str, ...]:
    """The outcome's note about the user who accepted an unproved backup."""
    options = work.run.options
    if options["has_mac"] is not False:
        return ()
    return (
        f"{work.run.person} さんが、検証コードのないバックアップ {options['backup']} を認めました"
        f"（目録の SHA-256 {options['manifest_sha256']}）",
    )


def _database(entered: form.NewDatabase) -> str:
    """The id of the unit that restores the entire database."""
    return f"{_WHOLE}{entered.target}"
