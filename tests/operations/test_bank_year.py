"""A generated year of an account: no transfer becomes the wrong payment, and the invoices' balances are those of the truth.

Each year is random but reproducible: its number is the seed.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.billing.receivables.transfer import Transfer
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.settings import ExecutionSettings
from tests.conftest import Database
from tests.operations.bank_truth import Fact, Truth, customers, key_of
from tests.worlds import bank_files, billing_rows
from tests.worlds.billing_rows import close_month, customer, run_billing
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

FIRST_MONTH = date(2026, 4, 1)
RENAMED_IN = 4

_TWO_SHARDS = ExecutionSettings(max_mapped_tenants=1, shards=2, tenants_per_shard=1000, seconds_per_shard=5)


@dataclass
class Office:
    """An installation, the bank's files, and the person who looks at the page 入金消込 at the end of each month.

    ``every``: the bank has transfers on each such weekday.
    """

    seed: int
    database: Database
    host: psycopg.Connection
    store: ObjectStore
    truth: Truth
    months: int
    every: int
    postponed: list[str] = field(default_factory=list)
    put_files: list[tuple[str, bytes]] = field(default_factory=list)
    automatic: int = 0
    mistakes: int = 0

    def work(self) -> None:
        """Bill and import month by month, until the last file has arrived."""
        self._create_customers()
        for count in range(self.months):
            month = _month(count)
            if count == RENAMED_IN:
                self._rename()
            self._bill(month)
            days = list(_weekdays(_month(count + 1)))[6 :: self.every]
            self.truth.plan(days[:14], is_first=count == 0)
            self._pass_days(_month(count + 1), _month(count + 2))
            is_late = 0 < count < self.months - 1 and self.truth.random.random() < 0.25
            if not is_late:
                # After the first month each name is known for all who have it.
                self._look(_month(count + 2) - timedelta(days=1), may_err=count > 0)
        end = max(self.truth.arrives.values()) + timedelta(days=1)
        self._pass_days(_month(self.months + 1), end)
        for _ in range(2):
            # What was set aside by mistake comes back at the second look.
            self._look(end, may_err=False)
        self._check_end()

    # The months.

    def _create_customers(self) -> None:
        for each in self.truth.customers:
            customer(self.host, each.tenant_id, months=())
            for count, usage in enumerate(self.truth.usage(each, self.months)):
                close_month(
                    self.host,
                    each.tenant_id,
                    _month(count),
                    storage_gb=usage.storage_gb,
                    active_users=usage.active_users,
                )

    def _rename(self) -> None:
        """One payer has another name, and the same code."""
        renamed = self.truth.customers[9]
        renamed.name, renamed.code = "ｶ)ｼﾝｼﾔﾒｲ", renamed.code or "0000004711"

    def _bill(self, month: date) -> None:
        result = run_billing(self.database, month, shards=1)
        assert result.status == "completed", (self.seed, result)
        rows = self.host.execute(
            "SELECT number, tenant_id, total FROM batch.invoice WHERE period_start = %s ORDER BY number",
            [month],
        ).fetchall()
        assert len(rows) == len(self.truth.customers), self.seed
        for number, tenant_id, total in rows:
            self.truth.invoice(number, tenant_id, int(total))

    def _pass_days(self, first: date, end: date) -> None:
        for day in _days(first, end):
            for fact in self.truth.facts:
                if fact.by_hand == day:
                    self._enter(fact)
            if self._put_files(day):
                self._import(day)

    def _import(self, day: date) -> None:
        result = self._run("import", day)
        assert result.status == "completed", (self.seed, day, result)

    def _run(self, operation: str, day: date, **options: Any) -> Any:
        return bank_files.run(
            self.database, self.store, operation, on=day, **({"sharding": _TWO_SHARDS} | options)
        )

    def _put_files(self, day: date) -> int:
        """Put the files that arrive: those of new days, sometimes an old file again, and each week one of all days until now."""
        arrived = [each for each, arrives in self.truth.arrives.items() if arrives == day]
        files = [(f"{each:%Y%m%d}.txt", self._file([each])) for each in arrived]
        if day.weekday() == 4:
            week = [
                each
                for each, arrives in self.truth.arrives.items()
                if arrives <= day and day - timedelta(days=10) <= each
            ]
            files.append((f"week-{day:%Y%m%d}.txt", self._file(week)))
        if self.put_files and self.truth.random.random() < 0.1:
            files.append((f"again-{day:%Y%m%d}.txt", self.truth.random.choice(self.put_files)[1]))
        for name, content in files:
            bank_files.put(self.store, name=name, content=content)
        self.put_files += files
        return len(files)

    def _file(self, days: Sequence[date]) -> bytes:
        of_days = [fact.transfer for fact in self.truth.facts if fact.transfer.booked_on in days]
        return zengin_file(of_days, accounts=[OWN_ACCOUNT])

    def _enter(self, fact: Fact) -> None:
        """Enter a transfer whose file has not arrived, as a person reads it on the bank's page."""
        ((number, amount, fee),) = fact.pays
        on = fact.by_hand or fact.transfer.booked_on
        paid_on = self.truth.random.choice((fact.transfer.booked_on, on))
        values = {
            "paid_on": f"{paid_on}",
            "paid_amount": f"{amount}",
            "paid_method": "銀行振込",
            "paid_reference": f"hand-{fact.transfer.reference}",
        }
        self._operate("record_payment", number, on, values)
        if fee:
            self._operate("fee_difference", number, on, {"fee_on": f"{paid_on}", "fee_amount": f"{fee}"})

    def _operate(
        self, operation: str, number: str, on: date, values: dict[str, str], reason: str = ""
    ) -> None:
        month = date.fromisoformat(f"{number[4:11]}-01")
        result = billing_rows.operate(
            self.database,
            operation,
            self.truth.invoices[number].tenant_id,
            month=month,
            values=values,
            reason=reason,
            run_at=datetime(on.year, on.month, on.day, 17, tzinfo=JAPAN),
            triggered_by="keiri",
        )
        assert result.status == "completed", (self.seed, operation, number, result)

    # The person.

    def _look(self, day: date, *, may_err: bool = True) -> None:
        """Decide about all transfers that wait, according to the truth; then check."""
        returned = self.postponed
        if returned:
            self._run("reopen", day, values={"transfer_ids": returned}, triggered_by="keiri")
            self.postponed = []
        facts = self._waiting_facts(day)
        aside = [transfer_id for transfer_id, fact in facts.items() if not fact.pays and not fact.cancels]
        mistaken = [
            transfer_id
            for transfer_id, fact in facts.items()
            if may_err
            and transfer_id not in returned
            and self._pays_whole(fact)
            and self.truth.random.random() < 0.02
        ]
        self.postponed = mistaken
        if aside or mistaken:
            values = {"transfer_ids": aside + mistaken, "reason": "取引先の入金ではない"}
            self._decide("set_aside", day, values)
        confirmed = {
            transfer_id: fact
            for transfer_id, fact in facts.items()
            if fact.pays and transfer_id not in mistaken
        }
        if may_err:
            self._confirm_wrongly(day, confirmed)
        by_hand = {transfer_id: fact for transfer_id, fact in confirmed.items() if fact.by_hand}
        if by_hand:
            doubts = bank_files.waiting(self.host)
            assert {doubts[each] for each in by_hand} == {"already_entered"}, self.seed
            same = [f"{transfer_id}={fact.pays[0][0]}" for transfer_id, fact in by_hand.items()]
            self._decide("same_payment", day, {"same_transfers": same})
        lines = self._lines({each: fact for each, fact in confirmed.items() if not fact.by_hand})
        for only_once, of_kind in lines.items():
            self._decide("confirm", day, {"transfers": of_kind, "only_once": only_once})
        # What has become sure by the confirmations.
        self._import(day)
        self._check(day)

    def _confirm_wrongly(self, day: date, facts: dict[str, Fact]) -> None:
        """Sometimes choose an invoice of the same amount of somebody else, and take that back."""
        for transfer_id, fact in facts.items():
            if fact.by_hand or self.truth.random.random() > 0.04:
                continue
            meant = self.truth.invoices[fact.pays[0][0]]
            wrong = [
                number
                for number, open_amount in self._open_amounts().items()
                if open_amount == meant.total and self.truth.invoices[number].tenant_id != meant.tenant_id
            ]
            if wrong:
                number = self.truth.random.choice(wrong)
                self._decide("confirm", day, {"transfers": [f"{transfer_id}={number}"], "only_once": False})
                values = {"paid_reference": transfer_id}
                self._operate("reverse_payment", number, day, values, reason="別のテナントの入金")
                self.mistakes += 1

    def _decide(self, operation: str, day: date, values: dict[str, Any]) -> None:
        result = self._run(operation, day, values=values, triggered_by="keiri")
        assert result.status == "completed", (self.seed, day, operation, values, result)

    def _lines(self, facts: dict[str, Fact]) -> dict[bool, list[str]]:
        """The lines of the form, by whether the payer is not to be remembered."""
        lines: dict[bool, list[str]] = defaultdict(list)
        chosen: dict[str, str] = {}
        for transfer_id, fact in facts.items():
            numbers = [chosen.setdefault(number, self._like(number, chosen)) for number, _, _ in fact.pays]
            fee = ["手数料"] if fact.pays[-1][2] else []
            lines[fact.only_once].append(f"{transfer_id}={','.join([*numbers, *fee])}")
        return lines

    def _like(self, number: str, chosen: dict[str, str]) -> str:
        """The invoice, or the oldest open one that looks the same."""
        meant = self.truth.invoices[number]
        for other, open_amount in self._open_amounts().items():
            invoice = self.truth.invoices[other]
            if (invoice.tenant_id, invoice.total, open_amount) == (
                meant.tenant_id,
                meant.total,
                meant.total,
            ) and other not in chosen.values():
                return other
        return number

    def _pays_whole(self, fact: Fact) -> bool:
        """Whether it pays one invoice that no other one looks like, and nothing else is about this invoice."""
        if len(fact.pays) != 1 or fact.cancelled_by:
            return False
        ((number, amount, fee),) = fact.pays
        invoice = self.truth.invoices[number]
        alike = [(each.tenant_id, each.total) for each in self.truth.invoices.values()]
        return amount + fee == invoice.total and alike.count((invoice.tenant_id, invoice.total)) == 1

    def _waiting_facts(self, day: date) -> dict[str, Fact]:
        """The facts about the transfers that wait, in the order of their days."""
        unused: dict[object, list[Fact]] = defaultdict(list)
        for fact in self.truth.facts:
            if self.truth.arrived(fact, day):
                unused[fact.key].append(fact)
        waiting = bank_files.waiting(self.host)
        return {
            transfer_id: unused[key_of(transfer)].pop()
            for transfer_id, transfer in self._transfers().items()
            if transfer_id in waiting
        }

    # The checks.

    def _transfers(self) -> dict[str, Transfer]:
        with self.host.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                """
                SELECT transfer_id, account, booked_on, amount, payer_name, payer_code, reference, details, is_cancellation
                FROM batch.bank_transfer ORDER BY booked_on, transfer_id
                """
            ).fetchall()
        return {row.pop("transfer_id"): Transfer(**row) for row in rows}

    def _open_amounts(self) -> dict[str, int]:
        rows = self.host.execute(
            "SELECT number, open_amount FROM batch.invoice ORDER BY period_start, number"
        )
        return {number: int(amount) for number, amount in rows}

    def _check(self, day: date) -> None:
        """After the person's work nothing is left but what a late file will explain, and all balances are those of the truth."""
        about = f"seed {self.seed}, {day}"
        transfers = self._transfers()
        arrived = [fact for fact in self.truth.facts if self.truth.arrived(fact, day)]
        assert Counter(map(key_of, transfers.values())) == Counter(fact.key for fact in arrived), about
        left = self._waiting_facts(day)
        explained = {
            each for each, fact in left.items() if fact.cancels and not self.truth.arrived(fact.cancels, day)
        }
        assert set(left) == explained, (about, [left[each].transfer for each in set(left) - explained])
        self._check_payments(about, transfers, arrived)
        if not self.postponed:
            self._check_balances(about, day)

    def _check_payments(self, about: str, transfers: dict[str, Transfer], arrived: Iterable[Fact]) -> None:
        """What was recorded by itself is true, and no transfer was spent twice."""
        meant = defaultdict(set)
        for fact in arrived:
            for number, amount, fee in fact.pays:
                invoice = self.truth.invoices[number]
                meant[fact.key].add((invoice.tenant_id, invoice.total, amount, fee))
        rows = self.host.execute(
            """
            SELECT
                payment.transfer_id, invoice.tenant_id, invoice.total::integer, payment.amount::integer,
                payment.reversed_at IS null, coalesce(fee.amount, 0)::integer, payment.entered_by <> 'keiri', invoice.number
            FROM batch.payment
            INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
            LEFT JOIN batch.adjustment AS fee
                ON
                    payment.invoice_id = fee.invoice_id AND fee.amount > 0 AND fee.kind = 'fee'
                    AND fee.reason LIKE '%' || payment.transfer_id || '%'
            WHERE payment.transfer_id IS NOT null AND payment.source = 'bank'
            """
        ).fetchall()
        spent: Counter[str] = Counter()
        self.automatic = 0
        for transfer_id, tenant_id, total, amount, is_live, fee, is_automatic, number in rows:
            spent[transfer_id] += amount * is_live
            if is_automatic:
                self.automatic += 1
                transfer = transfers[transfer_id]
                assert (tenant_id, total, amount, fee) in meant[key_of(transfer)], (
                    about,
                    number,
                    fee,
                    transfer,
                )
        assert all(amount <= transfers[each].amount for each, amount in spent.items()), about

    def _check_balances(self, about: str, day: date) -> None:
        balances: dict[tuple[str, int], list[int]] = defaultdict(list)
        for number, balance in self._open_amounts().items():
            invoice = self.truth.invoices[number]
            balances[invoice.tenant_id, invoice.total].append(balance)
        found = {group: sorted(of_group) for group, of_group in balances.items()}
        expected = self.truth.balances(day)
        assert found == expected, (
            about,
            {each: (found[each], expected[each]) for each in found if found[each] != expected[each]},
        )

    def _check_end(self) -> None:
        """Nothing waits, and the application's rows are PAID if and only if nothing is open."""
        about = f"seed {self.seed}"
        assert bank_files.waiting(self.host) == {}, about
        rows = self.host.execute(
            """
            SELECT invoice.number FROM batch.invoice
            INNER JOIN "HIS_TenantBilling" AS billing ON invoice.invoice_id = billing.id
            WHERE (billing.billing_status = 'PAID') <> (invoice.open_amount <= 0)
            """
        ).fetchall()
        assert rows == [], about
        assert self.store.names("bank-files/incoming") == [], about


