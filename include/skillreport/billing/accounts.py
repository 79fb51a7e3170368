"""The rows of a tenant's month, and the calculation inputs from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import psycopg
from pydantic import TypeAdapter, ValidationError

from include.skillreport.billing.approval import PreviousTotal, UnplacedRows
from include.skillreport.billing.documents.invoice import (
    HONORIFICS,
    DocumentReference,
    Issuer,
    Language,
    Recipient,
)
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs, ExtraCharge, MeteredDay, PricedPart
from include.skillreport.billing.money import RoundingMode
from include.skillreport.billing.periods import Period, PlanChange, PlanPart, plan_parts
from include.skillreport.billing.pricing.charge_models.metered_percentage import MeteredPercentageCharge
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.pricing.price_list import Plan, PriceListVersion
from include.skillreport.billing.pricing.usage import UsageDay
from include.skillreport.billing.receivables.due_dates import PaymentTerms
from include.skillreport.billing.settings import BillingSettings, IssuerSettings
from include.skillreport.billing.state import InvoiceState
from include.skillreport.core.database import Statements
from include.skillreport.core.entered import visible
from include.skillreport.core.execution.tenant_selection import ACTIVE_STATUSES

_SQL = Statements(Path(__file__).parent)

# BATCH-018-01 records this plan for a tenant with status TRIAL, regardless of the tenant's plan.
TRIAL_PLAN = "TRIAL"
_JAPAN = "JP"

_USAGE_DAYS = TypeAdapter(tuple[UsageDay, ...])


@dataclass(frozen=True)
class LiveInvoice:
    """The tenant's live invoice of a month and the run that created it.

    ``usage_days`` is the number of billed days. ``remarks`` are the document's. ``hold_reason``: why the calculation held it.
    """

    invoice_id: str
    state: InvoiceState
    currency: str
    input_hash: str
    execution_id: str
    issued_on: date | None
    usage_days: int
    remarks: tuple[str, ...]
    hold_reason: str | None


@dataclass(frozen=True)
class TakenBackInvoice:
    """The month's latest invoice that was voided or credited in full. ``number``: None if its total was 0."""

    number: str | None
    issued_on: date


@dataclass(frozen=True)
class BillingAccount:
    """One tenant's month: contract, plans, discounts, commitments, usage days, metered amounts and invoices. Dates are Asia/Tokyo.

    ``extra_charges`` also have their authors and approvers. ``payment_terms`` are the customer's; None: the installation's.
    ``received`` is the month's latest void or fully credited invoice that the customer may have: its letter was not withdrawn in time.
    ``former_runs`` are the runs whose invoices of the month were voided, or credited in full. ``is_first``: no other month was billed
    under a plan. ``order_number`` is the customer's, on the month's last day. ``remarks`` are warnings for operators.
    """

    tenant_id: str
    tenant_code: str
    tenant_status: str
    currency: str
    language: Language
    tax_category: TaxCategory | None
    payment_terms: PaymentTerms | None
    contract_start: date | None
    contract_end: date | None
    plan_changes: tuple[PlanChange, ...]
    recipient: Recipient
    discounts: list[dict[str, Any]]
    commitments: list[dict[str, Any]]
    exchange_rate: dict[str, Any] | None
    waiting_rate_on: date | None
    order_number: str | None
    extra_charges: list[dict[str, Any]]
    usage_days: tuple[UsageDay, ...]
    metered: Sequence[dict[str, Any]]
    unplaced: UnplacedRows
    live: LiveInvoice | None
    taken_back: TakenBackInvoice | None
    received: DocumentReference | None
    former_runs: Collection[str]
    previous: PreviousTotal | None
    is_first: bool
    remarks: tuple[str, ...]

    @property
    def issued(self) -> LiveInvoice | None:
        """The live invoice, unless it is a draft."""
        return self.live if self.live and self.live.state.status != "draft" else None

    def is_among(self, tenants: Collection[str]) -> bool:
        """True if these codes or ids contain this tenant."""
        return not {self.tenant_id, self.tenant_code}.isdisjoint(tenants)

    @property
    def replaces(self) -> DocumentReference | None:
        """The month's invoice that a new one replaces: the issued one, or ``received``."""
        if self.issued and self.issued.state.number and self.issued.issued_on:
            return DocumentReference(number=self.issued.state.number, issued_on=self.issued.issued_on)
        return self.received


