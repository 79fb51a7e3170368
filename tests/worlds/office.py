"""Two people who work on the same invoices at random, and what the ledger must say."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.periods import Period
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.operations.operate_invoices.form import FORM
from tests.conftest import Database
from tests.operations.own_ledger import yen, yen_per_month
from tests.worlds import accounting_rows, billing_rows
from tests.worlds.billing_rows import customer, files, run_billing

OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)

TENANTS = ("A", "B", "U")

PEOPLE = ("keiri.sato", "keiri.suzuki")

ACTIONS = {operation.name: operation for operation in FORM.operations}

# How often each kind of step is taken.
_WEIGHTS = {
    "bill": 4,
    "void": 1,
    "credit": 1,
    "part_credit": 4,
    "extra_line": 3,
    "pay": 6,
    "fee": 5,
    "refund": 2,
    "reverse": 3,
    "move": 3,
    "write_off": 2,
    "take_back": 2,
    "reissue": 2,
    "bill_again": 3,
    "approve": 3,
    "stop_letter": 1,
    "send_letter": 1,
    "correct": 2,
    "drop_credit": 1,
    "hand_over": 2,
}

# The invoices that allow a step. Most steps are taken on one of them.
_LIVE = "invoice.status <> 'void' AND NOT invoice.credited"
_POSSIBLE = {
    "pay": f"{_LIVE} AND invoice.open_amount > 0",
    "fee": f"{_LIVE} AND invoice.open_amount > 0 AND invoice.paid_total > 0",
    "refund": "invoice.open_amount < 0",
    "reverse": "invoice.paid_total > 0",
    "move": """invoice.paid_total > 0 AND EXISTS (
        SELECT FROM batch.invoice AS other
        WHERE
            other.tenant_id = invoice.tenant_id AND other.period_start <> invoice.period_start AND other.kind = 'invoice'
            AND other.number IS NOT null AND other.status <> 'void' AND NOT other.credited
    )""",
    "write_off": f"{_LIVE} AND invoice.open_amount > 0",
    "take_back": "invoice.fee_total + invoice.written_off_total > 0",
    "bill_again": """(invoice.status = 'void' OR invoice.credited) AND NOT EXISTS (
        SELECT FROM batch.invoice AS live
        WHERE
            live.tenant_id = invoice.tenant_id AND live.period_start = invoice.period_start AND live.kind = 'invoice'
            AND live.status <> 'void' AND NOT live.credited
    )""",
    "part_credit": _LIVE,
    "correct": _LIVE,
    "drop_credit": """EXISTS (
        SELECT FROM batch.invoice AS waiting
        WHERE waiting.credits_invoice_id = invoice.invoice_id AND waiting.status = 'draft'
    )""",
    "stop_letter": _LIVE,
    "void": f"{_LIVE} AND invoice.open_amount = invoice.total",
    "credit": f"{_LIVE} AND invoice.fee_total + invoice.written_off_total = 0",
    "reissue": f"{_LIVE} AND invoice.open_amount = invoice.total",
}


class Office:
    """The two people's work on A, B (in yen) and U (in dollars) in October and November."""

    def __init__(
        self,
        seed: int,
        database: Database,
        host: psycopg.Connection,
        platform: psycopg.Connection,
        store: ObjectStore,
    ) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.database, self.host, self.platform, self.store = database, host, platform, store
        self.now = datetime(2026, 11, 1, 10, tzinfo=JAPAN)
        self.opened: Counter[tuple[str, date]] = Counter()
        self.handed_over: dict[str, bytes] = {}
        self.done: Counter[str] = Counter()
        self.after_step: Callable[[], object] = lambda: None
        self.log: list[str] = []
        for tenant_id, currency in zip(TENANTS, ("JPY", "JPY", "USD"), strict=True):
            customer(host, tenant_id, "STANDARD", months=(OCTOBER, NOVEMBER), currency_code=currency)
        billing_rows.exchange_rate(host, date(2026, 10, 31), "151.235")
        billing_rows.exchange_rate(host, date(2026, 11, 30), "149.87")

    def work(self, steps: int) -> None:
        """Bill October, then take random steps."""
        self.take("bill", "A", OCTOBER)
        for _ in range(steps):
            self.now += timedelta(days=self.random.choice((0, 0, 2, 5, 9)))
            for step in self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=50):
                place = self.place(_POSSIBLE.get(step))
                if place:
                    self.take(step, *place)
                    break
            self.after_step()

    def take(self, step: str, tenant_id: str, month: date) -> None:
        """One step by one of the two. It may be refused."""
        taken: Callable[[str, date], Any] = getattr(self, f"_{step}")
        result = taken(tenant_id, month)
        done = result is not None and (result is True or not result.failed_tenants)
        if result not in (None, True):
            assert result.error is None, (self.log, step, result.error)
        self.done[step] += done
        self.log.append(f"{self.now:%m-%d} {step} {tenant_id} {month:%m}{'' if done else ' refused'}")

    def place(self, condition: str | None) -> tuple[str, date] | None:
        """A tenant and a month: one of the invoices for which the condition holds, or sometimes any. None: there is no such invoice."""
        if condition is None or self.random.random() < 0.15:
            return self.random.choice(TENANTS), self.month()
        found = self.host.execute(
            f"""
            SELECT DISTINCT invoice.tenant_id, invoice.period_start FROM batch.invoice
            WHERE invoice.kind = 'invoice' AND invoice.number IS NOT null AND {condition}
            ORDER BY 1, 2
            """
        ).fetchall()
        return self.random.choice(found) if found else None

    def month(self) -> date:
        """A month that is over."""
        return OCTOBER if self.now.month == 11 else self.random.choice((OCTOBER, NOVEMBER))

    def operate(self, operation: str, tenant_id: str, month: date, **values: Any) -> Any:
        """An operation by one of the two."""
        takes_reason = "reason" in ACTIONS[operation].fields()
        return billing_rows.operate(
            self.database,
            operation,
            tenant_id,
            month=month,
            reason="訂正のため" if takes_reason else "",
            values=values,
            run_at=self.now,
            triggered_by=self.random.choice(PEOPLE),
        )

    def invoice(self, tenant_id: str, month: date) -> dict[str, Any] | None:
        """The tenant's live, numbered invoice of the month."""
        with self.host.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                """
                SELECT * FROM batch.invoice
                WHERE tenant_id = %s AND period_start = %s AND kind = 'invoice' AND number IS NOT null
                    AND status <> 'void' AND NOT credited
                """,
                [tenant_id, month],
            ).fetchone()

    def _bill(self, _: str, month: date) -> Any:
        codes = self.random.choice(((), (), (self.random.choice(TENANTS),)))
        return run_billing(self.database, month, codes=codes, run_at=self.now)

    def _void(self, tenant_id: str, month: date) -> Any:
        return self.operate("void", tenant_id, month)

    def _credit(self, tenant_id: str, month: date) -> Any:
        return self.operate("credit", tenant_id, month)

    def _part_credit(self, tenant_id: str, month: date) -> Any:
        amount = self.random.choice(("1", "33", "100", "333"))
        again_same = self.random.choice(("on", ""))
        return self.operate(
            "part_credit", tenant_id, month, credit_lines=[f"1={amount}"], again_same=again_same
        )

    def _extra_line(self, tenant_id: str, month: date) -> Any:
        return self.operate(
            "extra_line",
            tenant_id,
            month,
            line_date=f"{self.now.date():%Y-%m-%d}",
            line_text=self.random.choice(("作業費", "弁当", "値引き")),
            line_price=self.random.choice(("777", "-50", "3001")),
            line_tax=self.random.choice(("standard", "reduced")),
        )

    def _pay(self, tenant_id: str, month: date) -> Any:
        invoice = self.invoice(tenant_id, month)
        left = invoice["open_amount"] if invoice else Decimal(1000)
        amount = max(
            self.random.choice((left, left - 660, left - 660, left - 1, left / 2, left + 100)), Decimal(1)
        ).quantize(Decimal(1))
        return self.operate(
            "record_payment",
            tenant_id,
            month,
            paid_on=f"{self.now.date() - timedelta(days=self.random.choice((0, 0, 12))):%Y-%m-%d}",
            paid_amount=f"{amount}",
            paid_method="銀行振込",
            paid_reference=f"F-{self.random.randrange(1000)}",
        )

    def _fee(self, tenant_id: str, month: date) -> Any:
        amount = self.random.choice(("", "", "1", "440"))
        return self.operate(
            "fee_difference", tenant_id, month, fee_on=f"{self.now.date():%Y-%m-%d}", fee_amount=amount
        )

    def _refund(self, tenant_id: str, month: date) -> Any:
        return self.operate(
            "record_refund",
            tenant_id,
            month,
            paid_on=f"{self.now.date():%Y-%m-%d}",
            paid_amount=self.random.choice(("1", "50", "100")),
            paid_method="銀行振込",
            paid_reference=f"R-{self.random.randrange(1000)}",
        )

    def _reverse(self, tenant_id: str, month: date) -> Any:
        return self.operate(
            "reverse_payment", tenant_id, month, paid_reference=self.reference(tenant_id, month)
        )

    def _move(self, tenant_id: str, month: date) -> Any:
        target = self.invoice(tenant_id, NOVEMBER if month == OCTOBER else OCTOBER)
        return self.operate(
            "move_payment",
            tenant_id,
            month,
            paid_reference=self.reference(tenant_id, month),
            paid_to=target["number"] if target else "INV-0",
        )

    def reference(self, tenant_id: str, month: date) -> str:
        """One of the references of the month's payments and refunds."""
        references = self.host.execute(
            """
            SELECT payment.reference FROM batch.payment
            INNER JOIN batch.invoice ON payment.invoice_id = invoice.invoice_id
            WHERE invoice.tenant_id = %s AND invoice.period_start = %s AND payment.reversed_at IS null
            ORDER BY payment.reference
            """,
            [tenant_id, month],
        ).fetchall()
        return str(self.random.choice(references)[0]) if references else "F-0"

    def _write_off(self, tenant_id: str, month: date) -> Any:
        return self.operate(
            "write_off",
            tenant_id,
            month,
            written_off_on=f"{self.now.date():%Y-%m-%d}",
            fact=self.random.choice(("insolvency", "none")),
            evidence="書庫 12",
        )

    def _take_back(self, tenant_id: str, month: date) -> Any:
        invoice = self.invoice(tenant_id, month)
        kind = "write_off" if invoice and invoice["written_off_total"] else "fee"
        return self.operate("take_back_adjustment", tenant_id, month, adjustment=kind)

    def _reissue(self, tenant_id: str, month: date) -> Any:
        result = self.operate("reissue", tenant_id, month, accept_change="on")
        self.opened[tenant_id, month] += not result.failed_tenants
        return result

    def _bill_again(self, tenant_id: str, month: date) -> Any:
        result = self.operate("bill_again", tenant_id, month)
        self.opened[tenant_id, month] += not result.failed_tenants
        return result

    def _approve(self, tenant_id: str, month: date) -> Any:
        return self.operate("approve", tenant_id, month)

    def _stop_letter(self, tenant_id: str, month: date) -> Any:
        return self.operate("stop_letter", tenant_id, month)

    def _correct(self, tenant_id: str, month: date) -> Any:
        changes = self.random.choice(
            (
                {"note": f"注文番号 {len(self.log)}"},
                {"recipient_name": f"青葉商事 {len(self.log)}"},
                {"due_on": "2027-06-30"},
            )
        )
        return self.operate("correct", tenant_id, month, correction="宛名の誤り", **changes)

    def _drop_credit(self, tenant_id: str, month: date) -> Any:
        return self.operate("drop_credit", tenant_id, month)

    def _send_letter(self, tenant_id: str, month: date) -> Any:
        return self.operate("send_letter", tenant_id, month, accept_near_due="on")

    def _hand_over(self, _: str, _month: date) -> Any:
        """Hand the first open month over. Half the time, bill it before, and leave failed tenants and held drafts out."""
        month = NOVEMBER if self.handed_over else OCTOBER
        execution_id, is_forced = f"hand-over {self.now} {len(self.log)}", self.random.random() < 0.5
        if is_forced and self.now.date() > Period.month_of(month).end:
            run_billing(self.database, month, run_at=self.now)
        accepted = Accepted(failed_tenants=is_forced, held_drafts=is_forced)
        try:
            accounting_rows.hand_over(
                self.platform, self.store, month, self.now.date(), execution_id, accepted=accepted
            )
        except BillingError:
            return None
        for key in accounting_rows.keys(f"{month:%Y-%m}", is_final=True):
            self.handed_over[key] = files(self.store)[key]
        return True

    def check(self) -> None:
        """Nothing is billed twice, no handed-over file has changed, sums are those of their rows, and all books agree."""
        self._check_months()
        present = files(self.store)
        assert {key: present[key] for key in self.handed_over} == self.handed_over, self.log
        self._check_sums()
        self._check_books()
        self._check_receivables()
        self._check_month_ends()

    def _check_months(self) -> None:
        billed = self.host.execute(
            """
            SELECT tenant_id, period_start, count(*) FROM batch.invoice
            WHERE kind = 'invoice' AND number IS NOT null GROUP BY tenant_id, period_start
            """
        ).fetchall()
        for tenant_id, month, times in billed:
            assert times <= 1 + self.opened[tenant_id, month], (tenant_id, month, self.log)

    def _check_sums(self) -> None:
        rows = self.host.execute(
            """
            SELECT
                invoice.number, invoice.open_amount,
                invoice.total
                + coalesce((SELECT sum(credit.total) FROM batch.invoice AS credit
                    WHERE credit.credits_invoice_id = invoice.invoice_id AND credit.number IS NOT null), 0)
                - coalesce((SELECT sum(CASE kind WHEN 'refund' THEN -amount ELSE amount END) FROM batch.payment
                    WHERE payment.invoice_id = invoice.invoice_id AND reversed_at IS null), 0)
                - coalesce((SELECT sum(amount) FROM batch.adjustment
                    WHERE adjustment.invoice_id = invoice.invoice_id), 0)
            FROM batch.invoice
            WHERE invoice.kind = 'invoice' AND invoice.number IS NOT null AND invoice.status <> 'void'
            """
        ).fetchall()
        assert [row for row in rows if row[1] != row[2]] == [], self.log

    def _check_books(self) -> None:
        """Per month: the list, the journal, both imports, and the sum that this test takes from the ledger."""
        ledger = yen_per_month(self.host)
        closed = {
            month: [file["yen"] for file in written if "/receivables-" not in file["key"]]
            for month, written in self.host.execute(
                "SELECT month, files FROM batch.accounting_month"
            ).fetchall()
        }
        for month in ledger:
            if month not in closed:
                Billing().write_accounting_month(self.platform, month, self.store)
                closed[month] = list(accounting_rows.receivables(self.store, f"{month:%Y-%m}").values())
        assert {month: set(yen) for month, yen in closed.items()} == {
            month: {ledger.get(month, 0)} for month in closed
        }, self.log

    def _check_receivables(self) -> None:
        """The lists of all months leave of each invoice what is open. In dollars, a credit note may leave a yen of rounding."""
        left: Counter[str] = Counter()
        for key, content in files(self.store).items():
            if re.match(r"accounting/[0-9-]+/accounting", key):
                for row in csv.DictReader(content.decode("utf-8-sig").splitlines()):
                    number = row["元請求書番号"] or row["請求書番号"]
                    left[number] += int(row["税込金額（円）"])
        for number, open_amount, currency, rate in self.host.execute(
            """
            SELECT number, CASE status WHEN 'void' THEN 0 ELSE open_amount END, currency,
                coalesce((inputs #>> '{exchange_rate,yen_per_unit}')::numeric, 1)
            FROM batch.invoice WHERE kind = 'invoice' AND number IS NOT null
            """
        ).fetchall():
            difference = left[number] - yen(open_amount, rate)
            assert abs(difference) <= (2 if currency == "USD" else 0), (number, difference, self.log)

    def _check_month_ends(self) -> None:
        """The ageing of a closed month's end is the sum of the lists until then."""
        present = files(self.store)
        for key in self.handed_over:
            if month := re.fullmatch(r"accounting/.*/receivables-(.*)\.csv", key):
                ageing = csv.DictReader(present[key].decode("utf-8-sig").splitlines())
                aged = sum(int(row["円換算"]) for row in ageing)
                listed = 0
                for name, content in present.items():
                    if re.match(r"accounting/[0-9-]+/accounting", name) and name.split("/")[1] <= month[1]:
                        rows = csv.DictReader(content.decode("utf-8-sig").splitlines())
                        listed += sum(int(row["税込金額（円）"]) for row in rows)
                assert aged == listed, (key, self.log)
