"""The yen of each entry of the books, calculated anew from the rows, entry by entry in the order of their time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

_ENTERED = """
    SELECT finalized_at AS moment, 'document' AS kind, invoice_id AS id, coalesce(credits_invoice_id, invoice_id) AS invoice_id,
        total AS amount, null AS payment_id
    FROM batch.invoice WHERE number IS NOT null
    UNION ALL
    SELECT entered_at, kind, adjustment_id, invoice_id, -amount, payment_id FROM batch.adjustment
    UNION ALL
    SELECT entered_at, 'money', payment_id, invoice_id, CASE kind WHEN 'refund' THEN amount ELSE -amount END, payment_id
    FROM batch.payment
    UNION ALL
    SELECT reversed_at, 'reversal', payment_id, invoice_id, CASE kind WHEN 'refund' THEN -amount ELSE amount END, payment_id
    FROM batch.payment WHERE reversed_at IS NOT null
    ORDER BY moment
"""

_BOOKED = """
    SELECT date_trunc('month', booked_on::timestamp)::date, booking, coalesce(adjustment_id, payment_id, invoice_id)
    FROM batch.accounting_entry
"""

_RATES = """
    SELECT invoice_id, coalesce((inputs #>> '{exchange_rate,yen_per_unit}')::numeric, 1) FROM batch.invoice
    WHERE kind = 'invoice'
"""


def yen(amount: Decimal, rate: Decimal) -> int:
    """Whole yen, rounded half up."""
    return int((amount * rate).quantize(Decimal(1), ROUND_HALF_UP))


def yen_per_month(host: psycopg.Connection) -> Counter[date]:
    """What each month adds to the receivables in yen. What is void, and what is reversed later, is as the view says."""
    receivables = {invoice_id: _Receivable(rate) for invoice_id, rate in host.execute(_RATES).fetchall()}
    entered: dict[str, int] = {}
    with host.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_ENTERED).fetchall():
            receivable = receivables[row["invoice_id"]]
            value = -entered[row["id"]] if row["kind"] == "reversal" else receivable.yen_of(row)
            receivable.open += row["amount"]
            receivable.yen += value
            entered.setdefault(row["id"], value)
    sums: Counter[date] = Counter()
    for month, booking, entry_id in host.execute(_BOOKED).fetchall():
        value = entered[entry_id]
        sums[month] += {"void": 0, "reversal": -value}.get(booking, value)
    return sums


@dataclass
class _Receivable:
    """What the entries of an invoice leave open: in its currency, and in yen at its rate."""

    rate: Decimal
    open: Decimal = Decimal(0)
    yen: int = 0
    credited: Decimal | None = None
    # What fees and write-offs have taken, less what was taken back or recovered: the amount and the yen.
    adjusted: defaultdict[str, list[Any]] = field(
        default_factory=lambda: defaultdict(lambda: [Decimal(0), 0])
    )
    recovered: dict[str, int] = field(default_factory=dict)

    def yen_of(self, row: dict[str, Any]) -> int:
        """What the entry adds in yen."""
        kind, amount = row["kind"], row["amount"]
        if kind == "document":
            # The credit notes of an invoice are converted together, so that their rounding does not add up.
            before, self.credited = (
                self.credited,
                Decimal(0) if self.credited is None else self.credited + amount,
            )
            return (
                yen(amount, self.rate)
                if before is None
                else yen(self.credited, self.rate) - yen(before, self.rate)
            )
        if kind == "money":
            return yen(self.open + amount, self.rate) - self.yen
        return self._yen_of_adjustment(row["payment_id"], kind, amount)

    def _yen_of_adjustment(self, payment_id: str | None, kind: str, amount: Decimal) -> int:
        taken = self.adjusted["write_off" if kind == "recovery" else kind]
        if kind == "recovery":
            # It gives back its part of the write-off, and its payment's reversal takes that again.
            if payment_id in self.recovered:
                value = -self.recovered.pop(payment_id)
            else:
                value = self.recovered[str(payment_id)] = yen(taken[1] * amount / taken[0], Decimal(1))
        elif amount > 0:
            value = -taken[1]
        else:
            # What leaves nothing open takes all its yen.
            value = -self.yen if self.open + amount == 0 else yen(amount, self.rate)
        taken[0] += amount
        taken[1] += value
        return value
