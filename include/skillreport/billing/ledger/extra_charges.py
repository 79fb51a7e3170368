"""One-off lines (``batch.extra_charge``): users' lines, and lines that carry a difference into a later month."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from include.skillreport.billing.differences import Difference, find_differences
from include.skillreport.billing.documents.invoice import Language
from include.skillreport.billing.documents.written_language import require_readable
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.entries import (
    EntryAuthor,
    excess,
    require_new_line,
    wait_reason,
    withdraw_entries,
)
from include.skillreport.billing.money import EXACT, RoundingMode, round_to_minor_unit
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.second_person import SecondPerson, approval_words
from include.skillreport.billing.state import invoice_label
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# The warning about a line that its own run entered and a user has removed since.
REMOVED = "取り消し済みのため、登録していません"


def enter_line(
    connection: psycopg.Connection,
    terms: Terms,
    tenant_id: str,
    line: ExtraCharge,
    entry: EntryAuthor,
) -> tuple[str, ...]:
    """Enter a line for the month of its date. Returns warnings: it waits for another user's approval, its month is closed, or
    (``REMOVED``) it is not entered again.

    A line of a closed month is billed with 「請求のやり直し（新番号）」. A retry changes nothing.

    :raises BillingError: the month is final or before the first month, there is no such currency, the amount rounds to 0, another
        run has entered the same line, or the customer cannot read it.
    """
    month = Period.month_of(line.charged_on)
    final = _final_months(connection, tenant_id, month.start)
    known = final.get(month.start)
    texts = (line.description, line.unit or "")
    for waits in _SQL.column(
        connection, "entered_line", tenant_id=tenant_id, execution_id=entry.execution_id
    ):
        reason = wait_reason(connection, terms, tenant_id, entry.person, *texts) if waits else None
        return _remarks(month, known, reason)
    if _SQL.rows(connection, "was_removed", tenant_id=tenant_id, execution_id=entry.execution_id):
        return (REMOVED,)
    terms.require_billed_month(month.start)
    language = _SQL.row(connection, "language_of", tenant_id=tenant_id)[0]
    fields = {"「内容」（line_text）": line.description, "「単位」（line_unit）": line.unit or ""}
    require_readable(language, fields, "請求先の言語")
    amount = EXACT.multiply(line.quantity, line.unit_amount)
    if not round_to_minor_unit(amount, line.currency, RoundingMode(terms.settings.rounding)):
        raise BillingError(
            "LINE_IS_ZERO",
            f"個別明細「{line.description}」の金額 {amount:,f} {line.currency} は、端数処理で 0 になります。単価か数量を直してください",
        )
    if known and not known.is_closed:
        raise BillingError(
            "MONTH_IS_FINAL",
            f"{month.start:%Y-%m} の{invoice_label(known.number).strip()}は確定済みです。"
            f"日付を {_open_month(month, final).start:%Y-%m} 以降にしてください",
        )
    require_new_line(connection, tenant_id, line, entry)
    line_id = _enter(
        connection, tenant_id, line, None, entered_by=entry.person, execution_id=entry.execution_id
    )
    reason = excess(connection, terms, tenant_id, month, entry.person, *texts)
    if reason:
        _SQL.execute(connection, "hold_line", extra_charge_id=line_id)
    return _remarks(month, known, reason)


def remove_line(
    connection: psycopg.Connection,
    tenant_id: str,
    named: str,
    charged_on: date | None,
    *,
    removed_by: str,
    execution_id: str,
) -> ExtraCharge:
    """Remove the line with this description or id, and on this day if given. Returns the line.

    A retry returns the same line.
    :raises BillingError: there is no such line, there are several, or a final invoice has it.
    """
    for row in _SQL.rows(connection, "removed_lines", tenant_id=tenant_id, execution_id=execution_id):
        return _line(row["content"])
    found = _SQL.rows(connection, "lines_named", tenant_id=tenant_id, named=named, charged_on=charged_on)
    if not found:
        raise BillingError(
            "NO_SUCH_LINE",
            f"個別明細「{named}」はありません。内容（または明細の ID）と利用日を確認してください",
        )
    removable = [row for row in found if row["final_invoice_id"] is None]
    if not removable:
        raise BillingError(
            "MONTH_IS_FINAL",
            f"{found[0]['charged_on']} の個別明細「{found[0]['description']}」は、確定した"
            f"{invoice_label(found[0]['number']).strip()}に載っています。一部の返還で訂正してください",
        )
    if len(removable) > 1:
        listed = "、".join(f"{row['charged_on']} {row['extra_charge_id']}" for row in removable)
        raise BillingError(
            "SEVERAL_LINES",
            f"個別明細「{named}」は {len(removable)} 件あります。「内容」（line_text）に ID を指定してください（{listed}）",
        )
    ids = [removable[0]["extra_charge_id"]]
    (row,) = withdraw_entries(connection, "line", ids, "", execution_id, removed_by)
    return _line(row["content"])


def approve_lines(connection: psycopg.Connection, lines: Iterable[ExtraCharge], approved_by: str) -> None:
    """Record the approver of the draft with these lines. Lines that were approved before do not change."""
    ids = [line.extra_charge_id for line in lines]
    if ids:
        _SQL.execute(connection, "approve_lines", extra_charge_ids=ids, approved_by=approved_by)


def approve_others_lines(
    connection: psycopg.Connection,
    tenant_id: str,
    period: Period,
    setting: SecondPerson,
    *,
    approver: str,
    entered_before: datetime | None,
) -> list[str]:
    """Approve other users' waiting lines of the month, of a draft that the approver's own line still holds. Returns warnings."""
    rows = _SQL.rows(
        connection,
        "approve_others_lines",
        tenant_id=tenant_id,
        period_start=period.start,
        period_end=period.end,
        approver=approver,
        entered_before=entered_before,
    )
    return [
        f"{row['charged_on']} の個別明細「{row['description']}」（登録者 {row['entered_by']}）は {approver} が承認しました。"
        f"{approver} が登録した明細は、{approval_words(setting)}を待っています"
        for row in sorted(rows, key=lambda row: (row["charged_on"], row["description"]))
    ]


def carry_difference(
    connection: psycopg.Connection,
    terms: Terms,
    tenant_id: str,
    period: Period,
    *,
    entered_by: str,
    execution_id: str | None,
) -> list[ExtraCharge]:
    """Carry the difference of a final month into the next open month: one line per tax category. Returns the lines.

    A retry returns the same lines. Two concurrent runs carry the difference only once.
    :raises BillingError: there is no difference, the invoice has credit notes, the month can no longer be priced, or the two months
        differ in a tax rate or in whether prices include tax.
    """
    _SQL.execute(connection, "lock_month", tenant_id=tenant_id, period_start=period.start)
    entered = _SQL.rows(connection, "lines_of_execution", tenant_id=tenant_id, execution_id=execution_id)
    if entered:
        return [ExtraCharge.model_validate(row) for row in entered]
    found = find_differences(connection, period.start, period.start)
    if not found:
        raise BillingError(
            "NO_DIFFERENCE", f"{period.start:%Y-%m} の請求と今の使用量に差額はありません。何も繰り越しません"
        )
    (difference,) = found
    _require_carriable(difference)
    target = _open_month(Period.month_of(period.next_day), _final_months(connection, tenant_id, period.start))
    if terms.price_list.version_for(target.start).tax_included != difference.before.tax_included:
        raise BillingError(
            "TAX_BASIS_DIFFERS",
            f"{target.start:%Y-%m} の料金表と税込・税抜が違うため、差額を繰り越せません。返還か個別明細で訂正してください",
        )
    for category in difference.uncarried:
        rates = [terms.price_list.rate_percent(category, month) for month in (period.start, target.start)]
        if rates[0] != rates[1]:
            raise BillingError(
                "TAX_RATE_DIFFERS",
                f"{period.start:%Y-%m} と {target.start:%Y-%m} で消費税の税率が違うため、差額を繰り越せません。減額なら「一部の返還」、"
                "増額なら「取消して再発行」で訂正してください",
            )
    lines = [
        _carried_line(difference, target.start, category, amount)
        for category, amount in difference.uncarried.items()
    ]
    for line in lines:
        _enter(
            connection,
            tenant_id,
            line,
            difference.invoice_id,
            entered_by=entered_by,
            execution_id=execution_id,
        )
    return lines


def currency_of(connection: psycopg.Connection, tenant_id: str) -> str:
    """The currency of a tenant's invoices."""
    return str(_SQL.row(connection, "currency_of", tenant_id=tenant_id)[0])


