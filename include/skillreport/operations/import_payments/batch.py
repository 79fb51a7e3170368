"""The run of ``import_payments``: read the bank's files and match, record payments by tenant, and apply users' decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any

import psycopg

from include.skillreport.billing import bank_inbox
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.payments import vanished_payers
from include.skillreport.billing.ledger.transfer_payments import (
    Recorder,
    TransferPart,
    automatic_parts,
    record_automatic,
    record_confirmed,
)
from include.skillreport.billing.ledger.transfers import (
    MatchReport,
    forget_payers,
    match_transfers,
    remember_payers,
    reopen,
    set_aside,
    store_file,
    stored_on,
    tenants_to_pay,
    transfers_refused,
    unrecorded_transfers,
    waiting_transfers,
)
from include.skillreport.billing.receivables.bank_file import read_bank_file
from include.skillreport.billing.service import Billing
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.batch import (
    NotDueError,
    Outcome,
    Request,
    Run,
    RunRemark,
    TenantBatch,
    UnitFailure,
    UnitResult,
    Work,
)
from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.core.form import Operation
from include.skillreport.operations.import_payments import form
from include.skillreport.operations.import_payments.confirming import confirmed_parts, same_parts
from include.skillreport.operations.import_payments.form import FORM
from include.skillreport.operations.shown import ChecksShown

FILE_REFUSED = "BANK_FILE_REFUSED"


@dataclass
class _Import:
    """The results for the files in the folder. ``refused`` are sentences, each about one file.

    ``left_out`` are deposits that are no transfers, by file and reason.
    """

    files: int = 0
    known_files: int = 0
    transfers: int = 0
    waiting: Sequence[str] = ()
    refused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def remark(self, report: MatchReport) -> RunRemark:
        """The run's figures, and the files that a user must check."""
        details = {
            "files": self.files,
            "knownFiles": self.known_files,
            "newTransfers": self.transfers,
            "automatic": report.automatic,
            "toConfirm": report.waiting,
            "cancelledByBank": report.cancelled,
            "stillGrowing": len(self.waiting),
            "leftOut": self.left_out,
        }
        return RunRemark(
            details,
            "".join(self.refused) or None,
            FILE_REFUSED,
            in_each_run=True,
            effects=("files", "newTransfers", "cancelledByBank"),
        )