def load_accounts(connection: psycopg.Connection, period: Period) -> list[BillingAccount]:
    """The accounts of the transaction's tenants, ordered by tenant id."""
    month = {"period_start": period.start, "period_end": period.end}
    usage = _SQL.rows(connection, "load_usage_days", **month)
    days = {tenant_id: list(rows) for tenant_id, rows in groupby(usage, key=itemgetter("tenant_id"))}
    amounts = _SQL.rows(connection, "load_metered_amounts", **month)
    metered = {tenant_id: list(rows) for tenant_id, rows in groupby(amounts, key=itemgetter("tenant_id"))}
    accounts = _SQL.rows(connection, "load_accounts", **month)
    return [
        _account(row, days.get(row["tenant_id"], []), metered.get(row["tenant_id"], [])) for row in accounts
    ]


def inputs_of(
    account: BillingAccount,
    period: Period,
    prices: PriceListVersion,
    settings: BillingSettings,
    *,
    allow_incomplete: bool,
) -> BillingInputs | None:
    """The inputs of the tenant's invoice. None if nothing is billable: no one-off line, and no contract or only FREE and TRIAL.

    :raises BillingError: the plan, its history or the contract's start or end is missing or unknown, the tenant was used outside its
        contract, or the issuer has no English address.
    """
    parts = [
        PricedPart(plan_part=part, plan=_in_currency(plan, account.currency))
        for part in _parts(account, period)
        if (plan := _billable_plan(part, prices)) is not None
    ]
    if not parts and not account.extra_charges:
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
        issuer=issuer_of(settings.issuer, account.language),
        recipient=account.recipient,
        parts=tuple(parts),
        usage_days=tuple(billed),
        allow_incomplete=allow_incomplete,
        discounts=account.discounts,  # type: ignore[arg-type]  # pydantic checks and converts the rows
        commitments=account.commitments,  # type: ignore[arg-type]
        exchange_rate=account.exchange_rate,  # type: ignore[arg-type]
        language=account.language,
        metered=metered_days(account.metered, parts),
        tax_category=tax_category_of(account, settings),
        extra_charges=tuple(map(_extra_charge, account.extra_charges)),
        replaces=account.replaces,
        order_number=account.order_number,
        tax_rates=prices.tax_rates,
    )


@dataclass(frozen=True)
class NotBillable:
    """Why a tenant pays nothing for a month. ``needs_attention``: its contract seems to run, so an entry may be missing."""

    note: str
    needs_attention: bool = False


def why_not_billable(account: BillingAccount, period: Period) -> NotBillable:
    """Why ``inputs_of`` returns None for the account."""

    def because(reason: str, advice: str = "") -> NotBillable:
        return NotBillable(f"請求対象の契約がありません（{reason}）{advice}", needs_attention=bool(advice))

    is_active = account.tenant_status == "ACTIVE"
    if account.contract_start and account.contract_start > period.end:
        return because(f"契約は {account.contract_start} から")
    if account.contract_end and account.contract_end < period.start:
        advice = "。稼働中です。契約を更新したなら、アプリの契約終了日を直してください" if is_active else ""
        return because(f"契約は {account.contract_end} まで", advice)
    plans = plan_parts(
        period, account.plan_changes, contract_start=account.contract_start, contract_end=account.contract_end
    )
    if not plans:
        advice = (
            "。稼働中で、契約は続いています。契約が続くなら DAG operate_contracts の「プランの登録・訂正」で登録してください"
            if is_active
            else ""
        )
        return because("プランがない期間", advice)
    return because("無料・試用のプラン")


def metered_days(metered: Sequence[Mapping[str, Any]], parts: Sequence[PricedPart]) -> tuple[MeteredDay, ...]:
    """The billable days' rows of meters that the day's plan charges."""
    if not metered:
        return ()
    charged = [(priced.plan_part.part, _meters(priced.plan)) for priced in parts]
    return tuple(
        MeteredDay.model_validate({name: row[name] for name in MeteredDay.model_fields})
        for row in metered
        if any(part.holds(row["usage_date"]) and row["meter"] in meters for part, meters in charged)
    )


