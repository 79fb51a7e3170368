"""Applies the approval of a deletion: a second export, the frozen keys, the deletion, and the remains. Resumes after a kill."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import psycopg

from include.skillreport.approvals.requests import LockedItem, Result, items_of, lock_item, record_result
from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.deleted_tenants import TURN, delete_entry, record_folder
from include.skillreport.batches.data_backup.files import MOST_MANIFEST_BYTES
from include.skillreport.batches.data_backup.tenant_export import manifest_path
from include.skillreport.billing.settings import IssuerSettings
from include.skillreport.core.database import tenant_turn
from include.skillreport.core.execution.batch import Outcome, Request, UnitBatch, UnitResult, Work
from include.skillreport.core.execution.people import keep_people
from include.skillreport.core.execution.proof import Recorded, UnprovedError, read_proved
from include.skillreport.core.execution.sharding import Tenant, Unit
from include.skillreport.core.operation_catalog import APPROVE_OFFBOARDING
from include.skillreport.operations.answers import SUPERSEDED, approved_tenants
from include.skillreport.operations.offboard_tenant.batch import export_packer
from include.skillreport.operations.offboard_tenant.certificate import write_certificates
from include.skillreport.operations.offboard_tenant.deletion import DeletionStoppedError, TenantDeletion
from include.skillreport.operations.offboard_tenant.export import (
    export_all,
    live_snapshot,
    prove,
)
from include.skillreport.operations.offboard_tenant.freezing import freeze
from include.skillreport.operations.offboard_tenant.ledger import (
    Dispute,
    Offboarding,
    OffboardingError,
    decide_dispute,
    drop_frozen,
    find_dispute,
    find_open,
    is_deleted,
    record_counts,
    record_deleted,
    record_frozen,
    record_problem,
    recorded_manifests,
    require_left,
)
from include.skillreport.operations.offboard_tenant.remains import (
    drop_restored_schema,
    erase,
    files_of,
    unerased,
    write_register,
)
from include.skillreport.schema.deployment_check import check_deletion

log = logging.getLogger(__name__)

# The prefix of the folders of approved exports.
_APPROVED = "approved-"


class OffboardingApproval(UnitBatch):
    """Works on the tenants whose deletion a user has approved."""

    states = frozenset({"rows"})

    def __init__(self, access: BackupAccess, issuer: IssuerSettings) -> None:
        self._access = access
        self._issuer = issuer

    def options(self, request: Request) -> dict[str, Any]:
        """``request`` and ``note``. Raises the errors of ``TenantOffboarding.options``."""
        check_deletion(request.platform)
        self._access.check()
        return {"request": str(request.values["request"]), "note": str(request.values.get("note") or "")}

    def units(self, request: Request) -> Sequence[Unit]:
        """The approved tenants. The application may have already lost their codes."""
        items = items_of(request.platform, str(request.values["request"]))
        approved = approved_tenants(items, str(request.values["answer"]), request.codes)
        return [
            Tenant(item.tenant_id, item.tenant_code, item.tenant_name)
            for item in items
            if item.tenant_id in approved
        ]

    def process_unit(self, work: Work, unit_id: str) -> Outcome:
        """Freeze and delete one tenant.

        :raises OffboardingError: the approval cannot be used. :raises DeletionStoppedError: a row is new, or has a new owner.
        """
        if work.run.dry_run:
            return UnitResult(unit_id, {}, 0)
        platform, request_id = work.connection, str(work.run.options["request"])
        (item_id,) = {item.item_id for item in items_of(platform, request_id) if item.tenant_id == unit_id}
        with tenant_turn(platform, TURN, unit_id):
            with platform.transaction():
                item = lock_item(platform, request_id, unit_id, item_id)
                offboarding = find_open(platform, unit_id)
            assert item is not None, "the units are the items of the request"
            is_about_entry = "disputed_by" in item.figures
            if not is_about_entry and is_deleted(platform, item_id):  # by an earlier attempt
                return UnitResult(unit_id, {}, 0)
            is_applied = item.result == Result.APPROVED
            asked: Offboarding | Dispute | None = offboarding
            if is_about_entry and offboarding is None:
                asked = find_dispute(platform, unit_id, item_id)
            problem = _problem(item, asked, is_applied=is_applied) if asked else _OUT_OF_DATE
            if problem:
                if not is_applied:
                    record_result(
                        platform,
                        request_id,
                        unit_id,
                        item_id,
                        Result.OUT_OF_DATE,
                        problem,
                        work.run.execution_id,
                    )
                raise OffboardingError(problem)
            if isinstance(asked, Dispute):
                return self._void_entry(work, asked, item)
            assert offboarding is not None, "without it there would be a problem"
            if offboarding.deleting_since is None:
                require_left(platform, unit_id, work.run.run_date, may_be_active=False)
            if not is_applied:
                self._freeze(work, offboarding, item)
            rows, remains = self._delete(work, offboarding, str(item.answered_by))
        place = self._access.store().location(record_folder(unit_id, item_id))
        notes = (f"テナントの行を削除しました。証明書（日本語、英語）: {place}", *unerased(remains))
        return UnitResult(unit_id, {"rows": rows}, rows, notes=notes)

    def _void_entry(self, work: Work, dispute: Dispute, item: LockedItem) -> UnitResult:
        """Void the register's entry, which two users declared wrong, so the tenant stays. The database records it, and the store loses the
        entry.

        A failure of the store does not fail the operation, because the remedy for a failure would continue the deletion.
        """
        platform, run = work.connection, work.run
        with platform.transaction():
            decide_dispute(platform, dispute, str(item.answered_by), self._access.installation.now())
            named = (str(run.options["request"]), dispute.tenant_id, item.item_id)
            record_result(platform, *named, Result.APPROVED, None, run.execution_id)
        problem = delete_entry(
            self._access.store(), self._access.mac_keys(), dispute.tenant_id, dispute.offboarding_id
        )
        done = "退会の記録を取り消しました。テナントの行はそのままです"
        return UnitResult(dispute.tenant_id, {}, 1, notes=(done, *filter(None, [problem])))

    def _freeze(self, work: Work, offboarding: Offboarding, item: LockedItem) -> None:
        """Take the second export and freeze its keys, in one snapshot."""
        platform, run = work.connection, work.run
        with platform.transaction():
            keep_people(platform)
        packer = export_packer(self._access, offboarding, f"{_APPROVED}{offboarding.asked_in}")
        with live_snapshot(self._access.server()) as snapshot:
            manifest, sha256 = export_all(packer, snapshot, offboarding.tenant_id)
            freeze(platform, snapshot, offboarding)
            record_counts(platform, offboarding.offboarding_id, snapshot.counts(offboarding.tenant_id))
            unowned = snapshot.unowned()
        prove(self._access, packer, manifest, run.execution_id, offboarding.tenant_id)
        with platform.transaction():
            record_frozen(
                platform,
                offboarding,
                person=str(item.answered_by),
                answered_at=run.run_at,
                now=self._access.installation.now(),
                manifest=(sha256, manifest.total_bytes),
                unowned=unowned,
            )
            named = (run.options["request"], offboarding.tenant_id, item.item_id)
            record_result(platform, *named, Result.APPROVED, None, run.execution_id)

    def _delete(self, work: Work, offboarding: Offboarding, person: str) -> tuple[int, list[str]]:
        """Delete the rows, then the rest, and write the certificates. Returns the number of deleted and blanked rows, and the undeletable
        files.
        """
        platform, installation = work.connection, self._access.installation
        server, store = self._access.server(), self._access.store()
        with installation.cleanup(APPROVE_OFFBOARDING.time_limit) as cleanup:
            deletion = TenantDeletion(server, platform, cleanup, offboarding, person, installation.now())
            try:
                deletion.run()
            except DeletionStoppedError as error:
                record_problem(platform, offboarding, str(error))
                raise
        drop_restored_schema(server, offboarding.tenant_id)
        now = installation.now()
        manifests = self._manifests(platform, offboarding)
        write_register(store, self._access.mac_keys(), offboarding, manifests, now)
        remains = erase(store, files_of(offboarding))
        backups = write_certificates(
            platform, store, offboarding.offboarding_id, self._issuer, deleted_at=now, remains=remains
        )
        with platform.transaction():
            drop_frozen(platform, offboarding)
            rows = record_deleted(
                platform, offboarding, now, remains=remains, awaits_supplement=bool(backups)
            )
        return rows, remains

    def _manifests(self, platform: psycopg.Connection, offboarding: Offboarding) -> dict[str, bytes]:
        """The stored manifests of the approved exports, except those that an earlier attempt wrote and erased, or that others changed."""
        store, found = self._access.store(), {}
        proof = Recorded(*recorded_manifests(platform, offboarding))
        for name in store.names(offboarding.folder):
            key = export_packer(self._access, offboarding, name).key(manifest_path(offboarding.tenant_id))
            if name.startswith(_APPROVED):
                try:
                    content = read_proved(store, key, proof, MOST_MANIFEST_BYTES)
                    found[f"manifest-{name.removeprefix(_APPROVED)}.json"] = content
                except UnprovedError as error:
                    log.warning("%s", error)
        return found


_OUT_OF_DATE = "この承認依頼を出した後に、退会が取りやめられたか、もう一度依頼されました。"


def _problem(item: LockedItem, asked: Offboarding | Dispute, *, is_applied: bool) -> str:
    """Why the answer cannot be used, or empty. ``is_applied``: an earlier attempt froze the rows."""
    if item.answer != "approve":
        return "この承認依頼は承認されていません。"
    if item.superseded_by and not is_applied:
        return f"{SUPERSEDED}。"
    if item.fingerprint != asked.fingerprint:
        return _OUT_OF_DATE
    if not is_applied and item.answered_by in asked.askers:
        return f"{item.answered_by} さんは、この退会を始めたか承認を依頼した人なので、承認できません。ほかの人が答えてください。"
    return ""