class PaymentImport(ChecksShown, TenantBatch):
    """An import of the files in the folder, or a user's decision about transfers."""

    effects = frozenset({"transfers"})

    own_form = FORM

    def __init__(self, billing: Billing) -> None:
        self._billing = billing

    def options(self, request: Request) -> dict[str, Any]:
        """The operation and its values, and a confirmation's parts by invoice."""
        entered = FORM.entered(request.values, request.run_date)
        parts = self._decided(request, entered)
        return {**entered.values(), **({"parts": [_as_json(part) for part in parts]} if parts else {})}

    def needs_nobody(self, request: Request) -> bool:
        """True if the operation is about transfers or payers, and no invoice."""
        return FORM.chosen(request.values) in (form.SetAside, form.ReopenTransfer, form.ForgetPayers)

    def found_tenants(self, request: Request) -> Collection[str]:
        """The tenants that may get a payment, or lose one.

        :raises NotDueError: a scheduled run, but payments are not recorded here. :raises SettingsError: the same for a manual run.
        """
        if not self._billing.terms.settings.imports_payments:
            raise (NotDueError if request.is_scheduled else SettingsError)(
                "設定 billing.payment_source が operations ではないため、銀行の入金を取り込みません。"
                "取り込むなら、設定を operations にしてください。"
            )
        entered = FORM.entered(request.values, request.run_date)
        if isinstance(entered, form.ImportFiles):
            assert request.run_date is not None, "a run that is opened has its date"
            return tenants_to_pay(request.platform, request.run_date)
        return {part.tenant_id for part in self._decided(request, entered)}

    def vanished_tenants(self, request: Request) -> Sequence[Tenant]:
        """Deleted tenants that may still pay an invoice."""
        return [Tenant(*each) for each in vanished_payers(request.platform)]

    def reads_files(self, run: Run) -> bool:
        return FORM.chosen(run.options) is form.ImportFiles

    def read_files(self, work: Work) -> RunRemark | None:
        """Store the transfers of the files in the folder, each file in its own transaction, and match all open transfers.

        An unusable file stays in the folder, and each run reports it.
        """
        if not self.reads_files(work.run):
            return None
        if work.run.dry_run:
            with work.connection.transaction() as transaction:
                remark = self._read(work)
                raise psycopg.Rollback(transaction)
            return remark
        return self._read(work)

    def process(self, work: Work) -> list[Outcome]:
        """Record the tenants' payments together, or, if one is impossible, transfer by transfer."""
        parts = (
            [_from_json(part) for part in work.run.options["parts"]]
            if "parts" in work.run.options
            else automatic_parts(work.connection)
        )
        of_tenants: dict[str, list[TransferPart]] = {tenant_id: [] for tenant_id in work.tenant_ids}
        for part in parts:
            if part.tenant_id in of_tenants:
                of_tenants[part.tenant_id].append(part)
        with_parts = {tenant_id: own for tenant_id, own in of_tenants.items() if own}
        outcomes: list[Outcome] = [UnitResult(each, {}, 0) for each, own in of_tenants.items() if not own]
        try:
            outcomes += self._record(work, with_parts) if with_parts else []
        except BillingError:
            outcomes += [self._record_alone(work, each, own) for each, own in with_parts.items()]
        return outcomes

    def finish(self, work: Work) -> None:
        """Do the work without a tenant, register payers, match the rest, and write the accountant's files."""
        run, platform = work.run, work.connection
        entered = FORM.entered(run.options)
        if isinstance(entered, form.SetAside | form.ReopenTransfer):
            _require_all(entered, _change(platform, entered, run))
        elif isinstance(entered, form.ForgetPayers):
            forget_payers(platform, entered.payers)
        elif isinstance(entered, form.Confirm | form.SamePayment) and not entered.only_once:
            transfer_ids = {part["transfer_id"] for part in run.options["parts"]}
            remember_payers(platform, transfer_ids, person=run.person, execution_id=run.execution_id)
        self._match(platform, run, unrecorded_transfers(platform, run.execution_id))
        self._billing.write_books(
            platform, run_date=run.run_date, execution_id=run.execution_id, store=work.files
        )

    def digest(self, work: Work) -> Digest:
        """The transfers that wait for a user, with the action for each kind."""
        waiting = waiting_transfers(work.connection)
        if not waiting:
            return Digest()
        lines = [f"{doubt.label}: {count:,} 件 → {doubt.advice}" for doubt, count in waiting.items()]
        title = f"消込の確定待ち {sum(waiting.values()):,} 件（ボードの「入金消込」）"
        return Digest([title, *lines])

    def _decided(self, request: Request, entered: Operation) -> list[TransferPart]:
        if isinstance(entered, form.Confirm):
            tolerance = self._billing.terms.settings.fee_tolerance
            return confirmed_parts(request.platform, entered.transfers, tolerance, is_other=entered.is_other)
        if isinstance(entered, form.SamePayment):
            return same_parts(request.platform, entered.same_transfers)
        return []

    def _read(self, work: Work) -> RunRemark:
        result = _Import()
        entered = FORM.entered(work.run.options)
        assert isinstance(entered, form.ImportFiles), "no other operation reads files"
        folder = bank_inbox.incoming(work.files, datetime.now(UTC), entered.uploaded)
        result.waiting = folder.waiting
        result.refused = [f"ファイル '{name}': {reason}。" for name, reason in folder.refused.items()]
        for name in folder.files:
            # The accountant may remove a file meanwhile.
            with suppress(FileNotFoundError):
                try:
                    self._import(work, name, result)
                except ParameterError as error:
                    result.refused.append(str(error))
        return result.remark(self._match(work.connection, work.run))

    def _import(self, work: Work, name: str, result: _Import) -> None:
        """Store one file, then move it out of the folder. An already stored file is only moved."""
        run, store = work.run, work.files
        content = bank_inbox.read(store, name)
        sha256 = hashlib.sha256(content).hexdigest()
        day = stored_on(work.connection, sha256)
        if day:
            result.known_files += 1
        else:
            settings = self._billing.terms.settings
            file = read_bank_file(content, name, settings, run.run_date)
            result.transfers += store_file(
                work.connection,
                name,
                sha256,
                file,
                virtual_accounts=settings.virtual_accounts,
                run_on=run.run_date,
                entered_by=run.person,
                execution_id=run.execution_id,
            )
            result.files += 1
            result.left_out += [f"{name}: {each}" for each in file.left_out]
        if not run.dry_run:
            bank_inbox.keep(store, name, content, sha256, day or run.run_date)

    def _match(self, platform: psycopg.Connection, run: Run, failed: Collection[str] = ()) -> MatchReport:
        tolerance = self._billing.terms.settings.fee_tolerance
        return match_transfers(platform, fee_tolerance=tolerance, today=run.run_date, failed=failed)

    def _record(self, work: Work, parts: Mapping[str, Sequence[TransferPart]]) -> list[UnitResult]:
        """Record payments. :raises BillingError: a payment is impossible, so nothing is recorded."""
        run = work.run
        recorder = Recorder(self._billing.terms, run.run_date, run.person, run.execution_id)
        record = record_confirmed if "parts" in run.options else record_automatic
        with transfers_refused(), work.connection.transaction():
            remarks = record(work.connection, [part for own in parts.values() for part in own], recorder)
        return [
            UnitResult(
                tenant_id,
                {"transfers": len({part.transfer_id for part in own})},
                len(own),
                notes=tuple(remarks[tenant_id]),
            )
            for tenant_id, own in parts.items()
        ]

    def _record_alone(self, work: Work, tenant_id: str, parts: Sequence[TransferPart]) -> Outcome:
        """Record one tenant's payments, transfer by transfer. An impossible one does not stop the others."""
        results: list[UnitResult] = []
        failures: list[BillingError] = []
        for _, of_transfer in groupby(parts, key=lambda part: part.transfer_id):
            try:
                results += self._record(work, {tenant_id: list(of_transfer)})
            except BillingError as error:
                failures.append(error)
        notes = tuple(note for result in results for note in result.notes)
        if failures:
            text = " ".join(str(error) for error in failures)
            return UnitFailure(tenant_id, failures[0].code, text, recoverable=False, notes=notes)
        records = sum(result.records for result in results)
        return UnitResult(tenant_id, {"transfers": len(results)}, records, notes)


