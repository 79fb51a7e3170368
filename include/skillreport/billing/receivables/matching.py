"""Finds the invoices that a bank transfer pays. Pure; days are Asia/Tokyo dates, amounts are whole yen.

A transfer becomes a payment automatically only if nothing is guessed: its payer is known for exactly one tenant, and its amount fits one
open invoice, or all of them, possibly less a bank's fee, and no other combination. Every other transfer is a proposal with a reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice

# The maximum distance between an entered payment and its transfer, because users enter the day of the bank's notice.
ENTERED_DAYS = timedelta(days=14)

# The maximum number of choices in a proposal.
_MOST_CHOICES = 5

# With more open invoices, a tenant has too many combinations to try, and an amount is never sure.
_MOST_COMBINED = 12

_ZERO = Decimal(0)


class Doubt(StrEnum):
    """The reason that a transfer needs a user."""

    UNKNOWN_PAYER = "unknown_payer"
    SEVERAL_TENANTS = "several_tenants"
    NEW_CODE = "new_code"
    ALREADY_ENTERED = "already_entered"
    REPEATED = "repeated"
    OTHER_AMOUNT = "other_amount"
    SEVERAL_INVOICES = "several_invoices"
    BEFORE_ISSUE = "before_issue"
    NOTHING_OPEN = "nothing_open"
    TAKEN_BACK = "taken_back"
    NO_ORIGINAL = "no_original"
    NOT_RECORDED = "not_recorded"

    @property
    def label(self) -> str:
        """The reason in Japanese."""
        return _LABELS[self]

    @property
    def advice(self) -> str:
        """The action for the user, in Japanese. docs/accounting/payments.md explains it."""
        return _ADVICE[self]


_LABELS = {
    Doubt.UNKNOWN_PAYER: "初めての振込名義です",
    Doubt.SEVERAL_TENANTS: "同じ名義のテナントが複数あります",
    Doubt.NEW_CODE: "この名義と振込依頼人コードの組み合わせは初めてです",
    Doubt.ALREADY_ENTERED: "手で記録した入金と同じ額です",
    Doubt.REPEATED: "前のファイルに、照会番号だけが違う同じ振込があります",
    Doubt.OTHER_AMOUNT: "未入金の請求書の額と合いません",
    Doubt.SEVERAL_INVOICES: "当てはまる請求書が複数あります",
    Doubt.BEFORE_ISSUE: "請求書の発行日より前の振込です",
    Doubt.NOTHING_OPEN: "このテナントに未入金の請求書はありません",
    Doubt.TAKEN_BACK: "この振込の入金は取り消されています",
    Doubt.NO_ORIGINAL: "取消の元の振込が見つかりません",
    Doubt.NOT_RECORDED: "記録に失敗しました（理由は実行のページ）",
}

_ADVICE = {
    Doubt.UNKNOWN_PAYER: "候補の請求書を確かめて、「選んだ振込を確定」",
    Doubt.SEVERAL_TENANTS: "どのテナントかを選んで、「選んだ振込を確定」",
    Doubt.NEW_CODE: "同じ会社なら、「選んだ振込を確定」",
    Doubt.ALREADY_ENTERED: "同じ入金なら「同じ入金」、違えば「請求書を指定」で確定",
    Doubt.REPEATED: "同じ振込なら「対象外」、別の振込なら「選んだ振込を確定」",
    Doubt.OTHER_AMOUNT: "一部入金、過入金、まとめ払いのどれかを確かめて、「請求書を指定」",
    Doubt.SEVERAL_INVOICES: "請求書を選んで、「選んだ振込を確定」",
    Doubt.BEFORE_ISSUE: "前払いなら、「選んだ振込を確定」",
    Doubt.NOTHING_OPEN: "二重払いなら「請求書を指定」で過入金にし、返金",
    Doubt.TAKEN_BACK: "正しい請求書を、「請求書を指定」で確定",
    Doubt.NO_ORIGINAL: "元の振込のファイルを取り込む。なければ「対象外」",
    Doubt.NOT_RECORDED: "実行のページの理由のとおりに直す。次の実行がもう一度記録します",
}


@dataclass(frozen=True)
class OpenTransfer:
    """A transfer that is not, or only partly, a payment. ``amount`` is the rest.

    ``was_taken_back``: a payment of it was reversed. ``is_repeated``: an earlier file has the same transfer with another reference.
    ``imported_on``: the day of the run that read its file.
    """

    transfer_id: str
    booked_on: date
    amount: Decimal
    payer_key: str
    payer_code: str
    was_taken_back: bool = False
    is_repeated: bool = False
    imported_on: date = date.min


@dataclass(frozen=True)
class Unpaid:
    """An invoice in yen with an open amount.

    ``earliest`` is the first possible payment day: the issue date of the month's first invoice.
    """

    tenant_id: str
    number: str
    open_amount: Decimal
    earliest: date
    due_on: date | None = None


@dataclass(frozen=True)
class KnownPayer:
    """A payer that a user confirmed for a tenant: the normalised name, and the code, which may be empty.

    ``is_sure``: False if the tenant's payments of one of the payer's transfers were all reversed since.
    """

    tenant_id: str
    payer_key: str
    payer_code: str
    is_sure: bool = True


@dataclass(frozen=True)
class EnteredPayment:
    """A payment in yen that a user entered, without a transfer."""

    payment_id: str
    tenant_id: str
    number: str
    paid_on: date
    amount: Decimal


@dataclass(frozen=True)
class MatchedPart:
    """A transfer's part for one invoice. The payer's bank kept the ``fee``. ``payment_id``: the part is this entered payment."""

    tenant_id: str
    number: str
    amount: Decimal
    fee: Decimal = _ZERO
    payment_id: str | None = None


Choice = tuple[MatchedPart, ...]


@dataclass(frozen=True)
class Match:
    """The possible choices for a transfer. Without a ``doubt``, there is one choice, which needs no user."""

    transfer_id: str
    choices: tuple[Choice, ...]
    doubt: Doubt | None


class Matcher:
    """Matches transfers one after the other. Invoices that a transfer pays automatically are not open for the next one.

    ``fee_tolerance`` is the largest difference in yen that may be a bank's fee.
    """

    def __init__(
        self,
        unpaid: Iterable[Unpaid],
        payers: Iterable[KnownPayer],
        entered: Iterable[EnteredPayment],
        fee_tolerance: int,
    ) -> None:
        self._tolerance = Decimal(fee_tolerance)
        self._open: dict[str, list[Unpaid]] = defaultdict(list)
        self._by_amount: dict[Decimal, list[Unpaid]] = defaultdict(list)
        for invoice in sorted(unpaid, key=lambda each: (each.due_on or each.earliest, each.number)):
            self._open[invoice.tenant_id].append(invoice)
            self._by_amount[invoice.open_amount].append(invoice)
        self._tenants: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self._by_code: dict[str, set[str]] = defaultdict(set)
        self._unsure = set[tuple[str, str, str]]()
        for payer in payers:
            if not payer.is_sure:
                self._unsure.add((payer.payer_key, payer.tenant_id, payer.payer_code))
            self._tenants[payer.payer_key][payer.tenant_id].add(payer.payer_code)
            self._by_code[payer.payer_code].add(payer.tenant_id)
        self._entered: dict[Decimal, list[tuple[EnteredPayment, ...]]] = defaultdict(list)
        for payments in _together(entered):
            self._entered[sum((each.amount for each in payments), _ZERO)].append(payments)

    def match(self, transfer: OpenTransfer) -> Match:
        """The choices for a transfer, and the reason that a user must choose."""
        tenants, doubt = self._owners(transfer)
        same = self._same(transfer, tenants, is_known=doubt is None)
        if same:
            return Match(transfer.transfer_id, same[:_MOST_CHOICES], Doubt.ALREADY_ENTERED)
        if transfer.is_repeated:
            doubt = Doubt.REPEATED
        if transfer.was_taken_back:
            doubt = Doubt.TAKEN_BACK
        choices = tuple(choice for each in sorted(tenants) for choice in self._readings(transfer, each))
        if doubt is None:
            doubt = self._doubt_of_amount(transfer, next(iter(tenants)), choices)
        if doubt is None:
            self._take(choices[0])
        elif not choices:
            choices = tuple(islice(self._guesses(transfer, tenants), _MOST_CHOICES))
        return Match(transfer.transfer_id, choices[:_MOST_CHOICES], doubt)

    def _owners(self, transfer: OpenTransfer) -> tuple[set[str], Doubt | None]:
        """The tenants that the payer may belong to, and the reason that this is not sure."""
        known, code = self._tenants.get(transfer.payer_key, {}), transfer.payer_code
        if not known:
            return (self._by_code.get(code, set()) if code else set()), Doubt.UNKNOWN_PAYER
        tenants = {tenant_id for tenant_id, codes in known.items() if code in codes}
        if not code and len(known) > 1:
            return set(known), Doubt.SEVERAL_TENANTS
        if not tenants:
            return set(known), Doubt.NEW_CODE
        if len(tenants) > 1:
            return tenants, Doubt.SEVERAL_TENANTS
        (tenant_id,) = tenants
        is_sure = (transfer.payer_key, tenant_id, code) not in self._unsure
        return tenants, None if is_sure else Doubt.UNKNOWN_PAYER

    def _same(self, transfer: OpenTransfer, tenants: set[str], *, is_known: bool) -> tuple[Choice, ...]:
        """The entered payments that may be this transfer. If the payer is not known, payments of all tenants count."""
        return tuple(
            tuple(
                MatchedPart(each.tenant_id, each.number, each.amount, payment_id=each.payment_id)
                for each in payments
            )
            for payments in self._entered.get(transfer.amount, ())
            if abs(payments[0].paid_on - transfer.booked_on) <= ENTERED_DAYS
            and (payments[0].tenant_id in tenants or not is_known)
        )

    def _readings(self, transfer: OpenTransfer, tenant_id: str) -> list[Choice]:
        """The combinations of the tenant's invoices that the amount may pay, among those that could be paid on the transfer's day.

        Combinations without a fee come first, then those with fewer invoices.
        """
        open_now = self._open_on(transfer, tenant_id)
        most = len(open_now) if len(open_now) <= _MOST_COMBINED else 1
        found = list(_combinations(open_now, transfer.amount, transfer.amount + self._tolerance, most))
        readings = []
        for invoices in found:
            fee = sum((each.open_amount for each in invoices), _ZERO) - transfer.amount
            parts = [MatchedPart(each.tenant_id, each.number, each.open_amount) for each in invoices]
            # If some of these invoices already fit the amount, a further small one makes no second choice.
            if fee < min(parts[-1].amount, transfer.amount) and not any(
                set(other) < set(invoices) for other in found
            ):
                parts[-1] = replace(parts[-1], amount=parts[-1].amount - fee, fee=fee)
                readings.append(tuple(parts))
        return sorted(readings, key=lambda choice: (choice[-1].fee > 0, len(choice)))

    def _open_on(self, transfer: OpenTransfer, tenant_id: str) -> list[Unpaid]:
        return [each for each in self._open[tenant_id] if each.earliest <= transfer.booked_on]

    def _doubt_of_amount(
        self, transfer: OpenTransfer, tenant_id: str, choices: Sequence[Choice]
    ) -> Doubt | None:
        open_now = len(self._open_on(transfer, tenant_id))
        if len(choices) > 1 or (choices and open_now > _MOST_COMBINED):
            return Doubt.SEVERAL_INVOICES
        if choices:
            return None if len(choices[0]) in (1, open_now) else Doubt.OTHER_AMOUNT
        if not self._open[tenant_id]:
            return Doubt.NOTHING_OPEN
        return Doubt.OTHER_AMOUNT if open_now else Doubt.BEFORE_ISSUE

    def _guesses(self, transfer: OpenTransfer, tenants: set[str]) -> Iterator[Choice]:
        """Proposals for a user: the tenants' oldest invoices, or without a known tenant all invoices with this amount."""
        for tenant_id in sorted(tenants):
            if choice := oldest_first(transfer.amount, self._open[tenant_id]):
                yield choice
        if not tenants:
            for invoice in self._by_amount.get(transfer.amount, ()):
                if invoice in self._open[invoice.tenant_id]:
                    yield (MatchedPart(invoice.tenant_id, invoice.number, invoice.open_amount),)

    def _take(self, choice: Choice) -> None:
        paid = {part.number for part in choice}
        tenant_id = choice[0].tenant_id
        self._open[tenant_id] = [each for each in self._open[tenant_id] if each.number not in paid]