def _meters(plan: Plan) -> set[str]:
    charges = (charge for prices in plan.prices.values() for charge in prices.charges)
    return {charge.meter for charge in charges if isinstance(charge, MeteredPercentageCharge)}


def issuer_of(settings: IssuerSettings, language: Language) -> Issuer:
    """The issuer in the language of a document. :raises BillingError: it has no English address."""
    issuer = settings.model_dump(exclude={"corporate", "sample", "demo", "english", "logo", "seal"})
    if language == "en":
        if settings.english is None:
            raise BillingError(
                "NO_ENGLISH_ISSUER",
                "英文の請求書に必要な発行者の英語表記がありません。設定の billing.issuer.english に登録してください",
            )
        issuer |= settings.english.model_dump()
    return Issuer(**issuer)


def _extra_charge(row: dict[str, Any]) -> ExtraCharge:
    """The one-off line. Lines entered with SQL may have any number. :raises BillingError: its numbers are too long."""
    try:
        return ExtraCharge.model_validate({name: row[name] for name in ExtraCharge.model_fields})
    except ValidationError:
        raise BillingError(
            "BAD_EXTRA_CHARGE",
            f"{row['charged_on']} の個別明細「{row['description']}」の数量か単価が使えません（整数部 15 桁、小数部 6 桁まで）。"
            "DAG operate_invoices の「個別明細の取り消し」で取り消してください",
        ) from None


def tax_category_of(account: BillingAccount, settings: BillingSettings) -> TaxCategory | None:
    """The tenant's category, or the category of a recipient abroad (place of supply: 消費税法第4条第3項第3号); None: the price list's."""
    is_abroad = account.recipient.country not in (None, _JAPAN)
    return account.tax_category or (TaxCategory(settings.abroad_tax) if is_abroad else None)


def _parts(account: BillingAccount, period: Period) -> tuple[PlanPart, ...]:
    _require_dated_start(account)
    contract = period.clipped(account.contract_start, account.contract_end)
    _require_contract_for_use(account, contract)
    if contract is None:
        return ()
    if not account.plan_changes:
        raise BillingError(
            "NO_PLAN",
            "プランが設定されていません。アプリのテナントのプランか DAG operate_contracts の「プランの登録・訂正」で登録してください",
        )
    ended = account.contract_end is not None or account.plan_changes[-1].plan is None
    if account.tenant_status not in ACTIVE_STATUSES and not ended:
        raise BillingError(
            "CONTRACT_END_UNKNOWN",
            f"状態が {account.tenant_status} ですが、契約終了日もプランの終了も分かりません。"
            "アプリの契約終了日か DAG operate_contracts の「プランの登録・訂正」（プランは空欄）で登録してください",
        )
    _require_known_beginning(account, period)
    return plan_parts(
        period, account.plan_changes, contract_start=account.contract_start, contract_end=account.contract_end
    )


def _require_dated_start(account: BillingAccount) -> None:
    """Check that the contract begins on a date. The views show infinity and other invalid times as dates in the years 1 and 9999."""
    if account.contract_start and account.contract_start.year in (MINYEAR, MAXYEAR):
        raise BillingError(
            "CONTRACT_START_UNKNOWN",
            "契約開始日が日付ではありません（infinity、西暦 1 年以前、9999 年以後のどれか）。"
            "アプリの契約開始日（空のときは登録日）を直してください",
        )


def _require_contract_for_use(account: BillingAccount, contract: Period | None) -> None:
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
            "アプリの契約開始日・終了日を直してください",
        )


