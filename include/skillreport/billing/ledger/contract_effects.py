"""The effects of changed contracts on final invoices, and on addresses that no longer get e-mails.

All functions work on the transaction's tenants, as ``batch_tenant``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.accounts import (
    BillingAccount,
    inputs_of,
    issuer_of,
    load_accounts,
    tax_category_of,
)
from include.skillreport.billing.contract_kinds import PLAN, PROFILE
from include.skillreport.billing.differences import first_month
from include.skillreport.billing.documents.invoice import HONORIFICS
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.ledger.letter_texts import recipient_letter
from include.skillreport.billing.ledger.letters import insert_letters, plain_letter_row
from include.skillreport.billing.ledger.stored_invoice import stored_document
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.calculation import price_signed
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.billing.state import invoice_label
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

_PRINTED = frozenset(
    {"recipient_name", "department", "honorific", "postal_code", "address", "country", "language"}
)


def applied_changes(connection: psycopg.Connection, execution_id: str) -> dict[str, list[dict[str, Any]]]:
    """The changes that the run applied, by tenant id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _SQL.rows(connection, "applied_changes", execution_id=execution_id):
        found.setdefault(row["tenant_id"], []).append(row)
    return found


def tell_former_recipients(
    connection: psycopg.Connection, changes: Iterable[Mapping[str, Any]], settings: BillingSettings
) -> int:
    """Queue an e-mail to each address that no longer gets e-mails, for the next run of BATCH-019-01. A retry queues none again.

    Returns their number. :raises BillingError: the issuer has no English address for an English e-mail.
    """
    told = [change for change in changes if change["former_emails"]]
    if not told:
        return 0
    names = {row["tenant_id"]: row for row in _SQL.rows(connection, "names_of_letters")}
    letters = []
    for change in told:
        tenant = names.get(change["tenant_id"])
        if tenant is None:
            continue
        issuer = issuer_of(settings.issuer, tenant["language"])
        honorific = HONORIFICS[tenant["honorific"]]
        letter = recipient_letter(issuer, tenant["language"], tenant["name"], honorific)
        for number, address in enumerate(change["former_emails"], start=1):
            notification_id = f"recipient-{change['change_id']}-{number}"
            letters.append(plain_letter_row(notification_id, change["tenant_id"], address, letter))
    insert_letters(connection, letters, None)
    return len(letters)


class InvoiceComparison:
    """Compares final invoices with the present contracts. A month's accounts are read once for all tenants."""

    def __init__(self, connection: psycopg.Connection, terms: Terms, today: date) -> None:
        self._connection, self._terms, self._today = connection, terms, today
        self._accounts: dict[Period, dict[str, BillingAccount]] = {}

    def remarks(self, tenant_id: str, changes: Sequence[Mapping[str, Any]]) -> list[str]:
        """A sentence about each final invoice of the last 12 months that would differ with the changed contract.

        If only the recipient's printed texts would differ, names only the newest invoice.
        """
        since = _first_day(changes, self._today)
        rows = _SQL.rows(self._connection, "billed_months", tenant_id=tenant_id, since=since)
        with_plans = any(change["kind"] == PLAN.name for change in changes)
        remarks = [remark for row in rows if (remark := self._difference(row, with_plans=with_plans))]
        if rows and any(_PRINTED.intersection(change["changed"]) for change in _of_profile(changes)):
            newest = invoice_label(rows[-1]["number"])
            remarks.append(
                f"{newest}までの宛名などは変わりません。直すには、DAG operate_invoices の「訂正」を使ってください"
            )
        return remarks

    def _difference(self, row: dict[str, Any], *, with_plans: bool) -> str | None:
        before, period = stored_document(row), Period.month_of(row["period_start"])
        account = self._accounts_of(period).get(row["tenant_id"])
        if account is None:
            return None
        name = f"{invoice_label(before.number).strip()}（{before.period_start:%Y-%m} 分）"
        try:
            inputs = self._present(
                BillingInputs.model_validate(row["inputs"]), account, with_plans=with_plans
            )
            after = price_signed(inputs)
        except BillingError as error:
            return f"{name}は変わりません。今の契約では計算できません（{str(error).rstrip('。')}）"
        if after.currency != before.currency:
            return (
                f"{name}は {before.total:,f} {before.currency} のままです。今の契約の通貨は {after.currency} です。"
                "入金前なら「取消して再発行」で直せます"
            )
        difference = after.total - (before.total - row["credited_total"])
        if difference:
            returned = f"（返還済み {row['credited_total']:,f}）" if row["credited_total"] else ""
            return (
                f"{name}は {before.total:,f} {before.currency}{returned} のままです。"
                f"今の契約なら {after.total:,f}（差額 {difference:+,f}）です。{_advice(difference)}"
            )
        if inputs.order_number != before.order_number:
            return (
                f"{name}の注文番号は {before.order_number or 'なし'} のままです。"
                "取引先に必要なら、DAG operate_invoices の「訂正」の備考に書いてください"
            )
        return None

    def _accounts_of(self, period: Period) -> dict[str, BillingAccount]:
        if period not in self._accounts:
            loaded = load_accounts(self._connection, period)
            self._accounts[period] = {account.tenant_id: account for account in loaded}
        return self._accounts[period]

    def _present(self, stored: BillingInputs, account: BillingAccount, *, with_plans: bool) -> BillingInputs:
        """The inputs with the present contract. The usage stays; with other plans it is read again.

        :raises BillingError: the contract is incomplete now.
        """
        settings, has_other_currency = self._terms.settings, account.currency != stored.currency
        contract: dict[str, Any] = {
            "discounts": account.discounts,
            "commitments": account.commitments,
            "currency": account.currency,
            "tax_category": tax_category_of(account, settings),
            "order_number": account.order_number,
        }
        if has_other_currency:
            contract["exchange_rate"] = account.exchange_rate
        if with_plans or has_other_currency:
            prices = self._terms.price_list.version_for(stored.period.start)
            present = inputs_of(account, stored.period, prices, settings, allow_incomplete=True)
            contract["parts"] = present.parts if present else ()
            contract["usage_days"] = present.usage_days if present else ()
        return BillingInputs.model_validate({**dict(stored), **contract})


def _advice(difference: Decimal) -> str:
    if difference < 0:
        return "入金前なら「取消して再発行」、そうでなければ DAG operate_invoices の「一部の返還」で差額を返してください"
    return "入金前なら「取消して再発行」、そうでなければ DAG operate_invoices の「個別明細の追加」で、開いている月に差額を加えてください"


def _first_day(changes: Iterable[Mapping[str, Any]], today: date) -> date:
    """The first day of the earliest changed month, at most 12 months back. A profile applies to all months."""
    earliest = first_month(Period.month_of(today))
    days = [
        date.fromisoformat(row[first]).replace(day=1)
        for change in changes
        for row in (change["before"], change["after"])
        for first in ("valid_from", "effective_from")
        if row and first in row
    ]
    return max(earliest, min(days)) if days and not list(_of_profile(changes)) else earliest


def _of_profile(changes: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    return (change for change in changes if change["kind"] == PROFILE.name)
