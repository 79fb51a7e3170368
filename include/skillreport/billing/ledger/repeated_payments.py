"""Payments that may already be recorded. Functions run in the caller's tenant transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.receivables.matching import ENTERED_DAYS
from include.skillreport.billing.receivables.payment import Payable, Payment
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])


class RepeatedPaymentError(BillingError):
    """Payments may duplicate recorded ones. ``payments`` are all of them."""

    def __init__(self, payments: Sequence[Payment], text: str) -> None:
        super().__init__("SAME_PAYMENT", text)
        self.payments = payments


def require_other(
    connection: psycopg.Connection, payments: Sequence[Payment], payables: Mapping[str, Payable]
) -> None:
    """Check that the payments are not recorded yet. ``payables`` are by number.

    An entered payment is compared with the recorded ones of its tenant and day. A transfer (the sum that the tenant gets of it) is
    compared with payments that users entered within ``ENTERED_DAYS``.
    :raises RepeatedPaymentError: names all possible duplicates.
    """
    new = [payment for payment in payments if not payment.is_other and payment.number in payables]
    entered = [payment for payment in new if not payment.transfer_id]
    of_transfers: dict[tuple[str, str], list[Payment]] = defaultdict(list)
    for payment in new:
        if payment.transfer_id:
            of_transfers[payment.transfer_id, payables[payment.number].tenant_id].append(payment)
    sums = [
        replace(parts[0], amount=sum((each.amount for each in parts), Decimal(0)))
        for parts in of_transfers.values()
    ]
    compared = [*entered, *sums]
    if not compared:
        return
    found = _SQL.rows(
        connection,
        "equal_payments",
        payments=Jsonb(
            [
                {**asdict(each), "place": place, "paid_on": f"{each.paid_on}", "amount": f"{each.amount}"}
                for place, each in enumerate(compared)
            ]
        ),
        days=ENTERED_DAYS.days,
        since=min(payment.paid_on for payment in compared) - ENTERED_DAYS,
    )
    if found:
        repeated = [compared[row["place"]] for row in found]
        named = [
            f"請求書 {payment.number} の '{payment.reference}'（{payment.amount:,f} {payment.currency}）は、"
            f"{row['paid_on']} の請求書 {row['numbers']} の入金 '{row['payment_references']}'"
            for payment, row in zip(repeated, found, strict=True)
        ]
        same = "ボードの「入金消込」で「同じ入金」を選んでください。" if sums else ""
        raise RepeatedPaymentError(
            repeated,
            f"記録済みの入金と同じ額です。{'。'.join(named)}。{same}別の入金なら「記録済みの入金とは別」（is_other）を選んでください",
        )
