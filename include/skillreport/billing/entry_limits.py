"""The amount that a user may enter for a tenant and month without another user's approval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from include.skillreport.billing.payment_words import text_waits
from include.skillreport.billing.second_person import approval_words
from include.skillreport.billing.settings import BillingSettings

# The usual limit: this many times the mean of the last months, within these bounds in yen.
MONTHS = 12
_TIMES = 3
LEAST_LIMIT, _MOST = 50_000, 1_000_000


def entry_limit(setting: int | None, recurring: Sequence[Decimal]) -> int:
    """The limit in whole yen: the setting ``billing.operation_limit``, otherwise the usual one.

    ``recurring`` are the yen subtotals without one-off lines of the tenant's last finalised invoices, up to ``MONTHS``.
    """
    if setting is not None:
        return setting
    if not recurring:
        return LEAST_LIMIT
    usual = Fraction(sum(recurring, Decimal(0))) * _TIMES / len(recurring)
    return max(LEAST_LIMIT, min(_MOST, int(usual)))


@dataclass(frozen=True)
class Entry:
    """An entry for ``month`` (its first day): an amount without a sign, and the ``texts`` that the customer reads.

    ``rate``: yen per unit; None: the newest rate of the tenant's currency.
    """

    amount: Decimal
    month: date
    texts: Sequence[str] = ()
    rate: Decimal | None = None


def excess_reason(
    settings: BillingSettings,
    person: str,
    texts: Sequence[str],
    entered: Decimal | None,
    recurring: Sequence[Decimal],
) -> str | None:
    """Why the user's newest entry for the month waits, or None if the sum of the entries is within the limit.

    ``texts``: the newest entry's texts for the customer. Words of payment wait, too (``payment_words.text_waits``). ``entered``: the
    yen of all entries that no other user has approved; None: a rate is missing, so the entry waits. ``recurring`` as in
    ``entry_limit``.
    """
    approval = approval_words(settings.second_person, f"{person} 以外の人の")
    by_another = f"{approval}（DAG operate_invoices の「保留中の請求の承認」）を待ちます"
    if any(text_waits(text, settings.text_approval) for text in texts):
        return f"取引先が読む文に、支払いに関わる語があるか、設定 billing.text_approval が all のため、{by_another}"
    limit = entry_limit(settings.operation_limit, recurring)
    if entered is not None and entered <= limit:
        return None
    return (
        f"{person} がこの月に登録した額が、1 人で登録できる {limit:,d} 円を超えるか、円に換算できないため、"
        f"{by_another}"
    )
