"""The operations on invoices, their lines and their letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.form import ENTRY
from include.skillreport.core.operation_catalog import APPROVE_INVOICES, OPERATE_INVOICES
from include.skillreport.core.run_spec import OperationSpec
from tests.contracts.case import PERSON, B, Case, Form, World, refusing
from tests.worlds import billing_rows
from tests.worlds.approval_rows import APPROVE, NOW, asked_about, record
from tests.worlds.billing_rows import MONTH, close_month, customer, run_billing
from tests.worlds.board_entries import enter
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing

TENANTS, TWO = "ABC", ("A", "B")

SEPTEMBER = date(2026, 9, 1)
NOVEMBER_1 = datetime(2026, 11, 1, 10, tzinfo=JAPAN)

# Who has entered what PERSON works on.
EARLIER = "yamada"

# An operation before the one of the case, with the values of its form.
Values = Mapping[str, Any]
Before = tuple[str, Values]
SetUp = Callable[[pytest.MonkeyPatch, Path], None]

INVOICE, DOCUMENT, LETTER_FILE = "batch.invoice", "batch.invoice_document", "batch.letter_file"
ITEM, ENTERED = "batch.approval_item", "batch.entered_values"
CHARGE, LETTER_DECISION = "batch.extra_charge", "batch.letter_decision"
HOST, LETTER, FILES = "public.HIS_TenantBilling", "public.HIS_NotificationLog", "files"
ISSUED = (INVOICE, "batch.invoice_counter", DOCUMENT, LETTER_FILE, LETTER, HOST, FILES)


def settings(**billing: Any) -> SetUp:
    """The settings of the case."""
    return lambda environment, folder: change_billing(environment, folder, **billing)


# The active users and the invoices of the tenants.
USERS = {"A": 0, "B": 25, "C": 30}
TOTALS = {"A": 11_000, "B": 13_750, "C": 16_500}


def unbilled(world: World, *months: date) -> None:
    """The months are closed."""
    for tenant_id, users in USERS.items():
        customer(world.host, tenant_id, months=())
        for month in months or [MONTH]:
            close_month(world.host, tenant_id, month, active_users=users)


def billed(world: World) -> None:
    """October of all tenants is invoiced. C's invoice is like those of A and B."""

    def plant() -> None:
        unbilled(world)
        run_billing(world.database, store=world.store)

    planted_once("billed", world.database, plant, world.store)


def without_files(world: World) -> None:
    """October is invoiced, and no file is written."""
    unbilled(world)
    run_billing(world.database)


def operate(
    world: World, name: str, values: Values | Callable[[str], Values], at: datetime | None = None
) -> None:
    """Do an operation before that of the case, for all tenants one by one."""
    for tenant_id in TENANTS:
        own = values(tenant_id) if callable(values) else values
        options: dict[str, Any] = {"values": own, "store": world.store, "run_at": at}
        result = billing_rows.operate(world.database, name, tenant_id, triggered_by=EARLIER, **options)
        assert not result.failed_tenants, result.failed_tenants


def on_invoice(
    name: str,
    *changes: str,
    tenants: Sequence[str] = TWO,
    begin: Callable[[World], None] = billed,
    before: Sequence[Before] = (),
    at: datetime | None = None,
    breaks: str = INVOICE,
    set_up: SetUp = lambda environment, folder: None,  # noqa: ARG005
    **form: Any,
) -> Case:
    """A case of an operation, with its values. Writes of tenant B to the table ``breaks`` can fail, if it takes several tenants."""

    def plant(world: World) -> Form:
        begin(world)
        for operation, values in before:
            operate(world, operation, values, at)
        entered = {"operation": name, "tenants": [*tenants], **form}
        return on_board(world, OPERATE_INVOICES, entered) if name == "correct" else entered

    return Case(
        OPERATE_INVOICES,
        name,
        MONTH,
        plant,
        frozenset(changes),
        at,
        person=PERSON,
        break_tenant=refusing(breaks) if breaks and B in tenants else None,
        set_up=set_up,
    )


