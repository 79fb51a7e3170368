"""What changed contracts mean for the invoices that are final already, and for the addresses that get no more letters.

All functions work on the transaction's tenants, as ``batch_tenant``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from include.skillreport.billing.accounts import BillingAccount, inputs_of, issuer_of, load_accounts
from include.skillreport.billing.contract_kinds import PLAN, PROFILE
from include.skillreport.billing.differences import first_month
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import BillingInputs
from include.skillreport.billing.ledger.letter_texts import recipient_letter
from include.skillreport.billing.ledger.letters import insert_letters, plain_letter_row
from include.skillreport.billing.ledger.stored_invoice import invoice_label, stored_document
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.calculation import price_signed
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# The columns of a profile that are printed on documents.
_PRINTED = frozenset({"recipient_name", "department", "postal_code", "address", "country", "language"})


def applied_changes(connection: psycopg.Connection, execution_id: str) -> dict[str, list[dict[str, Any]]]:
    """What the run has applied, by tenant id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _SQL.rows(connection, "applied_changes", execution_id=execution_id):
        found.setdefault(row["tenant_id"], []).append(row)
    return found


def tell_former_recipients(
    connection: psycopg.Connection, changes: Iterable[Mapping[str, Any]], settings: BillingSettings
) -> int:
    """Queue a letter to each address that gets no more letters, for the next run of BATCH-019-01. A retry queues none again.

    Returns the number of the letters.
    """
    names = {row["tenant_id"]: row for row in _SQL.rows(connection, "names_of_letters")}
    letters = []
    for change in changes:
        tenant = names.get(change["tenant_id"])
        if tenant is None:
            continue
        letter = recipient_letter(
            issuer_of(settings.issuer, tenant["language"]), tenant["language"], tenant["name"]
        )
        for number, address in enumerate(change["former_emails"], start=1):
            notification_id = f"recipient-{change['change_id']}-{number}"
            letters.append(plain_letter_row(notification_id, change["tenant_id"], address, letter))
    insert_letters(connection, letters, None)
    return len(letters)


def differing_invoices(
    connection: psycopg.Connection,
    tenant_id: str,
    changes: Sequence[Mapping[str, Any]],
    terms: Terms,
    today: date,
) -> list[str]:
    """A sentence about each final invoice of the last 12 months that would be another one with the changed contract.

    Nothing is written. An invoice in which nothing but a printed text would differ is named if it is the newest one.
    """
    remarks = []
    rows = _SQL.rows(connection, "billed_months", tenant_id=tenant_id, since=_first_day(changes, today))
    with_plans = any(change["kind"] == PLAN.name for change in changes)
    for row in rows:
        remark = _difference(connection, row, terms if with_plans else None)
        if remark:
            remarks.append(remark)
    if rows and any(_PRINTED.intersection(change["changed"]) for change in _of_profile(changes)):
        newest = rows[-1]
        remarks.append(
            f"{invoice_label(newest['number'])}までの宛名などは変わりません。直すには、DAG operate_invoices の「訂正」を使ってください"
        )
    return remarks


def _first_day(changes: Iterable[Mapping[str, Any]], today: date) -> date:
    """The first day of the earliest month that a change is about, at most 12 months back. A profile holds for all months."""
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


def _difference(connection: psycopg.Connection, row: dict[str, Any], terms: Terms | None) -> str | None:
    """A sentence about an invoice whose amount would differ now; None: it would not. ``terms``: with the plans that hold now, too."""
    before, period = stored_document(row), Period.month_of(row["period_start"])
    account = next(
        (each for each in load_accounts(connection, period) if each.tenant_id == row["tenant_id"]), None
    )
    if account is None:
        return None
    name = f"{invoice_label(before.number).strip()}（{before.period_start:%Y-%m} 分）"
    try:
        inputs = _with_present_contract(row["inputs"], account)
        after = price_signed(_with_present_plans(inputs, account, terms) if terms else inputs)
    except BillingError as error:
        return f"{name}は変わりません。今の契約では計算できません（{str(error).rstrip('。')}）"
    if after.total == before.total:
        return None
    difference = after.total - before.total
    advice = (
        "DAG operate_invoices の「一部の返還」で差額を返してください"
        if difference < 0
        else "DAG operate_invoices の「個別明細の追加」で、開いている月に差額を加えてください"
    )
    return (
        f"{name}は {before.total:,f} {before.currency} のままです。今の契約なら {after.total:,f}（差額 {difference:+,f}）です。"
        f"入金前なら「取消して再発行」、そうでなければ {advice}"
    )


def _with_present_contract(inputs: dict[str, Any], account: BillingAccount) -> BillingInputs:
    """The stored inputs with the discounts, commitments and the tax category that hold now."""
    present: dict[str, Any] = {"discounts": account.discounts, "commitments": account.commitments}
    if account.tax_category:
        present["tax_category"] = account.tax_category
    return BillingInputs.model_validate({**inputs, **present})


def _with_present_plans(inputs: BillingInputs, account: BillingAccount, terms: Terms) -> BillingInputs:
    """The inputs with the plans that hold now, and the usage of their days. :raises BillingError: the plans are unknown."""
    prices = terms.price_list.version_for(inputs.period.start)
    present = inputs_of(account, inputs.period, prices, terms.settings, allow_incomplete=True)
    parts, usage_days = (present.parts, present.usage_days) if present else ((), ())
    return inputs.model_copy(update={"parts": parts, "usage_days": usage_days})
