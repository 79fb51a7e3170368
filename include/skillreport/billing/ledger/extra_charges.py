"""One-off lines (``batch.extra_charge``): lines that a user enters, and lines that carry a difference into a later month."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.differences import Difference, find_differences
from include.skillreport.billing.documents.invoice import Language
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.inputs import ExtraCharge
from include.skillreport.billing.ledger.entries import Entry, excess, require_new_line, wait_reason
from include.skillreport.billing.ledger.stored_invoice import invoice_label
from include.skillreport.billing.money import EXACT, RoundingMode, round_to_minor_unit
from include.skillreport.billing.periods import Period
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


def enter_line(
    connection: psycopg.Connection,
    terms: Terms,
    tenant_id: str,
    line: ExtraCharge,
    entry: Entry,
) -> str | None:
    """Enter a line for the month of its date. Returns why it waits for somebody else's approval, or None.

    A second attempt of the same run changes nothing.

    :raises BillingError: the month is final or before the first month, there is no such currency, the amount rounds to 0, or another run
        has entered the same line.
    """
    for waits in _SQL.column(
        connection, "entered_line", tenant_id=tenant_id, execution_id=entry.execution_id
    ):
        return wait_reason(connection, terms, tenant_id, entry.person) if waits else None
    month = Period.month_of(line.charged_on)
    terms.require_billed_month(month.start)
    amount = EXACT.multiply(line.quantity, line.unit_amount)
    if not round_to_minor_unit(amount, line.currency, RoundingMode(terms.settings.rounding)):
        raise BillingError(
            "LINE_IS_ZERO",
            f"個別明細「{line.description}」の金額 {amount:,f} {line.currency} は、端数処理で 0 になります。単価か数量を直してください",
        )
    final = _final_months(connection, tenant_id, month.start)
    if month.start in final:
        raise BillingError(
            "MONTH_IS_FINAL",
            f"{month.start:%Y-%m} の{final[month.start]}。"
            f"日付を {_open_month(month, final).start:%Y-%m} 以降にしてください",
        )
    require_new_line(connection, tenant_id, line, entry)
    line_id = _enter(
        connection, tenant_id, line, None, entered_by=entry.person, execution_id=entry.execution_id
    )
    reason = excess(connection, terms, tenant_id, month, entry.person)
    if reason:
        _SQL.execute(connection, "hold_line", extra_charge_id=line_id)
    return reason


def remove_line(
    connection: psycopg.Connection,
    tenant_id: str,
    named: str,
    charged_on: date | None,
    *,
    removed_by: str,
    execution_id: str,
) -> ExtraCharge:
    """Remove the line with this description or id, and on this day if one is given. Returns the line.

    A second attempt of the same run returns the line that the first attempt removed.
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
    row = _SQL.row(
        connection.cursor(row_factory=dict_row),
        "remove_line",
        extra_charge_id=removable[0]["extra_charge_id"],
        removed_by=removed_by,
        execution_id=execution_id,
    )
    return _line(row["content"])


def approve_lines(connection: psycopg.Connection, lines: Iterable[ExtraCharge], approved_by: str) -> None:
    """Record who has approved the draft that contains the lines. A line that was approved before stays as it is."""
    ids = [line.extra_charge_id for line in lines]
    if ids:
        _SQL.execute(connection, "approve_lines", extra_charge_ids=ids, approved_by=approved_by)


def carry_difference(
    connection: psycopg.Connection,
    terms: Terms,
    tenant_id: str,
    period: Period,
    *,
    entered_by: str,
    execution_id: str | None,
) -> list[ExtraCharge]:
    """Carry the difference of a final month into the next month that is not final: one line per tax category. Returns the lines.

    A second attempt of the same run returns the lines that the first attempt entered. Two concurrent runs carry the difference only once.
    :raises BillingError: there is no difference, the invoice has credit notes, the month cannot be priced any more, or the prices of the
        two months differ in whether they include tax.
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
            f"{target.start:%Y-%m} の料金表と税込・税抜が違うため、差額を繰り越せません。返還請求書か個別明細で訂正してください",
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


def _require_carriable(difference: Difference) -> None:
    number = invoice_label(difference.before.number).strip()
    if difference.problem:
        raise BillingError(
            "NOT_PRICEABLE", f"{number}の月を計算し直せません。{difference.problem.rstrip('。')}"
        )
    if difference.credited:
        # Only the accountant knows whether a credit note was for this difference or for something else.
        raise BillingError(
            "HAS_CREDITS",
            f"{number}には返還請求書があり、差額のどこまでが返還済みか決められません（{difference.sentence()}）。"
            "残りを「個別明細の追加」か「一部の返還」で訂正してください",
        )


def _line(content: dict[str, Any]) -> ExtraCharge:
    """A removed line. It is not validated, so a line with impossible numbers can be removed."""
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


def _final_months(connection: psycopg.Connection, tenant_id: str, since: date) -> dict[date, str]:
    """The months from ``since`` on that take no line any more, and why: the invoice is final, or its month is closed."""
    return {
        month: f"{invoice_label(number).strip()}は"
        + ("取消か全額返還をしたため、その月は閉じています" if is_closed else "確定済みです")
        for month, number, is_closed in _SQL.execute(
            connection, "final_months", tenant_id=tenant_id, since=since
        )
    }


def _open_month(first: Period, final: dict[date, str]) -> Period:
    month = first
    while month.start in final:
        month = Period.month_of(month.next_day)
    return month
