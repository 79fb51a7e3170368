"""Finds the reminders that wait, because an unconfirmed transfer may have paid the invoice. Pure; days are Asia/Tokyo dates."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from include.skillreport.billing.receivables.due_dates import business_days_after
from include.skillreport.billing.receivables.matching import KnownPayer, Match, OpenTransfer, Unpaid

# Users have this many business days of banks after the import to confirm a transfer. Then the reminder is sent.
_DAYS = 3

# A hold names its newest transfers, because thousands may have the same amount.
_MOST_NAMED = 3


@dataclass(frozen=True)
class ReminderHold:
    """The reminders of an invoice wait until the end of ``held_until``, because of ``transfers`` (ids of the newest ones)."""

    number: str
    tenant_id: str
    held_until: date
    transfers: tuple[str, ...]


def reminder_holds(
    transfers: Iterable[OpenTransfer],
    matches: Iterable[Match],
    unpaid: Sequence[Unpaid],
    payers: Iterable[KnownPayer],
    fee_tolerance: int,
) -> Iterator[ReminderHold]:
    """The invoices that a transfer may have paid. It needs a user, and was booked on or after the first day on which they can be paid.

    They are the transfer's choices, and the oldest invoices of the payer's tenants, as far as the amount goes. If the payer is unknown,
    they are also the invoices of any tenant with this open amount, or with this sum of all open invoices, less at most ``fee_tolerance``
    yen. Transfers of one payer are also added up, because customers may pay in two parts.
    """
    of_tenant: dict[str, list[Unpaid]] = defaultdict(list)
    for invoice in sorted(unpaid, key=lambda each: (each.due_on or each.earliest, each.number)):
        of_tenant[invoice.tenant_id].append(invoice)
    doubtful = {match.transfer_id: match for match in matches if match.doubt}
    waiting = [each for each in transfers if each.transfer_id in doubtful]
    tenants: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for payer in payers:
        for code in (payer.payer_code, None):
            tenants[payer.payer_key, code].add(payer.tenant_id)
    unknown = [each for each in waiting if (each.payer_key, None) not in tenants]
    amounts = _Amounts(_with_sums(unknown), Decimal(fee_tolerance))
    holding: dict[str, set[OpenTransfer]] = defaultdict(set)
    for transfer in waiting:
        for choice in doubtful[transfer.transfer_id].choices:
            for part in choice:
                if part.payment_id is None:
                    holding[part.number].add(transfer)
    for transfer in _with_sums(waiting):
        key, code = transfer.payer_key, transfer.payer_code
        for tenant_id in tenants.get((key, code)) or tenants.get((key, None)) or ():
            for invoice in _covered(of_tenant[tenant_id], transfer.amount):
                holding[invoice.number].add(transfer)
    for invoices in of_tenant.values():
        total = sum((invoice.open_amount for invoice in invoices), Decimal(0))
        for invoice in invoices:
            found = [each for each in holding[invoice.number] if each.booked_on >= invoice.earliest]
            for amount in {invoice.open_amount, total}:
                found += amounts.newest(amount, invoice.earliest)
            if found:
                newest = _newest(found)
                until = business_days_after(newest[0].imported_on, _DAYS)
                ids = tuple(dict.fromkeys(each.transfer_id for each in newest))[:_MOST_NAMED]
                yield ReminderHold(invoice.number, invoice.tenant_id, until, ids)


class _Amounts:
    """Transfers by their amounts."""

    def __init__(self, transfers: Iterable[OpenTransfer], tolerance: Decimal) -> None:
        self._transfers = sorted(transfers, key=lambda each: each.amount)
        self._tolerance = tolerance
        self._known: dict[tuple[Decimal, date], Sequence[OpenTransfer]] = {}

    def newest(self, amount: Decimal, since: date) -> Sequence[OpenTransfer]:
        """The newest transfers since a day that pay the amount, possibly less a fee."""
        found = self._known.get((amount, since))
        if found is None:
            first = bisect_left(self._transfers, amount - self._tolerance, key=lambda each: each.amount)
            last = bisect_right(self._transfers, amount, key=lambda each: each.amount)
            found = _newest(each for each in self._transfers[first:last] if each.booked_on >= since)
            self._known[amount, since] = found
        return found


def _newest(transfers: Iterable[OpenTransfer]) -> Sequence[OpenTransfer]:
    newest = sorted(transfers, key=lambda each: (each.imported_on, each.transfer_id), reverse=True)
    return newest[: _MOST_NAMED + 1]


def _with_sums(transfers: Sequence[OpenTransfer]) -> Iterator[OpenTransfer]:
    """The transfers, and a copy of each with the sum of its payer's transfers, if the sum differs."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for transfer in transfers:
        sums[transfer.payer_key, transfer.payer_code] += transfer.amount
    for transfer in transfers:
        yield transfer
        total = sums[transfer.payer_key, transfer.payer_code]
        if transfer.payer_key and total != transfer.amount:
            yield replace(transfer, amount=total)


def _covered(invoices: Iterable[Unpaid], paid: Decimal) -> Iterator[Unpaid]:
    """The oldest invoices, as far as the amount goes. It may cover only a part of the last one."""
    for invoice in invoices:
        if paid <= 0:
            return
        yield invoice
        paid -= invoice.open_amount