def _month(count: int) -> date:
    """The first day of the month that is so many months after the first one."""
    months = FIRST_MONTH.year * 12 + FIRST_MONTH.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)


def _days(first: date, end: date) -> Iterable[date]:
    return (first + timedelta(days=count) for count in range((end - first).days))


def _weekdays(month: date) -> Iterable[date]:
    return (day for day in _days(month, month + timedelta(days=28)) if day.weekday() < 5)


def _year(
    seed: int,
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    *,
    tenants: int,
    months: int,
    every: int,
) -> Office:
    source = random.Random(seed)  # noqa: S311
    truth = Truth(source, customers(tenants, source))
    office = Office(seed, database, host, store, truth, months, every)
    office.work()
    return office


@pytest.fixture(autouse=True)
def own_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Payments are recorded by the operations."""
    change_billing(monkeypatch, tmp_path, payment_source="operations", own_accounts=[OWN_ACCOUNT])


@pytest.mark.slow("needs many rows")
def test_a_quarter_of_ten_tenants_is_matched_as_it_was(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    office = _year(1, database, host, store, tenants=10, months=3, every=3)

    assert office.automatic


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", range(100, 104))
def test_a_year_of_a_hundred_tenants_is_matched_as_it_was(
    seed: int, database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    office = _year(seed, database, host, store, tenants=100, months=12, every=1)

    ways = office.truth.ways
    assert set(ways) > {"some", "halves", "over", "double", "twins", "cancelled", "by_hand", "once"}, seed
    assert office.automatic > sum(ways.values()) / 2, (seed, office.automatic, ways)
    assert office.mistakes, seed
