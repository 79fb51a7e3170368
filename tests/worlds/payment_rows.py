"""Operations on the payments of A's October invoice, on 10 December 2026."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from include.skillreport.core.execution.business_date import JAPAN
from tests.conftest import Database
from tests.worlds import billing_rows

NUMBER = "INV-2026-10-001"
TODAY = date(2026, 12, 10)


def operate(database: Database, operation: str, *codes: str, **options: Any) -> Any:
    """An operation on 10 December."""
    run_at = datetime(TODAY.year, TODAY.month, TODAY.day, 10, tzinfo=JAPAN)
    return billing_rows.operate(database, operation, *codes, run_at=run_at, **options)


def pay(database: Database, amount: str = "11000", *, reference: str = "F-1", **options: Any) -> Any:
    """A's payment by bank transfer on 27 November."""
    values = payment_values(amount, reference=reference, paid_on=options.pop("paid_on", "2026-11-27"))
    values["is_other"] = options.pop("is_other", False)
    return operate(database, "record_payment", values=values, **options)


def payment_values(
    amount: str = "11000", *, reference: str = "F-1", paid_on: str = "2026-11-27"
) -> dict[str, Any]:
    """The fields of the form for this payment."""
    return {
        "paid_on": paid_on,
        "paid_amount": amount,
        "paid_method": "銀行振込",
        "paid_reference": reference,
    }
