"""The check before finalising: an invoice must contain the six items of a qualified invoice.

Source: 消費税法第57条の4第1項 (適格請求書の記載事項) and 第3項 (適格返還請求書).
"""

from __future__ import annotations

import re

from stdnum.jp import cn

from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.pricing.consumption_tax import TaxTotal

_REGISTRATION_NUMBER = re.compile(r"T([0-9]{13})")


def require_qualified(invoice: Invoice, *, corporate_issuer: bool) -> None:
    """Check the items of a qualified invoice. The number of a corporate issuer must have a valid check digit.

    :raises BillingError: names every item that is missing or wrong.
    """
    problems = [*_missing_items(invoice), *_registration_problems(invoice, corporate_issuer)]
    if problems:
        raise BillingError(
            "NOT_QUALIFIED", "適格請求書の記載事項が欠けているため確定できません: " + "、".join(problems)
        )


def _missing_items(invoice: Invoice) -> list[str]:
    taxed = {total.category for total in invoice.tax_totals}
    items = {
        "発行事業者の名称（設定の billing.issuer.name）": invoice.issuer.name.strip(),
        "取引の期間": invoice.period_start <= invoice.period_end
        and all(line.service_from <= line.service_to for line in invoice.lines),
        "取引の内容": invoice.lines and all(line.description.strip() for line in invoice.lines),
        "税率ごとの対価の額": {line.tax_category for line in invoice.lines} <= taxed
        and all(_is_sum_of_its_lines(total, invoice) for total in invoice.tax_totals),
        "税率ごとの消費税額": invoice.tax == sum(total.tax_amount for total in invoice.tax_totals),
        "交付を受ける者の名称（請求先の登録かアプリのテナント名）": invoice.recipient.name.strip(),
    }
    return [item for item, present in items.items() if not present]


def _is_sum_of_its_lines(total: TaxTotal, invoice: Invoice) -> bool:
    return total.taxable_amount == sum(
        line.amount for line in invoice.lines if line.tax_category is total.category
    )


def _registration_problems(invoice: Invoice, corporate_issuer: bool) -> list[str]:
    number = invoice.issuer.registration_number
    match = _REGISTRATION_NUMBER.fullmatch(number)
    if match is None:
        return [f"登録番号 '{number}'（T と 13 桁の数字。設定の billing.issuer.registration_number）"]
    if corporate_issuer and not cn.is_valid(match[1]):
        return [
            f"登録番号 '{number}'（法人番号の検査数字が合いません。設定の billing.issuer.registration_number）"
        ]
    return []
