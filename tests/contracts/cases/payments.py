"""Receivables: the operations on payments, and what banks' files become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from tests.contracts.case import PERSON, Case, Form, World, refusing
from tests.contracts.cases.invoices import (
    FILES,
    HOST,
    INVOICE,
    REASON,
    SEPTEMBER,
    TOTALS,
    TWO,
    billed,
    on_invoice,
    operate,
    settings,
    unbilled,
)
from tests.worlds import bank_files
from tests.worlds.billing_rows import MONTH, insert, run_billing
from tests.worlds.payment_rows import payment_values
from tests.worlds.zengin_files import OWN_ACCOUNT

AT = datetime(2026, 12, 10, 10, tzinfo=JAPAN)
PAYER, HOLD = "batch.payer", "batch.reminder_hold"
TRANSFER, CHOICE = "batch.bank_transfer", "batch.transfer_choice"
PAYMENT, ADJUSTMENT = "batch.payment", "batch.adjustment"
STOP = "batch.reminder_stop"
ADJUSTED = (ADJUSTMENT, INVOICE, HOST, FILES)
RECORDED = (PAYMENT, INVOICE, HOST, FILES)
FEE: dict[str, Any] = {"fee_on": "2026-11-27", "fee_amount": "660"}
PAID: dict[str, Any] = payment_values()
PART, OVERPAID = payment_values("10340"), payment_values("12000")
REFUND: dict[str, Any] = payment_values("1000", reference="R-1", paid_on="2026-12-08")


def _on_payment(name: str, *changes: str, **options: Any) -> Case:
    return on_invoice(name, *changes, at=AT, **({"tenants": "A"} | options))


def two_months(world: World) -> None:
    """September and October are invoiced."""
    unbilled(world, SEPTEMBER, MONTH)
    for month in (SEPTEMBER, MONTH):
        run_billing(world.database, month, store=world.store)


def with_file(world: World) -> None:
    """An accountant's file has payments of A and B."""
    billed(world)
    rows = [
        f"INV-2026-10-{number:03},2026-11-27,{amount},JPY,銀行振込,F-{amount}"
        for number in (1, 2)
        for amount in (4000, 7000)
    ]
    text = "\n".join(["請求書番号,入金日,金額,通貨,方法,参照番号", *rows, ""])
    world.store.write("payments/2026-11.csv", text.encode("cp932"))


# The names of the payers, and their tenants.
PAYERS = {"A": "ｶ)ｱｵﾊﾞ", "B": "ﾕ)ﾐﾄﾞﾘ", "C": "ｼﾞﾛｳ"}
STRANGER = "ｼﾗﾅｲ"


def know_payers(world: World) -> None:
    """All payers are known."""
    for tenant_id, payer in PAYERS.items():
        key = payer.replace("ｶ)", "[ｶ]").replace("ﾕ)", "[ﾕ]")
        insert(
            world.host,
            "payer",
            tenant_id=tenant_id,
            payer_key=key,
            payer_code="",
            payer_name=payer,
            confirmed_by=PERSON,
            execution_id="earlier",
        )


def with_transfers(world: World) -> Form:
    """A bank's file with transfers of A and B, and with one of a stranger that an earlier file has; C has paid nothing."""
    billed(world)
    stranger = bank_files.transfer(500, STRANGER)
    bank_files.put(world.store, stranger, name="20261126.txt")
    bank_files.run(world.database, world.store)
    know_payers(world)
    own = [bank_files.transfer(TOTALS[tenant_id], PAYERS[tenant_id]) for tenant_id in TWO]
    bank_files.put(world.store, *own, stranger)
    return {"operation": "import"}


def imported(world: World, *, are_paid: bool = False) -> list[str]:
    """Strangers have paid what all tenants owe, and perhaps somebody has entered it. Returns the ids of the transfers of A and B."""
    billed(world)
    if are_paid:
        operate(world, "record_payment", lambda tenant_id: payment_values(str(TOTALS[tenant_id])), AT)
    bank_files.put(world.store, *(bank_files.transfer(TOTALS[each], payer) for each, payer in PAYERS.items()))
    bank_files.run(world.database, world.store)
    found = world.host.execute("SELECT transfer_id FROM batch.bank_transfer ORDER BY amount LIMIT 2")
    return [transfer_id for (transfer_id,) in found]


