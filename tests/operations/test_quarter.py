"""A quarter of 60 customers, as an accountant lives it: every file agrees with a ledger that is kept beside them."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import accounting_rows, bank_files, billing_rows, contract_entries
from tests.worlds.approval_rows import asked
from tests.worlds.bank_files import transfer
from tests.worlds.billing_rows import close_month, customer, files, reasons, run_billing
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT

MONTHS = (date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1))
RATES = ("151.235", "149.87", "152.4")
YEN = [f"Y{number:02}" for number in range(54)]
DOLLARS = [f"U{number:02}" for number in range(6)]
SATO, SUZUKI = "佐藤", "鈴木"


class Accountants:
    """Two accountants, the bank, and the ledger: what each customer owes in its currency, by the month of the booking."""

    def __init__(
        self, database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
    ) -> None:
        self.database, self.host, self.platform, self.store = database, host, platform, store
        self.owed: dict[date, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
        self.approvals = 0

    def live(self, month: date) -> dict[str, Any]:
        """The live invoices of the month, by tenant: number, open amount, total."""
        rows = self.host.execute(
            """
            SELECT tenant_id, number, open_amount, total FROM batch.invoice
            WHERE period_start = %s AND kind = 'invoice' AND status = 'finalized' AND NOT credited
            """,
            [month],
        )
        return {tenant_id: (number, rest, total) for tenant_id, number, rest, total in rows}

    def bill(self, month: date) -> None:
        """Bill everybody, and enter what the customers were sent."""
        run_billing(self.database, month, shards=1, store=self.store)
        for tenant_id, (_, _, total) in self.live(month).items():
            self.owed[month][tenant_id] += total

    def operate(self, operation: str, tenant_id: str, month: date, **options: Any) -> Any:
        """An operation by the first of the two in the month after, unless said otherwise."""
        year, number = divmod(month.month, 12)
        at = datetime(month.year + year, number + 1, 20, 10, tzinfo=JAPAN)
        given: dict[str, Any] = {"triggered_by": SATO, "run_at": at, "store": self.store}
        return billing_rows.operate(self.database, operation, tenant_id, month=month, **(given | options))

    def approve(self, tenant_id: str, month: date) -> None:
        """The second person approves what waits."""
        self.approvals += 1
        result = self.operate("approve", tenant_id, month, triggered_by=SUZUKI)
        assert not result.failed_tenants, reasons(result)

    def rate(self, month: date, yen_per_unit: str) -> None:
        """The rate of the month's last day. The first one waits, and so does a mistyped one, which is withdrawn."""
        day = last_day(month)
        entered: dict[str, Any] = {"currency": "USD", "rate_date": f"{day}", "reason": "TTM"}
        at = datetime(day.year, day.month, day.day, 18, tzinfo=JAPAN)
        run = contract_entries.run
        if month == MONTHS[1]:
            run(self.database, "set_rate", yen_per_unit="14987", run_at=at, **entered)
            self.bill(month)
            assert not set(DOLLARS) & set(self.live(month))
            ((change_id,),) = self.host.execute(
                "SELECT change_id FROM batch.contract_change WHERE status = 'waiting'"
            ).fetchall()
            run(self.database, "withdraw", changes=[change_id], reason="誤記", run_at=at)
        result = run(self.database, "set_rate", yen_per_unit=yen_per_unit, run_at=at, **entered)
        if month == MONTHS[0]:
            contract_entries.decide(self.database, asked(self.database, result))
        if month == MONTHS[1]:
            before = self.live(month)
            run_billing(self.database, month, shards=1, store=self.store)
            for tenant_id, (_, _, total) in self.live(month).items():
                if tenant_id not in before:
                    self.owed[month][tenant_id] += total
        else:
            self.bill(month)

    def correct(self, month: date) -> None:
        """Credits, a void with a new invoice, and two write-offs, of which the larger one waits."""
        self.operate("part_credit", YEN[0], month, reason="障害", values={"credit_lines": ["1=1000"]})
        self.owed[following(month)][YEN[0]] -= 1_100
        self.operate("void", YEN[1], month, reason="訂正")
        self.operate("bill_again", YEN[1], month, reason="訂正")
        for tenant_id in (YEN[2], DOLLARS[0]):
            rest = self.live(month)[tenant_id][1]
            day = f"{following(month).replace(day=20)}"
            loss = {"written_off_on": day, "fact": "none", "evidence": "破産の通知"}
            result = self.operate("write_off", tenant_id, month, values=loss)
            assert not result.failed_tenants, reasons(result)
            self.owed[following(month)][tenant_id] -= rest
        self.operate("credit", YEN[3], month, reason="解約")
        if ("credit",) in self.host.execute("SELECT kind FROM batch.all_waiting_entry").fetchall():
            self.approve(YEN[3], month)
        self.owed[following(month)][YEN[3]] -= self.live(month).get(YEN[3], (0, 0, 0))[1] or self.total(
            YEN[3], month
        )

    def total(self, tenant_id: str, month: date) -> Decimal:
        """The total of the month's newest invoice of the tenant."""
        row = self.host.execute(
            "SELECT total FROM batch.invoice WHERE tenant_id = %s AND period_start = %s AND kind = 'invoice' ORDER BY finalized_at DESC",
            [tenant_id, month],
        ).fetchone()
        assert row
        return Decimal(row[0])

    def pay(self, month: date) -> None:
        """The bank's file of the next month: whole amounts, fees, two parts, too much; some pay two months at once later."""
        day = following(month).replace(day=25)
        transfers, truth = [], {}
        live = self.live(month)
        earlier = self.live(MONTHS[MONTHS.index(month) - 1]) if month != MONTHS[0] else {}
        for place, tenant_id in enumerate(YEN[4:]):
            number, rest, _ = live[tenant_id]
            name, sort = f"ｶ)ｷﾔｸ{place:02}", place % 6
            parts = {1: [rest - 330], 2: [rest - 4_000, 4_000], 3: [rest + 500]}.get(sort, [rest])
            numbers = [number]
            if sort == 4:
                # They pay every second month, for two.
                if month == MONTHS[0]:
                    continue
                if month == MONTHS[1]:
                    parts, numbers = [rest + earlier[tenant_id][1]], [earlier[tenant_id][0], number]
            for part, amount in enumerate(parts):
                entry = transfer(int(amount), name, booked_on=day, reference=f"{place}-{part}")
                transfers.append(entry)
                truth[name, int(amount)] = (numbers, sort == 1)
            self.owed[following(month)][tenant_id] -= sum(parts) + (330 if sort == 1 else 0)
        bank_files.put(self.store, *transfers, name=f"{day}.txt")
        on = day.replace(day=26)
        bank_files.run(self.database, self.store, on=on)
        # Everybody is confirmed once; later months go by themselves, as far as the amounts are sure.
        waiting = self.host.execute(
            """
            SELECT transfer_id, payer_name, amount FROM batch.bank_transfer
            WHERE settled < amount AND cancelled_by IS null AND set_aside_at IS null ORDER BY transfer_id
            """
        ).fetchall()
        lines = []
        for transfer_id, name, amount in waiting:
            numbers, has_fee = truth[name, int(amount)]
            lines.append(f"{transfer_id}={','.join(numbers)}{',手数料' if has_fee else ''}")
        if lines:
            result = bank_files.confirm(self.database, self.store, *lines, on=on)
            assert not result.failed_tenants, reasons(result)
        for place, tenant_id in enumerate(DOLLARS[1:]):
            number, rest, _ = live[tenant_id]
            paid = {"paid_on": f"{day}", "paid_amount": f"{rest}", "paid_method": "SWIFT"}
            at = datetime(on.year, on.month, on.day, 10, tzinfo=JAPAN)
            values = {**paid, "paid_reference": f"{number}-{place}"}
            result = self.operate("record_payment", tenant_id, month, values=values, run_at=at)
            assert not result.failed_tenants, reasons(result)
            self.owed[following(month)][tenant_id] -= rest

    def close(self, month: date) -> None:
        """Hand the month over. First a transfer of it waits, and the hand-over says so."""
        day, end = last_day(month), following(following(month))
        stray = transfer(777, "ﾌﾒｲ", booked_on=day, reference="stray")
        bank_files.put(self.store, stray, name=f"stray-{day}.txt")
        bank_files.run(self.database, self.store, on=end)
        named: dict[str, Any] = {"month": month, "run_date": end, "execution_id": f"closing {month}"}
        failed = Accepted(failed_tenants=True)
        with pytest.raises(BillingError, match="777 円"):
            accounting_rows.hand_over(self.platform, self.store, accepted=failed, **named)
        (stray_id,) = bank_files.waiting(self.host)
        values = {"transfer_ids": [stray_id], "reason": "預り金"}
        bank_files.run(self.database, self.store, "set_aside", on=end, values=values)
        accounting_rows.hand_over(self.platform, self.store, accepted=failed, **named)

    def check(self, month: date) -> None:
        """The ageing of the month's end has what each customer owes by the ledger, and the four files what changed in the month."""
        until = [self.owed[each] for each in MONTHS if each <= month]
        expected = {
            tenant_id: total
            for tenant_id in (*YEN, *DOLLARS)
            if (total := sum((each[tenant_id] for each in until), Decimal(0)))
        }
        present = files(self.store)
        ageing = present[f"accounting/{month:%Y-%m}/receivables-{month:%Y-%m}.csv"].decode("utf-8-sig")
        found = {row["テナントコード"]: Decimal(row["合計"]) for row in csv.DictReader(ageing.splitlines())}
        assert found == expected, month
        row = self.host.execute(
            "SELECT files FROM batch.accounting_month WHERE month = %s", [month]
        ).fetchone()
        assert row
        sums = {file["yen"] for file in row[0] if "/receivables-" not in file["key"]}
        in_yen = sum(self.owed[month][tenant_id] for tenant_id in YEN)
        dollars = self.host.execute(
            """
            SELECT coalesce(sum(CASE WHEN entry.adjustment_id IS NOT null OR entry.payment_id IS NOT null THEN 0
                ELSE document.yen_total END), 0)
            FROM batch.accounting_entry AS entry JOIN batch.invoice AS document USING (invoice_id)
            WHERE document.currency = 'USD' AND date_trunc('month', entry.booked_on) = %s
            """,
            [month],
        ).fetchone()
        assert len(sums) == 1, sums
        assert dollars
        paid = self.host.execute(
            "SELECT coalesce(sum(yen), 0) FROM batch.payment WHERE currency = 'USD' AND date_trunc('month', booked_on) = %s",
            [month],
        ).fetchone()
        lost = self.host.execute(
            """
            SELECT coalesce(sum((part.value ->> 'yen')::numeric), 0)
            FROM batch.adjustment CROSS JOIN jsonb_array_elements(content -> 'parts') AS part
            WHERE currency = 'USD' AND date_trunc('month', booked_on) = %s
            """,
            [month],
        ).fetchone()
        assert paid
        assert lost
        assert sums == {int(in_yen + dollars[0] - paid[0] - lost[0])}, month


def following(month: date) -> date:
    """The first day of the next month."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def last_day(month: date) -> date:
    """The last day of the month."""
    return date.fromordinal(following(month).toordinal() - 1)


@pytest.mark.long
def test_the_files_of_a_quarter_agree_with_a_ledger_kept_beside_them(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    change_billing(monkeypatch, tmp_path, payment_source="operations", own_accounts=[OWN_ACCOUNT])
    for tenant_id in YEN:
        customer(host, tenant_id, months=())
    for tenant_id in DOLLARS:
        customer(host, tenant_id, "STANDARD", months=(), currency_code="USD")
    office = Accountants(database, host, platform, store)
    for month, rate in zip(MONTHS, RATES, strict=True):
        for place, tenant_id in enumerate([*YEN, *DOLLARS]):
            close_month(host, tenant_id, month, active_users=5 + place)
        office.rate(month, rate)
        office.correct(month)
        office.pay(month)
        if month != MONTHS[0]:
            earlier = MONTHS[MONTHS.index(month) - 1]
            office.close(earlier)
            office.check(earlier)
    office.close(MONTHS[-1])
    office.check(MONTHS[-1])
    # A small company's normal months ask the second person for the first rate and the credits above the limit only.
    assert office.approvals <= len(MONTHS)
