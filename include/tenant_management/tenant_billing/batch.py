"""BATCH-018-02: last month priced, taxed and invoiced once per tenant, with the documents that the accountant sends."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg

from include.billing import archive
from include.billing.errors import BillingError
from include.billing.explanation import explain
from include.billing.ledger import (
    Instructions,
    Settlement,
    TenantSettlement,
    already_done,
    credit_invoice,
    invoice_of_month,
    price_tenants,
    settle_tenants,
    void_invoice,
)
from include.billing.periods import Period
from include.billing.terms import OWN_TERMS, Terms
from include.database import read_sql
from include.errors import ParameterError
from include.execution.digest import Digest
from include.execution.object_store import ObjectStore
from include.execution.sharding import Tenant
from include.execution.tenant_work import Run, TenantBatch, TenantFailure, TenantResult

_HERE = Path(__file__).parent


class Action(StrEnum):
    """What a run does: its ordinary work, or what an operator asks for with the invoices of single tenants."""

    BILL = "bill"
    EXPLAIN = "explain"
    VOID = "void"
    CREDIT = "credit"


class TenantBillingBatch(TenantBatch):
    """The steps of BATCH-018-02; see ``TenantBatch`` for what each must hold to."""

    writes_files = True

    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def options(
        self, parameters: Mapping[str, Any], tenants: Sequence[Tenant], *, all_tenants: bool
    ) -> dict[str, Any]:
        """``action``, ``approve`` (tenant codes), ``allow_incomplete``, ``force_recalculate`` and the ``reason`` of what is taken back."""
        action = _action(parameters.get("action"))
        recalculate = bool(parameters.get("force_recalculate"))
        reason = str(parameters.get("reason") or "").strip()
        if all_tenants and (recalculate or action is not Action.BILL):
            raise ParameterError(
                "「取消して再発行」と、請求以外の「操作」は、全テナントには行えません。"
                "「テナントコード」（tenants）に対象のコードを指定してください。"
            )
        if not reason and (recalculate or action in (Action.VOID, Action.CREDIT)):
            raise ParameterError(
                "確定済みの請求書を取り消す、返還する、再発行するには理由が必要です。「理由」（reason）に書いてください。"
            )
        return {
            "action": action,
            "approve": _codes(parameters.get("approve"), tenants),
            "allow_incomplete": bool(parameters.get("allow_incomplete")),
            "force_recalculate": recalculate,
            "reason": reason,
        }

    def further_tenants(self, platform: psycopg.Connection, business_date: date) -> Collection[str]:
        """Tenants that left in the month, or later, and still owe it."""
        period = Period.month_of(business_date)
        rows = platform.execute(
            read_sql(_HERE, "formerly_active_tenants"),
            {"period_start": period.start, "period_end": period.end},
        )
        return {tenant_id for (tenant_id,) in rows}

    def process(
        self,
        connection: psycopg.Connection,
        run: Run,
        tenant_ids: Sequence[str],
    ) -> list[TenantResult | TenantFailure]:
        """Price the tenants' month, finalise what needs no approval, fill the host's rows, queue the notifications.

        Or do what the operator asked for with the month's invoice of each tenant.
        """
        period = Period.month_of(run.business_date)
        action = Action(run.options["action"])
        if action is not Action.BILL:
            return [self._act(connection, run, action, period, tenant_id) for tenant_id in tenant_ids]
        instructions = Instructions(
            issued_on=_issue_date(run, period),
            actor=run.execution_id,
            resumable=True,
            allow_incomplete=run.options["allow_incomplete"],
            recalculate=run.options["force_recalculate"],
            reason=run.options["reason"],
            approved=run.options["approve"],
        )
        if run.dry_run:
            settlements = price_tenants(connection, period, self._terms, instructions)
        else:
            settlements = settle_tenants(connection, period, self._terms, instructions)
        return [self._outcome(settlement) for settlement in settlements]

    def deliver(self, connection: psycopg.Connection, run: Run, tenant_id: str, store: ObjectStore) -> None:
        """The tenant's invoice as PDF and JSON; with a sample of a price list or an issuer its draft, marked as a sample."""
        if run.options["action"] == Action.EXPLAIN:
            return
        write = archive.write_sample_documents if self._terms.samples else archive.write_documents
        write(connection, tenant_id, run.business_date.replace(day=1), store)

    def finish(self, platform: psycopg.Connection, run: Run, store: ObjectStore) -> None:
        """The month's accounting CSV, of all tenants; none with a sample of a price list or an issuer."""
        if run.options["action"] == Action.EXPLAIN or self._terms.samples:
            return
        archive.write_accounting_file(platform, run.business_date.replace(day=1), store)

    def digest(self, platform: psycopg.Connection, run: Run) -> Digest:
        """That the run has finalised nothing, because the price list or the issuer is a sample."""
        samples = self._terms.samples
        if not samples or run.options["action"] != Action.BILL:
            return Digest()
        row = platform.execute(
            read_sql(_HERE, "count_samples"),
            {"execution_id": run.execution_id, "settlement": Settlement.SAMPLE},
        ).fetchone()
        assert row is not None
        return Digest(
            (
                f"請求書を確定していません（{run.business_date:%Y-%m} 分）: {samples}が見本（sample: true）のため",
                f"・見本の下書き {row[0]} テナント（保存先の samples/{run.business_date:%Y-%m}/）。"
                "請求書番号、アプリの請求データ、請求先への通知、会計用 CSV は作っていません",
                f"→ {OWN_TERMS}。その後、業務日 {run.business_date:%Y-%m-%d} で再実行すると確定します",
            )
        )

    def _act(
        self, connection: psycopg.Connection, run: Run, action: Action, period: Period, tenant_id: str
    ) -> TenantResult | TenantFailure:
        """Explain, void or credit the tenant's invoice of the month; a retry finds it done, and does not turn to the next invoice."""
        reason, actor = run.options["reason"], run.execution_id
        result = "credited" if action is Action.CREDIT else "voided"
        try:
            if action is not Action.EXPLAIN:
                done = already_done(connection, tenant_id, period, actor, credit=action is Action.CREDIT)
                if done:
                    return TenantResult(tenant_id, {result: done[0]}, 0)
            stored = invoice_of_month(connection, tenant_id, period)
            if action is Action.EXPLAIN:
                report = tuple(explain(stored.invoice, stored.inputs))
                return TenantResult(tenant_id, {"invoice_number": stored.invoice.number}, 0, report=report)
            if action is Action.VOID:
                void_invoice(connection, self._terms, stored, reason, actor=actor)
                return TenantResult(tenant_id, {result: stored.invoice.number}, 0)
            credit = credit_invoice(
                connection, self._terms, stored, reason, issued_on=_issue_date(run, period), actor=actor
            )
        except BillingError as error:
            return TenantFailure(tenant_id, error.code, str(error), recoverable=False)
        return TenantResult(tenant_id, {result: credit.number}, 0)

    def _outcome(self, settlement: TenantSettlement) -> TenantResult | TenantFailure:
        if settlement.settlement in (Settlement.FAILED, Settlement.HELD):
            assert settlement.code is not None
            assert settlement.reason is not None
            return TenantFailure(settlement.tenant_id, settlement.code, settlement.reason, recoverable=False)
        details: dict[str, Any] = {"settlement": settlement.settlement}
        if settlement.number:
            details["invoice_number"] = settlement.number
        if settlement.settlement is Settlement.FINALIZED:
            details["generatedInvoices"] = 1
        if settlement.total is not None:
            # A number, so that the run's totals add it up: PostgreSQL reads its digits exactly, whatever Python makes of them.
            details[f"totalAmount{settlement.currency}"] = float(settlement.total)
        is_dry = settlement.settlement is Settlement.PRICED
        return TenantResult(
            settlement.tenant_id,
            details,
            records=len(settlement.inputs.usage_days) if settlement.inputs else 0,
            notes=settlement.notes,
            report=tuple(explain(settlement.invoice, settlement.inputs))
            if is_dry and settlement.invoice and settlement.inputs
            else (),
        )


def _issue_date(run: Run, period: Period) -> date:
    """The day on which the work is done; an invoice is never dated before its month is over."""
    return max(run.run_date, period.next_day)


def _action(value: object) -> Action:
    try:
        return Action(str(value or Action.BILL))
    except ValueError:
        raise ParameterError(
            f"操作（action）{value!r} は使えません。{'、'.join(Action)} のどれかを指定してください。"
        ) from None


def _codes(value: object, tenants: Sequence[Tenant]) -> list[str]:
    """Tenant codes that the operator approves. :raises ParameterError: names those that the run does not hold."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise ParameterError(
            f'承認（approve）{value!r} はコードの一覧ではありません。["HD001"] の形で指定してください。'
        )
    codes = [code.strip() for code in value if code.strip()]
    known = {name for tenant in tenants for name in (tenant.code, tenant.id)}
    unknown = "、".join(f"'{code}'" for code in codes if code not in known)
    if unknown:
        raise ParameterError(
            f"承認（approve）のテナントコード {unknown} はこの実行の対象ではありません。パラメータ approve か tenants を直してください。"
        )
    return codes