def on_board(world: World, spec: OperationSpec, form: Form) -> Form:
    """The form of an operation with personal values, which PERSON has entered on the board. They are of use for a whole day."""
    values = {name: value for name, value in form.items() if name not in ("operation", "tenants")}
    token = enter(world.database, spec.dag_id, form["operation"], values, person=PERSON, minutes_ago=-24 * 60)
    return {"operation": form["operation"], "tenants": form["tenants"], ENTRY: token}


def customers(world: World) -> Form:
    unbilled(world)
    return {"tenants": [*TWO]}


LINE: dict[str, Any] = {"line_date": "2026-10-15", "line_text": "作業費", "line_price": "9000"}


def held(world: World) -> None:
    """October waits for an approval: somebody has entered a line beyond what a person may enter alone."""

    def plant() -> None:
        unbilled(world)
        operate(world, "extra_line", LINE)
        run_billing(world.database, store=world.store)

    planted_once("held", world.database, plant, world.store)


def asked(world: World) -> Form:
    """Somebody approves A and B of the three."""
    unbilled(world)
    operate(world, "extra_line", LINE)
    request = asked_about(world.database, run_billing(world.database, store=world.store))
    assert request is not None
    return record(world.database, request.request, APPROVE, *TWO)


def closed_again(world: World) -> None:
    """A day of October has other figures since its invoices are final."""
    billed(world)
    world.host.execute(
        "UPDATE batch.usage_day SET active_users = 99, revision = 2, closed_at = clock_timestamp() WHERE usage_date = '2026-10-03'"
    )


LIMITED = settings(operation_limit=1000)
REASON: dict[str, Any] = {"reason": "誤り"}

CASES = (
    Case(TENANT_BILLING, "", MONTH, customers, frozenset(ISSUED), break_tenant=refusing(INVOICE)),
    Case(
        APPROVE_INVOICES,
        "",
        MONTH,
        asked,
        frozenset({*ISSUED, CHARGE, ITEM}),
        NOW,
        break_tenant=refusing(INVOICE),
        set_up=LIMITED,
    ),
    on_invoice("explain", begin=without_files, breaks=""),
    on_invoice("approve", *ISSUED, CHARGE, begin=held, set_up=LIMITED),
    on_invoice("void", INVOICE, LETTER, HOST, FILES, **REASON),
    on_invoice("credit", *ISSUED, **REASON),
    on_invoice("part_credit", *ISSUED, tenants="A", credit_lines=["1=4000"], **REASON),
    on_invoice(
        "drop_credit",
        INVOICE,
        before=[("part_credit", {"credit_lines": ["1=4000"], **REASON})],
        set_up=LIMITED,
        **REASON,
    ),
    on_invoice("reissue", *ISSUED, **REASON),
    on_invoice("bill_again", *ISSUED, before=[("void", REASON)], **REASON),
    on_invoice(
        "correct",
        ENTERED,
        "batch.invoice_revision",
        DOCUMENT,
        LETTER_FILE,
        LETTER,
        HOST,
        FILES,
        tenants="A",
        correction="宛名",
        recipient_name="青葉商事",
    ),
    on_invoice("stop_letter", LETTER, LETTER_DECISION, breaks=LETTER_DECISION, at=NOVEMBER_1, **REASON),
    on_invoice(
        "send_letter",
        LETTER,
        LETTER_DECISION,
        before=[("stop_letter", REASON)],
        at=NOVEMBER_1,
        breaks=LETTER_DECISION,
        **REASON,
    ),
    on_invoice("extra_line", CHARGE, FILES, begin=unbilled, breaks=CHARGE, **LINE),
    on_invoice(
        "remove_line",
        CHARGE,
        "batch.extra_charge_removal",
        begin=unbilled,
        before=[("extra_line", LINE)],
        breaks=CHARGE,
        line_text="作業費",
    ),
    on_invoice("carry", CHARGE, begin=closed_again, breaks=CHARGE),
    on_invoice(
        "hand_over", "batch.accounting_month", FILES, tenants=(), accounting_month="2026-10-01", at=NOVEMBER_1
    ),
)