def _require_carriable(difference: Difference) -> None:
    number = invoice_label(difference.before.number).strip()
    if difference.problem:
        raise BillingError(
            "NOT_PRICEABLE", f"{number}の月を計算し直せません。{difference.problem.rstrip('。')}"
        )
    if difference.returned:
        # Only the accountant knows whether a credit note was for this difference.
        raise BillingError(
            "HAS_CREDITS",
            f"{number}には返還があり、差額のどこまでが返還済みか決められません（{difference.sentence()}）。"
            "残りを「個別明細の追加」か「一部の返還」で訂正してください",
        )


def _line(content: dict[str, Any]) -> ExtraCharge:
    """A removed line. It is not validated, so that lines with impossible numbers can be removed."""
    return ExtraCharge.model_construct(
        **{name: content[name] for name in ExtraCharge.model_fields}
        | {"charged_on": date.fromisoformat(content["charged_on"])}
    )


def _carried_line(
    difference: Difference, charged_on: date, category: TaxCategory, amount: Decimal
) -> ExtraCharge:
    before = difference.before
    return ExtraCharge(
        charged_on=charged_on,
        description=_CARRIED[before.language].format(
            month=f"{before.period_start:%Y年%-m月}"
            if before.language == "ja"
            else f"{before.period_start:%B %Y}",
            number=before.number or "-",
        ),
        quantity=Decimal(1),
        unit=None,
        unit_amount=amount,
        currency=before.currency,
        tax_category=category,
    )


