"""Restore from a backup: tenants next to or into their live rows, or the whole database into a new database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import psycopg

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.comparison import comparison_sentence
from include.skillreport.batches.data_backup.files import DUMP_MANIFEST, MANIFEST, is_complete
from include.skillreport.batches.data_backup.ledger import all_tenants, manifest_sha256, verified_backups
from include.skillreport.batches.data_backup.restore import entry_of, restore_database, restore_one_tenant
from include.skillreport.batches.data_backup.server import CONNECTION
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.batch import Outcome, Request, UnitBatch, UnitResult, Work
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.core.execution.tenant_selection import select_tenants
from include.skillreport.operations.restore_backup import form
from include.skillreport.operations.restore_backup.form import FORM

log = logging.getLogger(__name__)


class BackupRestore(UnitBatch):
    """Works on the named tenants, or on one unit, the whole database. Connects with the login of the backup."""

    def __init__(self, access: BackupAccess) -> None:
        self._access = access

    def units(self, request: Request) -> Sequence[Unit]:
        """The tenants, also inactive ones, or the new database."""
        entered = FORM.entered(request.values, request.run_date)
        if isinstance(entered, form.NewDatabase):
            target = entered.target
            return [Unit(f"database {target}", target, f"新しいデータベース {target}")]
        return select_tenants(request.platform, request.codes, all_tenants(request.platform)).tenants

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values, with the ``backup`` to restore: by default the newest.

        :raises ParameterError: there is no such backup. :raises BackupError: the login or the tools are not suitable.
        """
        self._access.check()
        options = FORM.entered(request.values).values()
        return {**options, "backup": self._backup(request.platform, options.get("backup", ""))}

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Restore a tenant in one transaction, or the whole database."""
        entered = FORM.entered(work.run.options)
        assert isinstance(entered, form.Restore)
        packer = self._access.packer(self._access.store(), entered.backup)
        sha256 = manifest_sha256(work.connection, entered.backup)
        if isinstance(entered, form.NewDatabase):
            if not work.run.dry_run:
                server = self._access.server()
                if not server.is_superuser():
                    raise SettingsError(
                        f"所有者と権限を復元するため、接続 '{CONNECTION}' のログインはスーパーユーザーである必要があります。"
                        "コマンド `python -m include.skillreport backup restore` を管理者の接続で実行してください。"
                    )
                dump = entry_of(packer.read_manifest(MANIFEST, sha256), DUMP_MANIFEST)
                manifest = restore_database(
                    server, packer, entered.target, self._access.settings.jobs, sha256=dump
                )
                log.info(
                    "%s is restored into the database %s: %s",
                    entered.backup,
                    entered.target,
                    comparison_sentence(manifest),
                )
            return UnitResult(unit_id, {"restored": int(not work.run.dry_run)}, records=0)
        with self._access.server().connect() as connection:
            done = restore_one_tenant(
                connection,
                packer,
                unit_id,
                manifest_sha256=sha256,
                merged=isinstance(entered, form.Merge),
                kept=not work.run.dry_run,
            )
        return UnitResult(
            unit_id,
            {
                "restored": done.rows,
                "changed": sum(conflict.changed for conflict in done.conflicts),
                "missing": sum(conflict.missing for conflict in done.conflicts),
                "new": sum(conflict.new for conflict in done.conflicts),
                "merged": done.merged_rows or 0,
            },
            records=done.rows,
            report=(f"{unit_id}（{entered.backup}）", *done.lines()),
        )

    def _backup(self, platform: psycopg.Connection, backup_id: str) -> str:
        store = self._access.store()
        backups = [
            each.backup_id for each in verified_backups(platform) if is_complete(store, each.backup_id)
        ]
        if not backups:
            raise ParameterError("検証済みのバックアップが保存先にまだありません。")
        if backup_id and backup_id not in backups:
            raise ParameterError(
                f"バックアップ '{backup_id}' は使えません。使えるのは {'、'.join(backups[-10:])} です。"
            )
        return backup_id or backups[-1]
