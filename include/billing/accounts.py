"""The rows of a tenant's month, and the inputs of the calculation made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg

from include.billing.approval import PreviousTotal, UnplacedRows
from include.billing.errors import BillingError
from include.billing.inputs import BillingInputs, PricedPart
from include.billing.invoice import Issuer, Recipient
from include.billing.money import RoundingMode
from include.billing.periods import Period, PlanChange, PlanPart, plan_parts
from include.billing.price_list import Plan, PriceListVersion
from include.billing.usage import UsageDay
from include.database import Statements
from include.execution.run_log import ACTIVE_STATUSES
from include.settings import BillingSettings

_SQL = Statements(Path(__file__).parent)

# BATCH-018-01 records this plan for a tenant with status TRIAL, whatever plan the tenant tries.
TRIAL_PLAN = "TRIAL"


@dataclass(frozen=True)
class LiveInvoice:
    """The tenant's live invoice of a month and the run that made it. ``is_paid`` comes from the application."""

    invoice_id: str
    status: str
    number: str | None
    total: Decimal
    currency: str
    input_hash: str
    execution_id: str
    is_paid: bool


@dataclass(frozen=True)
class BillingAccount:
    """One tenant's month: contract, plans, discounts, commitments, usage days and invoices. Dates are Asia/Tokyo."""

    tenant_id: str
    tenant_code: str
    tenant_status: str
    currency: str
    contract_start: date | None
    contract_end: date | None
    plan_changes: tuple[PlanChange, ...]
    recipient: Recipient
    discounts: list[dict[str, Any]]
    commitments: list[dict[str, Any]]
    exchange_rate: dict[str, Any] | None
    usage_days: tuple[UsageDay, ...]
    unplaced: UnplacedRows
    live: LiveInvoice | None
    previous: PreviousTotal | None

    @property
    def issued(self) -> LiveInvoice | None:
        """The live invoice, unless it is a draft."""
        return self.live if self.live and self.live.status != "draft" else None


def load_accounts(connection: psycopg.Connection, period: Period) -> list[BillingAccount]:
    """The accounts of the transaction's tenants, ordered by tenant id."""
    month = {"period_start": period.start, "period_end": period.end}
    usage = _SQL.rows(connection, "load_usage_days", **month)
    days = {tenant_id: list(rows) for tenant_id, rows in groupby(usage, key=itemgetter("tenant_id"))}
    accounts = _SQL.rows(connection, "load_accounts", **month)
    return [_account(row, days.get(row["tenant_id"], [])) for row in accounts]


def inputs_of(
    account: BillingAccount,
    period: Period,
    prices: PriceListVersion,
    settings: BillingSettings,
    *,
    allow_incomplete: bool,
) -> BillingInputs | None:
    """The inputs of the tenant's invoice, or None if nothing is billable: no contract in the month, or only FREE and TRIAL.

    :raises BillingError: the plan, its history or the contract's end is missing or unknown, or the tenant was used outside its contract.
    """
    parts = [
        PricedPart(plan_part=part, plan=_in_currency(plan, account.currency))
        for part in _parts(account, period)
        if (plan := _billable_plan(part, prices)) is not None
    ]
    if not parts:
        return None
    billed = [
        day for day in account.usage_days if any(part.plan_part.part.holds(day.usage_date) for part in parts)
    ]
    return BillingInputs(
        tenant_id=account.tenant_id,
        tenant_code=account.tenant_code,
        period=period,
        currency=account.currency,
        rounding=RoundingMode(settings.rounding),
        tax_included=prices.tax_included,
        price_list_version=prices.effective_from,
        issuer=Issuer(**settings.issuer.model_dump(exclude={"corporate", "sample"})),
        recipient=account.recipient,
        parts=tuple(parts),
        usage_days=tuple(billed),
        allow_incomplete=allow_incomplete,
        discounts=account.discounts,  # type: ignore[arg-type]  # pydantic checks and converts the rows
        commitments=account.commitments,  # type: ignore[arg-type]
        exchange_rate=account.exchange_rate,  # type: ignore[arg-type]
    )


def _parts(account: BillingAccount, period: Period) -> tuple[PlanPart, ...]:
    contract = period.clipped(account.contract_start, account.contract_end)
    _require_contract_for_use(account, contract)
    if contract is None:
        return ()
    if not account.plan_changes:
        raise BillingError(
            "NO_PLAN",
            "プランが設定されていません。MST_Tenant.subscription_plan か batch.plan_change に登録してください",
        )
    ended = account.contract_end is not None or account.plan_changes[-1].plan is None
    if account.tenant_status not in ACTIVE_STATUSES and not ended:
        raise BillingError(
            "CONTRACT_END_UNKNOWN",
            f"状態が {account.tenant_status} ですが、契約終了日もプランの終了も分かりません。"
            "MST_Tenant.contract_end_date か batch.plan_change（plan を NULL）に登録してください",
        )
    _require_known_beginning(account, period)
    return plan_parts(
        period, account.plan_changes, contract_start=account.contract_start, contract_end=account.contract_end
    )