_CARRIED: dict[Language, str] = {
    "ja": "{month}分の差額（{number}、利用量の再集計による）",
    "en": "Adjustment for {month} ({number}, usage recalculated)",
}


def _enter(
    connection: psycopg.Connection,
    tenant_id: str,
    line: ExtraCharge,
    carries_invoice_id: str | None,
    *,
    entered_by: str,
    execution_id: str | None,
) -> str:
    line_id = str(uuid.uuid4())
    _SQL.execute(
        connection,
        "enter_line",
        **line.model_dump(mode="json", exclude={"extra_charge_id"}),
        extra_charge_id=line_id,
        tenant_id=tenant_id,
        carries_invoice_id=carries_invoice_id,
        entered_by=entered_by,
        execution_id=execution_id,
    )
    return line_id


class _FinalMonth(NamedTuple):
    """A month without a draft whose invoice is final. ``is_closed``: it was taken back, and the next run does not bill the month."""

    number: str | None
    is_closed: bool


def _final_months(connection: psycopg.Connection, tenant_id: str, since: date) -> dict[date, _FinalMonth]:
    rows = _SQL.execute(connection, "final_months", tenant_id=tenant_id, since=since)
    return {month: _FinalMonth(number, is_closed) for month, number, is_closed in rows}


def _remarks(month: Period, known: _FinalMonth | None, wait_reason: str | None) -> tuple[str, ...]:
    closed = (
        f"{month.start:%Y-%m} は{invoice_label(known.number).strip()}を取消か全額返還したため閉じています。"
        "この明細は「請求のやり直し（新番号）」で請求されます"
        if known
        else ""
    )
    waits = f"{wait_reason}。この月の請求は保留になります" if wait_reason else ""
    return tuple(remark for remark in (closed, waits) if remark)


def _open_month(first: Period, final: dict[date, _FinalMonth]) -> Period:
    month = first
    while month.start in final:
        month = Period.month_of(month.next_day)
    return month