def _require_known_beginning(account: BillingAccount, period: Period) -> None:
    """Check that the plan history covers the month from the contract's start, otherwise from the first usage day."""
    known_since = account.plan_changes[0].effective_from
    first_day = account.contract_start or next((day.usage_date for day in account.usage_days), None)
    if first_day is not None and max(first_day, period.start) < known_since <= period.end:
        raise BillingError(
            "PLAN_UNKNOWN",
            f"{max(first_day, period.start)} から {known_since} の前日までのプランが分かりません。"
            "DAG operate_contracts の「プランの登録・訂正」で登録してください",
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
    return plan.model_copy(
        update={"prices": {name: price for name, price in plan.prices.items() if name == currency}}
    )


def _account(
    row: dict[str, Any], days: Sequence[dict[str, Any]], metered: Sequence[dict[str, Any]]
) -> BillingAccount:
    recipient, remarks = _recipient(row)
    return BillingAccount(
        tenant_id=row["tenant_id"],
        tenant_code=row["tenant_code"],
        tenant_status=row["tenant_status"],
        currency=row["currency"],
        language=row["language"],
        tax_category=row["tax_category"] and TaxCategory(row["tax_category"]),
        payment_terms=None
        if row["due_months"] is None
        else PaymentTerms(row["due_months"], row["due_day"], is_own=True),
        contract_start=row["contract_start"],
        contract_end=row["contract_end"],
        plan_changes=_plan_changes(row),
        recipient=recipient,
        is_first=row["is_first"],
        remarks=remarks,
        discounts=row["discounts"],
        commitments=row["commitments"],
        exchange_rate=row["exchange_rate"],
        waiting_rate_on=row["waiting_rate_on"],
        order_number=" ".join(visible(row["order_number"] or "").split()) or None,
        extra_charges=row["extra_charges"],
        usage_days=_USAGE_DAYS.validate_python(days),
        metered=metered,
        unplaced=_unplaced_rows(days),
        live=None
        if row["live_invoice_id"] is None
        else LiveInvoice(
            row["live_invoice_id"],
            InvoiceState.of(row, "live_"),
            row["live_currency"],
            row["live_input_hash"],
            row["live_execution_id"],
            row["live_issued_on"],
            row["live_usage_days"],
            tuple(row["live_remarks"]),
            row["live_hold_reason"],
        ),
        taken_back=row["taken_back_on"] and TakenBackInvoice(row["taken_back_number"], row["taken_back_on"]),
        received=row["received_number"]
        and DocumentReference(number=row["received_number"], issued_on=row["received_issued_on"]),
        former_runs=row["former_runs"],
        previous=None
        if row["previous_total"] is None
        else PreviousTotal(
            row["previous_total"],
            row["previous_recurring"],
            row["previous_currency"],
            row["previous_billed_days"],
            row["previous_month_days"],
            row["previous_yen_per_unit"],
        ),
    )


def _recipient(row: dict[str, Any]) -> tuple[Recipient, tuple[str, ...]]:
    texts = {
        "name": row["recipient_name"],
        **{name: row[name] for name in ("department", "postal_code", "address")},
    }
    shown = {name: text and visible(text) for name, text in texts.items()}
    # An address in Japan is stored without its country.
    country = row["country"] if row["country"] != _JAPAN else None
    remarks = () if shown == texts else ("請求先の名前か住所から、見えない文字を除きました",)
    return Recipient(**shown, country=country, honorific=HONORIFICS[row["honorific"]]), remarks


def _unplaced_rows(days: Sequence[dict[str, Any]]) -> UnplacedRows:
    if not days:
        return UnplacedRows(0, 0, 0, 0)
    # Of days with equally many unplaced accounts, the day with the fewest users has the largest share.
    fullest = max(days, key=lambda day: (day["unplaced_accounts"], -day["registered_users"]))
    return UnplacedRows(
        events=sum(day["unplaced_events"] for day in days),
        read_events=sum(day["read_events"] for day in days),
        accounts=fullest["unplaced_accounts"],
        read_accounts=fullest["registered_users"] + fullest["unplaced_accounts"],
    )


def _plan_changes(row: dict[str, Any]) -> tuple[PlanChange, ...]:
    """The plan history up to the month's end. Without a history, the host's current plan applies to the entire past."""
    if row["has_plan_history"]:
        return tuple(PlanChange.model_validate(change) for change in row["plan_changes"])
    plan = TRIAL_PLAN if row["tenant_status"] == "TRIAL" else row["subscription_plan"]
    return () if plan is None else (PlanChange(effective_from=date.min, plan=plan),)