def _numbered(transfers: Sequence[str]) -> list[str]:
    """The transfers with the invoices that they pay."""
    return [f"{each}=INV-2026-10-00{number}" for number, each in enumerate(transfers, 1)]


def _confirmed(world: World) -> Form:
    return {"transfers": _numbered(imported(world))}


def _paid_before(world: World) -> Form:
    return {"same_transfers": _numbered(imported(world, are_paid=True))}


def _set_aside(world: World) -> Form:
    imported(world)
    ids = [each for (each,) in world.host.execute("SELECT transfer_id FROM batch.bank_transfer")]
    bank_files.run(
        world.database, world.store, "set_aside", values={"transfer_ids": ids, **REASON}, triggered_by=PERSON
    )
    return {"transfer_ids": ids[:2]}


def _forgotten(world: World) -> Form:
    billed(world)
    know_payers(world)
    payers = world.host.execute("SELECT payer_id::text FROM batch.payer WHERE tenant_id <> 'C'")
    return {"payers": [payer for (payer,) in payers]}


def _on_transfers(name: str, plant: Callable[[World], Form], *changes: str, breaks: str = "") -> Case:
    return Case(
        IMPORT_PAYMENTS,
        name,
        bank_files.TODAY,
        lambda world: {"operation": name, **plant(world)},
        frozenset(changes),
        AT,
        person="" if name == "import" else PERSON,
        break_tenant=refusing(breaks) if breaks else None,
        set_up=settings(payment_source="operations", own_accounts=[OWN_ACCOUNT]),
    )


CASES = (
    _on_payment("record_payment", *RECORDED, **PAID),
    _on_payment(
        "reverse_payment",
        *RECORDED,
        tenants="AB",
        before=[("record_payment", PAID)],
        paid_reference="F-1",
        breaks=PAYMENT,
        **REASON,
    ),
    _on_payment(
        "move_payment",
        *RECORDED,
        begin=two_months,
        before=[("record_payment", PAID)],
        paid_reference="F-1",
        paid_to="INV-2026-09-001",
        **REASON,
    ),
    _on_payment(
        "record_refund",
        *RECORDED,
        before=[("record_payment", OVERPAID)],
        **REFUND,
        **REASON,
    ),
    _on_payment("fee_difference", *ADJUSTED, before=[("record_payment", PART)], **FEE),
    _on_payment(
        "write_off",
        *ADJUSTED,
        written_off_on="2026-12-08",
        fact="insolvency",
        evidence="通知",
    ),
    _on_payment(
        "take_back_adjustment",
        *ADJUSTED,
        before=[("record_payment", PART), ("fee_difference", FEE)],
        adjustment="fee",
        **REASON,
    ),
    _on_payment("import_payments", *RECORDED, begin=with_file, tenants=(), payment_file="2026-11.csv"),
    _on_payment("stop_reminders", STOP, FILES, tenants="AB", breaks=STOP, **REASON),
    _on_payment(
        "allow_reminders",
        STOP,
        tenants="AB",
        before=[("stop_reminders", REASON)],
        breaks=STOP,
    ),
    _on_transfers("import", with_transfers, *RECORDED, TRANSFER, "batch.bank_file", breaks=PAYMENT),
    _on_transfers("confirm", _confirmed, *RECORDED, TRANSFER, CHOICE, PAYER, HOLD, breaks=PAYMENT),
    _on_transfers(
        "same_payment",
        _paid_before,
        PAYMENT,
        TRANSFER,
        CHOICE,
        PAYER,
        FILES,
    ),
    _on_transfers(
        "set_aside",
        lambda world: {"transfer_ids": imported(world), **REASON},
        TRANSFER,
        CHOICE,
        HOLD,
        FILES,
    ),
    _on_transfers("reopen", _set_aside, TRANSFER, CHOICE, HOLD, FILES),
    _on_transfers("forget_payers", _forgotten, PAYER, FILES),
)
