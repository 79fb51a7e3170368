"""What really happens on an account in a generated year: who pays which invoice, and what is no customer's money.

The truth decides and counts with its own arithmetic. No rule of the product is used here.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from include.skillreport.billing.receivables.transfer import Transfer
from tests.worlds.zengin_files import OWN_ACCOUNT

# What banks keep of a transfer.
FEES = (110, 165, 220, 330, 440, 550, 605, 660, 770, 880)

_SYLLABLES = ("ｱｵ", "ﾐﾄﾞ", "ｻｸﾗ", "ﾔﾏ", "ｶﾜ", "ﾀｶ", "ﾅｶ", "ﾋｶﾞ", "ﾏﾂ", "ｼﾏ", "ﾂｷ", "ﾎｼ", "ｳﾐ", "ｿﾗ")

# How often a customer pays in each way. The ways of _WITH_ONE_DEBT need that nothing else is owed, and invoices of different amounts:
# what a payer means must be clear to somebody who sees all invoices.
_WAYS = {
    "one": 40,
    "fee": 14,
    "late": 9,
    "all": 14,
    "some": 6,
    "halves": 4,
    "over": 2,
    "double": 2,
    "twins": 2,
    "cancelled": 5,
    "by_hand": 6,
    "once": 3,
}
_WITH_ONE_DEBT = {"halves", "over", "double", "twins", "cancelled", "by_hand"}


@dataclass
class Customer:
    """A tenant and the name and the code under which its transfers arrive.

    ``is_flat``: most of its invoices have one amount, so that they are interchangeable. ``group``: the tenants whose invoices one transfer
    of this customer pays; empty: another customer pays for it.
    """

    tenant_id: str
    name: str
    code: str = ""
    is_flat: bool = False
    group: tuple[str, ...] = ()


class Usage(NamedTuple):
    """What a customer uses on each day of a month."""

    active_users: int
    storage_gb: int


@dataclass(frozen=True)
class Invoice:
    """An invoice as it was issued."""

    number: str
    tenant_id: str
    total: int


@dataclass(eq=False)
class Fact:
    """A transfer, and what it pays: number, yen, and the fee that the bank has kept. Nothing: it is no customer's money.

    ``by_hand``: a person enters it before its file arrives. ``only_once``: the payer pays for somebody else. ``cancels``: it is the bank's
    cancellation of this transfer.
    """

    transfer: Transfer
    pays: tuple[tuple[str, int, int], ...] = ()
    by_hand: date | None = None
    only_once: bool = False
    cancels: Fact | None = None
    cancelled_by: Fact | None = None

    @property
    def key(self) -> tuple[date, int, str, str, int, bool]:
        """What the bank tells of it. Only twins have the same."""
        return key_of(self.transfer)


def key_of(transfer: Transfer) -> tuple[date, int, str, str, int, bool]:
    """Day, yen, name, code and reference without zeros at the beginning, and whether it is a cancellation."""
    return (
        transfer.booked_on,
        int(transfer.amount),
        transfer.payer_name,
        transfer.payer_code.lstrip("0"),
        int(transfer.reference or 0),
        transfer.is_cancellation,
    )


@dataclass
class Truth:
    """Customers, their invoices, and all transfers, in the order of the bank. ``arrives``: the day of a bank's day's file."""

    random: random.Random
    customers: list[Customer]
    invoices: dict[str, Invoice] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    arrives: dict[date, date] = field(default_factory=dict)
    ways: Counter[str] = field(default_factory=Counter)
    before: dict[str, int] = field(default_factory=dict)

    def invoice(self, number: str, tenant_id: str, total: int) -> None:
        """An invoice was issued; call this in the order of the months."""
        self.invoices[number] = Invoice(number, tenant_id, total)

    def usage(self, customer: Customer, count: int) -> Iterator[Usage]:

        steps = self.random.sample(range(100, 150), count)
        grows = self.random.random() < 0.4
        for month in range(count):
            if not customer.is_flat:
                yield Usage(20 + steps[month] // 5, 10 + steps[month] % 5)
            else:
                # 11,000, 11,000, 16,500 and 22,000: two of these are as much as another one.
                yield Usage(20 + 10 * max(0, month % 4 - 1) * grows, 0)

    def owed(self, *tenant_ids: str) -> dict[str, int]:
        """What the tenants owed at the beginning of the planned month, in the order of issue."""
        return {
            number: balance
            for number, balance in self.before.items()
            if balance > 0 and self.invoices[number].tenant_id in tenant_ids
        }

    def balances(self, on: date) -> dict[tuple[str, int], list[int]]:
        """What is open on the evening of a day, by tenant and total: of invoices that look the same, it does not matter which is paid."""
        known = [
            fact for fact in self.facts if self.arrived(fact, on) or (fact.by_hand and fact.by_hand <= on)
        ]
        found: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number, balance in self._balances(known).items():
            found[self.invoices[number].tenant_id, self.invoices[number].total].append(balance)
        return {group: sorted(balances) for group, balances in found.items()}

    def arrived(self, fact: Fact, on: date) -> bool:
        """Whether a file until the day has it."""
        return self.arrives[fact.transfer.booked_on] <= on

    def _balances(self, facts: Sequence[Fact]) -> dict[str, int]:
        balances = {number: invoice.total for number, invoice in self.invoices.items()}
        known = set(facts)
        for fact in facts:
            if fact.cancelled_by in known:
                continue
            for number, amount, fee in fact.pays:
                balances[number] -= amount + fee
        return balances

    # The plan of a month.

    def plan(self, days: Sequence[date], *, is_first: bool = False) -> None:
        """Let customers and others pay on days of the bank. Some days' files arrive late. In the first month all pay what they owe."""
        for day in days:
            is_late = not is_first and self.random.random() < 0.12
            self.arrives[day] = day + timedelta(days=self.random.randint(5, 20) if is_late else 1)
        self.before = self._balances(self.facts)
        for customer in self.customers:
            debts = self.owed(*customer.group)
            if debts:
                way = "one" if is_first else self._way(customer, debts)
                self.ways[way] += 1
                if way != "late":
                    self.facts += getattr(self, f"_{way}")(customer, debts, days)
        for _ in range(self.random.randint(0, 3)):
            self.facts.append(self._stranger(days))
        # The bank's order within a day is that of the file.
        self.facts.sort(key=lambda fact: fact.transfer.booked_on)

    def _way(self, customer: Customer, debts: dict[str, int]) -> str:
        if len(customer.group) > 1:
            return self.random.choice(("all", "all", "late"))
        possible = dict(_WAYS)
        if customer.is_flat:
            possible |= {"late": 20, "some": 20}
        if len(debts) > 1 or customer.is_flat:
            possible = {way: often for way, often in possible.items() if way not in _WITH_ONE_DEBT}
        if len(debts) < 3:
            del possible["some"]
        return self.random.choices(list(possible), list(possible.values()))[0]

    def _one(
        self, customer: Customer, debts: dict[str, int], days: Sequence[date], fee: int = 0
    ) -> list[Fact]:
        if len(customer.group) > 1:
            return [self._fact(customer, days, debts)]
        return [self._fact(customer, days, self._chosen(debts), fee=fee)]

    def _fee(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        return self._one(customer, debts, days, fee=self.random.choice(FEES))

    def _all(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        return [self._fact(customer, days, debts, fee=self.random.choice((0, 0, *FEES)))]

    def _some(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        newest = list(debts)[self.random.randint(2, len(debts) - 1) :]
        left = newest if customer.is_flat else self._chosen(debts)
        return [self._fact(customer, days, {number: debts[number] for number in debts if number not in left})]

    def _halves(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        days = [day for day in days if self._is_punctual(day)]
        if len(days) < 2:
            return []
        ((number, owed),) = debts.items()
        first = int(owed * self.random.choice((0.3, 0.5, 0.6)))
        fee = self.random.choice((0, 0, 0, *FEES))
        return [
            self._fact(customer, days[:-1], {number: first}),
            self._fact(customer, days[-1:], {number: owed - first}, fee=fee),
        ]

    def _over(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        ((number, owed),) = debts.items()
        return [self._fact(customer, days, {number: owed + self.random.choice((1_000, 9_000, owed))})]

    def _double(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        return [self._fact(customer, days, debts) for _ in range(2)]

    def _twins(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        day = self.random.choice(days)
        return [self._fact(customer, [day], debts, reference="") for _ in range(2)]

    def _cancelled(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        """Paid, cancelled by the bank on this or a later day, and perhaps paid again after it."""
        where = self.random.randrange(len(days) - 1)
        fact = self._fact(customer, [days[where]], debts, fee=self.random.choice((0, 0, *FEES)))
        cancelled_on = self.random.choice((days[where], days[where], *days[where:-1]))
        facts = [fact, self._cancellation(fact, cancelled_on)]
        after = [day for day in days if day > cancelled_on]
        if self.random.random() < 0.8:
            facts.append(self._fact(customer, after, debts))
        return facts

    def _by_hand(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        late = [day for day in days if not self._is_punctual(day)]
        fact = self._fact(customer, late or days, debts, fee=self.random.choice((0, 0, *FEES)))
        booked_on = fact.transfer.booked_on
        fact.by_hand = booked_on + timedelta(days=2 if late else 0)
        return [fact]

    def _once(self, customer: Customer, debts: dict[str, int], days: Sequence[date]) -> list[Fact]:
        """Somebody else's payer pays, for example the parent company, and not an amount that it may owe itself in the month."""
        debt = self._chosen(debts)
        (amount,) = debt.values()
        others = [
            other
            for other in self.customers
            if other.group
            and other is not customer
            and not any(
                amount <= invoice.total <= amount + max(FEES)
                for invoice in self.invoices.values()
                if invoice.tenant_id in other.group
            )
            and not any(
                amount <= owed <= amount + max(FEES) for owed in _sums(self.owed(*other.group).values())
            )
        ]
        if not others:
            return self._one(customer, debts, days)
        fact = self._fact(self.random.choice(others), days, debt)
        fact.only_once = True
        return [fact]

    def _stranger(self, days: Sequence[date]) -> Fact:
        """Interest, or a transfer of somebody who is no customer, with an amount that a customer may owe."""
        name, amount = "ﾘｿｸ", self.random.randint(1, 300)
        if self.random.random() < 0.8 and self.invoices:
            name = f"ﾀﾆﾝ {''.join(self.random.sample(_SYLLABLES, 2))}"
            amount = self.random.choice(list(self.invoices.values())).total
        return Fact(self._transfer(Customer("", name), self.random.choice(days), amount))

    def _is_punctual(self, day: date) -> bool:
        return self.arrives[day] == day + timedelta(days=1)

    def _chosen(self, debts: dict[str, int]) -> dict[str, int]:
        """One debt: of equal ones the oldest."""
        chosen = debts[self.random.choice(list(debts))]
        return {next(number for number, owed in debts.items() if owed == chosen): chosen}

    def _fact(
        self,
        customer: Customer,
        days: Sequence[date],
        paid: dict[str, int],
        *,
        fee: int = 0,
        reference: str | None = None,
    ) -> Fact:
        *others, last = paid
        pays = ((number, paid[number], 0) for number in others)
        amount = sum(paid.values()) - fee
        transfer = self._transfer(customer, self.random.choice(days), amount, reference)
        return Fact(transfer, (*pays, (last, paid[last] - fee, fee)))

    def _transfer(self, customer: Customer, day: date, amount: int, reference: str | None = None) -> Transfer:
        name = customer.name.replace(")", ") ") if self.random.random() < 0.3 else customer.name
        if reference is None:
            reference = str(self.random.randrange(1, 1_000_000))
        return Transfer(OWN_ACCOUNT, day, Decimal(amount), name, customer.code, reference)

    def _cancellation(self, fact: Fact, day: date) -> Fact:
        sent = fact.transfer
        cancellation = Transfer(
            sent.account,
            day,
            sent.amount,
            sent.payer_name,
            sent.payer_code,
            sent.reference,
            is_cancellation=True,
        )
        fact.cancelled_by = Fact(cancellation, cancels=fact)
        return fact.cancelled_by


def _sums(amounts: Iterable[int]) -> set[int]:
    """The sums of all selections of the amounts."""
    sums = {0}
    for amount in amounts:
        sums |= {each + amount for each in sums}
    return sums


def customers(count: int, source: random.Random) -> list[Customer]:
    """Customers with different names, of which the first ones are hard to tell apart; a few need at least nine.

    Three have one name: two of them codes, one none. Two have one name and no code. One pays for two tenants. Two have one name with
    another legal form.
    """
    ids = [f"T{number:03}" for number in range(count)]
    names = set[str]()
    while len(names) < count:
        names.add(f"ｶ){''.join(source.sample(_SYLLABLES, 3))}")
    found = [
        Customer(
            tenant_id,
            name,
            code=f"{number + 1_000:010}" if source.random() < 0.4 else "",
            is_flat=source.random() < 0.4,
            group=(tenant_id,),
        )
        for number, (tenant_id, name) in enumerate(zip(ids, sorted(names), strict=True))
    ]
    for place, code in enumerate(("0000000077", "0000000078", "")):
        found[place].name, found[place].code, found[place].is_flat = "ｶ)ﾔﾏﾄ", code, True
    for place in (3, 4):
        found[place].name, found[place].code, found[place].is_flat = "ﾀﾅｶ ﾀﾛｳ", "", True
    found[5].group, found[6].group = (ids[5], ids[6]), ()
    found[5].is_flat = found[6].is_flat = True
    found[7].name, found[8].name = "ｶ)ｱｵﾊﾞ", "ｱｵﾊﾞ(ｶ"
    return found