def _change(
    platform: psycopg.Connection, entered: form.SetAside | form.ReopenTransfer, run: Run
) -> list[str]:
    if isinstance(entered, form.SetAside):
        return set_aside(platform, entered.transfer_ids, entered.reason, run.person)
    return reopen(platform, entered.transfer_ids)


def _require_all(entered: form.SetAside | form.ReopenTransfer, left: Sequence[str]) -> None:
    """Check the result. :raises ParameterError: the operation is impossible for transfers ``left``. The others are changed."""
    if left:
        named = "、".join(each[:40] for each in left[:5])
        raise ParameterError(
            f"操作「{entered.title}」は、振込 {named} にはできません。ないか、入金になったか、銀行が取り消しました。"
            "ボードの「入金消込」で確かめてください。"
        )


def _as_json(part: TransferPart) -> dict[str, Any]:
    return {
        **asdict(part),
        "paid_on": part.paid_on.isoformat(),
        "amount": str(part.amount),
        "fee": str(part.fee),
    }


def _from_json(part: dict[str, Any]) -> TransferPart:
    return TransferPart(
        **{
            **part,
            "paid_on": date.fromisoformat(part["paid_on"]),
            "amount": Decimal(part["amount"]),
            "fee": Decimal(part["fee"]),
        }
    )