def oldest_first(amount: Decimal, invoices: Sequence[Unpaid]) -> Choice:
    """The amount, split over these invoices in order, each up to its open amount. The last one takes the rest and is then overpaid."""
    parts: list[MatchedPart] = []
    for invoice in invoices:
        if amount <= 0:
            break
        paid = min(amount, max(invoice.open_amount, _ZERO))
        if paid:
            parts.append(MatchedPart(invoice.tenant_id, invoice.number, paid))
        amount -= paid
    if amount > 0 and invoices:
        last = invoices[-1]
        if parts and parts[-1].number == last.number:
            parts[-1] = replace(parts[-1], amount=parts[-1].amount + amount)
        else:
            parts.append(MatchedPart(last.tenant_id, last.number, amount))
    return tuple(parts)


def _combinations(
    invoices: Sequence[Unpaid], least: Decimal, most: Decimal, most_invoices: int
) -> Iterator[tuple[Unpaid, ...]]:
    """The combinations of invoices with a sum from ``least`` to ``most``. Of equal amounts, the oldest ones."""
    tried = set()
    for place, invoice in enumerate(invoices):
        amount = invoice.open_amount
        if amount in tried or amount > most:
            continue
        tried.add(amount)
        if amount >= least:
            yield (invoice,)
        if most_invoices > 1:
            for others in _combinations(
                invoices[place + 1 :], least - amount, most - amount, most_invoices - 1
            ):
                yield (invoice, *others)


def _together(entered: Iterable[EnteredPayment]) -> Iterator[tuple[EnteredPayment, ...]]:
    """Each payment, and the payments of one tenant and day together, because users enter one transfer once per invoice."""
    days: dict[tuple[str, date], list[EnteredPayment]] = defaultdict(list)
    for payment in entered:
        yield (payment,)
        days[payment.tenant_id, payment.paid_on].append(payment)
    for payments in days.values():
        if len(payments) > 1:
            yield tuple(payments)
