"""Payments that may be money which is already recorded. Functions run in the caller's transaction, in the context of its tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.receivables.matching import ENTERED_DAYS
from include.skillreport.billing.receivables.payment import Payment
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


class RepeatedPaymentError(BillingError):
    """Payments may be the same money as recorded ones. ``payments`` are all of them."""

    def __init__(self, payments: Sequence[Payment], text: str) -> None:
        super().__init__("SAME_PAYMENT", text)
        self.payments = payments


def require_other(connection: psycopg.Connection, payments: Sequence[Payment]) -> None:
    """Check that the payments are no money that is already recorded.

    Nobody records an amount of a tenant and day twice; a transfer is compared with what people have entered within ``ENTERED_DAYS``.
    :raises RepeatedPaymentError: names all payments that may be the same money.
    """
    new = [payment for payment in payments if not payment.is_other]
    of_transfers: dict[str, list[Payment]] = defaultdict(list)
    for payment in new:
        if payment.transfer_id:
            of_transfers[payment.transfer_id].append(payment)
    sums = [
        replace(parts[0], amount=sum((each.amount for each in parts), Decimal(0)))
        for parts in of_transfers.values()
        if len(parts) > 1
    ]
    compared = [
        {**asdict(payment), "place": place, "paid_on": f"{payment.paid_on}", "amount": f"{payment.amount}"}
        for place, payment in enumerate([*new, *sums])
    ]
    if not new:
        return
    since = min(payment.paid_on for payment in new) - ENTERED_DAYS
    found = _SQL.rows(
        connection, "equal_payments", payments=Jsonb(compared), days=ENTERED_DAYS.days, since=since
    )
    if found:
        repeated = [[*new, *sums][row["place"]] for row in found]
        named = [
            f"請求書 {payment.number} の '{payment.reference}'（{payment.amount:,f} {payment.currency}）は、"
            f"{row['paid_on']} の請求書 {row['numbers']} の入金 '{row['payment_references']}'"
            for payment, row in zip(repeated, found, strict=True)
        ]
        advice = (
            "ボードの「入金の照合」で、同じ入金なら「同じ入金」を、違えばもう一度「確認」を選んでください"
            if of_transfers
            else "別の入金なら「記録済みの入金とは別」（is_other）を選んでください"
        )
        raise RepeatedPaymentError(repeated, f"記録済みの入金と同じ額です。{'。'.join(named)}。{advice}")
