"""The stages of an offboarding, up to the request for approval. Each run does one stage of one tenant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.deleted_tenants import TURN, record_folder
from include.skillreport.batches.data_backup.files import Packer
from include.skillreport.batches.data_backup.ledger import all_tenants
from include.skillreport.billing.settings import IssuerSettings
from include.skillreport.core.database import Statements, tenant_turn
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Outcome, Request, UnitBatch, UnitResult, Work
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.core.execution.tenant_selection import select_tenants
from include.skillreport.operations.offboard_tenant import form
from include.skillreport.operations.offboard_tenant.certificate import backups_with, write_certificates
from include.skillreport.operations.offboard_tenant.export import (
    export_all,
    live_snapshot,
    prove,
    write_customer_file,
)
from include.skillreport.operations.offboard_tenant.form import FORM, OPEN_ITEMS, STAGES
from include.skillreport.operations.offboard_tenant.ledger import (
    Offboarding,
    OffboardingError,
    ask_about_entry,
    drop_frozen,
    find_open,
    record_counts,
    require_left,
    require_open,
)
from include.skillreport.operations.offboard_tenant.remains import erase, unerased
from include.skillreport.operations.offboard_tenant.settings import OffboardingSettings
from include.skillreport.operations.shown import ChecksShown
from include.skillreport.schema.deployment_check import check_deletion
from include.skillreport.schema.host_contract import HostVariant, check_host

_SQL = Statements(Path(__file__).parent)


class TenantOffboarding(ChecksShown, UnitBatch):
    """The stages begin, export, ask and cancel, the dispute of a register entry, and the supplement of a certificate."""

    states = frozenset({*OPEN_ITEMS, "rows", "exported"})

    own_form = FORM

    def __init__(self, access: BackupAccess, settings: OffboardingSettings, issuer: IssuerSettings) -> None:
        self._access = access
        self._settings = settings
        self._issuer = issuer

    def units(self, request: Request) -> Sequence[Unit]:
        """The tenant, with any status."""
        FORM.entered(request.values, request.run_date)
        platform = request.platform
        return select_tenants(platform, request.codes, all_tenants(platform)).tenants

    def options(self, request: Request) -> dict[str, Any]:
        """The stage and its values.

        :raises SchemaError: the installation may not delete, or a table is not listed. :raises ParameterError: the code belongs to several
            tenants. Raises the errors of ``BackupAccess.check``.
        """
        check_deletion(request.platform)
        self._access.check()
        entered = FORM.entered(request.values, request.run_date)
        if len({unit.id for unit in self.units(request)}) != 1:
            raise ParameterError(
                "同じコードのテナントが複数あります。「テナントコード」（tenants）にテナント ID を指定してください。"
            )
        return entered.values()

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Do the stage. A retry repeats it, or finds it done."""
        entered = FORM.entered(work.run.options)
        if isinstance(entered, form.Begin):
            return self._begin(work, unit_id, entered)
        if isinstance(entered, form.Supplement):
            return self._supplement(work, unit_id)
        # Waits for a deletion in progress.
        with tenant_turn(work.connection, TURN, unit_id):
            if isinstance(entered, form.DisputeEntry):
                return self._dispute(work, unit_id, entered)
            if isinstance(entered, form.Cancel) and _is_cancelled_by(work, unit_id):
                return UnitResult(unit_id, {}, 0, notes=("この実行の前の試行で、退会を取りやめました",))
            with work.connection.transaction():
                offboarding = require_open(work.connection, unit_id)
            if isinstance(entered, form.Cancel):
                return self._cancel(work, offboarding, entered)
            with work.connection.transaction():
                keep_people(work.connection)
            if isinstance(entered, form.Export):
                return self._export(work, offboarding, entered)
            return self._ask(work, offboarding)

    def _begin(self, work: Work, tenant_id: str, entered: form.Begin) -> Outcome:
        """Begin the offboarding. :raises OffboardingError: the tenant has not left, or open items are not accepted."""
        run, platform = work.run, work.connection
        tenant = require_left(platform, tenant_id, run.run_date, may_be_active=True)
        if tenant["tenants"] != 1 and check_host(platform) is HostVariant.BASE:
            raise OffboardingError(
                f"MST_Tenant に {tenant['tenants']} 行あります。マルチテナント移行の前は、行が 1 つのときだけ退会できます。"
            )
        (items,) = _SQL.rows(platform, "open_items", tenant_id=tenant_id)
        undecided = [
            f"{OPEN_ITEMS[name]} {count:,} 件"
            for name, count in items.items()
            if count and not getattr(entered, name)
        ]
        if undecided:
            raise OffboardingError(
                f"片付いていないものがあります: {'、'.join(undecided)}。"
                "片付けるか、フォームで「承知」を選んでから、もう一度始めてください。"
            )
        if run.dry_run:
            return UnitResult(tenant_id, items, 0)
        begun = _SQL.execute(
            platform,
            "begin",
            offboarding_id=run.execution_id,
            tenant_id=tenant_id,
            tenant_code=tenant["tenant_code"],
            tenant_name=tenant["tenant_name"],
            open_items=Jsonb(items),
            reason=entered.reason,
            person=run.person,
            now=self._access.installation.now(),
        ).fetchone()
        if begun is None:
            offboarding = require_open(platform, tenant_id)
            if offboarding.offboarding_id != run.execution_id:
                raise OffboardingError(f"このテナントの退会は、{offboarding.begun_by} さんが始めています。")
        return UnitResult(tenant_id, items, 1, notes=("退会を始めました。次は「退会の書き出し」です",))

    def _export(self, work: Work, offboarding: Offboarding, entered: form.Export) -> Outcome:
        run, tenant_id = work.run, offboarding.tenant_id
        _require_stage(offboarding, "begun", "exported", "asked")
        with live_snapshot(self._access.server()) as snapshot:
            counts = snapshot.counts(tenant_id)
            if run.dry_run:
                return _counted(tenant_id, counts)
            packer = export_packer(self._access, offboarding, "first")
            manifest, sha256 = export_all(packer, snapshot, tenant_id)
            location = write_customer_file(snapshot, self._access.store(), offboarding, entered.age_key)
        prove(self._access, packer, manifest, run.execution_id, offboarding.tenant_id)
        record_counts(work.connection, offboarding.offboarding_id, counts)
        tenant = require_left(work.connection, tenant_id, run.run_date, may_be_active=True)
        wait = timedelta(days=0 if tenant["is_to_repeat"] else self._settings.wait_days)
        (waits_until,) = _SQL.row(
            work.connection,
            "record_export",
            offboarding_id=offboarding.offboarding_id,
            age_key=entered.age_key,
            customer_file=location,
            person=run.person,
            now=self._access.installation.now(),
            waits_until=run.run_date + wait,
            manifest_sha256=sha256,
            export_bytes=manifest.total_bytes,
        )
        rows = int(manifest.about["rows"])
        return UnitResult(
            tenant_id,
            {"exported": rows},
            rows,
            notes=(f"お客様に渡すファイル: {location}。削除の承認は {waits_until} から依頼できます",),
        )

    def _ask(self, work: Work, offboarding: Offboarding) -> Outcome:
        run, tenant_id = work.run, offboarding.tenant_id
        _require_stage(offboarding, "exported", "asked", "frozen")
        tenant = require_left(work.connection, tenant_id, run.run_date, may_be_active=False)
        if offboarding.waits_until and run.run_date < offboarding.waits_until and not tenant["is_to_repeat"]:
            raise OffboardingError(f"待機中です。{offboarding.waits_until} から依頼できます。")
        with live_snapshot(self._access.server()) as snapshot:
            counts = snapshot.counts(tenant_id)
        if run.dry_run:
            return _counted(tenant_id, counts)
        record_counts(work.connection, offboarding.offboarding_id, counts)
        _SQL.execute(
            work.connection,
            "record_question",
            offboarding_id=offboarding.offboarding_id,
            person=run.person,
            now=self._access.installation.now(),
            execution_id=run.execution_id,
        )
        rows = sum(rows for *_, rows in counts)
        return UnitResult(tenant_id, {"rows": rows}, rows, notes=("削除の承認を、ほかの人に依頼しました",))

    def _dispute(self, work: Work, tenant_id: str, entered: form.DisputeEntry) -> Outcome:
        """Ask about a register entry. :raises OffboardingError: there is no such entry, or the tenant's offboarding is open."""
        run, platform = work.run, work.connection
        if find_open(platform, tenant_id):
            raise OffboardingError(
                "このテナントの退会の手続きが始まっています。先に「退会の取りやめ」を行ってください。"
            )
        if run.dry_run:
            return UnitResult(tenant_id, {}, 0)
        ask_about_entry(
            platform,
            tenant_id,
            reason=entered.reason,
            person=run.person,
            now=self._access.installation.now(),
            execution_id=run.execution_id,
        )
        return UnitResult(tenant_id, {}, 1, notes=("退会の記録の取り消しの承認を、ほかの人に依頼しました",))

    def _supplement(self, work: Work, tenant_id: str) -> Outcome:
        """Write the certificates' supplement, once no verified backup contains the tenant any more."""
        platform, store = work.connection, self._access.store()
        found = _SQL.column(platform, "deleted_offboarding", tenant_id=tenant_id)
        if not found:
            raise OffboardingError("このテナントは、この操作で削除されていません。")
        (record,) = _SQL.rows(platform, "record_of", offboarding_id=found[0])
        if backups := backups_with(platform, store, tenant_id, record["deleted_at"]):
            raise OffboardingError(f"バックアップ {'、'.join(backups)} が、まだこのテナントを含んでいます。")
        if work.run.dry_run:
            return UnitResult(tenant_id, {}, 0)
        write_certificates(
            platform,
            store,
            found[0],
            self._issuer,
            deleted_at=record["deleted_at"],
            remains=record["remains"],
            supplement=True,
        )
        place = store.location(record_folder(tenant_id, found[0]))
        return UnitResult(tenant_id, {}, 2, notes=(f"証明書の追補（日本語、英語）: {place}",))

    def _cancel(self, work: Work, offboarding: Offboarding, entered: form.Cancel) -> Outcome:
        tenant_id = offboarding.tenant_id
        if work.run.dry_run:
            return UnitResult(tenant_id, {}, 0)
        with work.connection.transaction():
            cancelled = _SQL.execute(
                work.connection,
                "cancel",
                offboarding_id=offboarding.offboarding_id,
                person=work.run.person,
                now=self._access.installation.now(),
                execution_id=work.run.execution_id,
                reason=entered.reason,
            ).fetchone()
            if cancelled is None:
                raise OffboardingError("削除が始まっているため、取りやめられません。")
            drop_frozen(work.connection, offboarding)
            # Before the commit, so that after a kill the next attempt finds the offboarding open, and deletes the rest.
            remains = erase(self._access.store(), [offboarding.folder])
        done = "退会を取りやめました" if remains else "退会を取りやめ、書き出したファイルを消しました"
        return UnitResult(tenant_id, {}, 0, notes=(done, *unerased(remains)))


def _is_cancelled_by(work: Work, tenant_id: str) -> bool:
    (is_done,) = _SQL.row(
        work.connection, "is_cancelled_by", tenant_id=tenant_id, execution_id=work.run.execution_id
    )
    return bool(is_done)


def export_packer(access: BackupAccess, offboarding: Offboarding, name: str) -> Packer:
    """Packs the files of one export of the tenant like a backup's."""
    return access.folder_packer(access.store(), f"{offboarding.folder}/{name}")


def _counted(tenant_id: str, counts: Sequence[tuple[str, str, str, int]]) -> UnitResult:
    """The result of a dry run."""
    lines = tuple(f"{schema}.{name}: {rows:,} 行（{rule}）" for schema, name, rule, rows in counts)
    return UnitResult(tenant_id, {"rows": sum(rows for *_, rows in counts)}, 0, report=lines)


def _require_stage(offboarding: Offboarding, *stages: str) -> None:
    if offboarding.stage not in stages:
        raise OffboardingError(
            f"今の段階（{STAGES[offboarding.stage]}）では、この操作はできません。ボードのテナントのページで次の操作を確かめてください。"
        )