def _require_contract_for_use(account: BillingAccount, contract: Period | None) -> None:
    """Check that an active tenant was not used outside its contract: that means that a renewal was not entered."""
    if account.tenant_status != "ACTIVE":
        return
    outside = [
        day.usage_date
        for day in account.usage_days
        if (day.active_users or day.api_calls) and not (contract and contract.holds(day.usage_date))
    ]
    if outside:
        raise BillingError(
            "USED_OUTSIDE_CONTRACT",
            f"稼働中で、契約期間の外の {len(outside)} 日（{outside[0]} から）に利用があります。"
            "MST_Tenant の契約開始日・終了日を直してください",
        )


def _require_known_beginning(account: BillingAccount, period: Period) -> None:
    """Check that the plan history covers the month from the contract's start, or else from the first usage day."""
    known_since = account.plan_changes[0].effective_from
    first_day = account.contract_start or next((day.usage_date for day in account.usage_days), None)
    if first_day is not None and max(first_day, period.start) < known_since <= period.end:
        raise BillingError(
            "PLAN_UNKNOWN",
            f"{max(first_day, period.start)} から {known_since} の前日までのプランが分かりません。batch.plan_change に登録してください",
        )


def _billable_plan(part: PlanPart, prices: PriceListVersion) -> Plan | None:
    if part.plan == TRIAL_PLAN:
        return None
    plan = prices.plans.get(part.plan)
    if plan is None:
        raise BillingError(
            "UNKNOWN_PLAN",
            f"プラン '{part.plan}' は料金表（{prices.effective_from} 版）にありません。"
            "料金表に追加するか、テナントのプランを直してください",
        )
    return plan if plan.billable else None


def _in_currency(plan: Plan, currency: str) -> Plan:
    """The plan with the prices in this currency only."""
    return plan.model_copy(
        update={"prices": {name: price for name, price in plan.prices.items() if name == currency}}
    )


def _account(row: dict[str, Any], days: Sequence[dict[str, Any]]) -> BillingAccount:
    return BillingAccount(
        tenant_id=row["tenant_id"],
        tenant_code=row["tenant_code"],
        tenant_status=row["tenant_status"],
        currency=row["currency"],
        contract_start=row["contract_start"],
        contract_end=row["contract_end"],
        plan_changes=_plan_changes(row),
        recipient=Recipient(
            name=row["recipient_name"],
            department=row["department"],
            postal_code=row["postal_code"],
            address=row["address"],
            email=row["email"],
        ),
        discounts=row["discounts"],
        commitments=row["commitments"],
        exchange_rate=row["exchange_rate"],
        usage_days=tuple(UsageDay.model_validate(day) for day in days),
        unplaced=_unplaced_rows(days),
        live=None
        if row["live_invoice_id"] is None
        else LiveInvoice(
            row["live_invoice_id"],
            row["live_status"],
            row["live_number"],
            row["live_total"],
            row["live_currency"],
            row["live_input_hash"],
            row["live_execution_id"],
            row["is_paid"],
        ),
        previous=None
        if row["previous_total"] is None
        else PreviousTotal(row["previous_total"], row["previous_currency"]),
    )


def _unplaced_rows(days: Sequence[dict[str, Any]]) -> UnplacedRows:
    if not days:
        return UnplacedRows(0, 0, 0, 0)
    # Of days with equally many, the day with the fewest users has the largest share.
    fullest = max(days, key=lambda day: (day["unplaced_accounts"], -day["registered_users"]))
    return UnplacedRows(
        events=sum(day["unplaced_events"] for day in days),
        read_events=sum(day["read_events"] for day in days),
        accounts=fullest["unplaced_accounts"],
        read_accounts=fullest["registered_users"] + fullest["unplaced_accounts"],
    )


def _plan_changes(row: dict[str, Any]) -> tuple[PlanChange, ...]:
    """The plan history up to the month's end. Without a history, the host's current plan applies to the whole past."""
    if row["has_plan_history"]:
        return tuple(PlanChange.model_validate(change) for change in row["plan_changes"])
    plan = TRIAL_PLAN if row["tenant_status"] == "TRIAL" else row["subscription_plan"]
    return () if plan is None else (PlanChange(effective_from=date.min, plan=plan),)
