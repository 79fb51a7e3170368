"""How much one person may enter for a tenant and month without somebody else's approval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

# The usual limit: this many times the mean of the last months, within these bounds in yen.
MONTHS = 12
_TIMES = 3
LEAST_LIMIT, _MOST = 50_000, 1_000_000


def entry_limit(setting: int | None, recurring: Sequence[Decimal]) -> int:
    """The limit in whole yen: the setting ``billing.operation_limit``, otherwise the usual one.

    ``recurring`` are the subtotals in yen without one-off lines of the tenant's last finalised invoices, up to ``MONTHS``.
    """
    if setting is not None:
        return setting
    if not recurring:
        return LEAST_LIMIT
    usual = Fraction(sum(recurring, Decimal(0))) * _TIMES / len(recurring)
    return max(LEAST_LIMIT, min(_MOST, int(usual)))
