"""The operations on contracts, and their approval by a second person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from include.skillreport.approvals.requests import RequestKind, ask_by_hand, find_held
from include.skillreport.core.operation_catalog import APPROVE_CONTRACTS, OPERATE_CONTRACTS
from include.skillreport.operations.operate_contracts.form import FORM
from tests.contracts.case import PERSON, Case, Form, World
from tests.contracts.cases.invoices import ITEM, LETTER, REASON, TWO, billed, on_board
from tests.worlds import billing_rows, contract_entries
from tests.worlds.approval_rows import APPROVE, record
from tests.worlds.contract_entries import AT, SECOND, TODAY

CHANGE, PROFILE, ENTERED = "batch.contract_change", "batch.billing_profile", "batch.entered_values"

DISCOUNT: dict[str, Any] = {
    "discount_name": "年間割引",
    "discount_kind": "percentage",
    "value": "10",
    "valid_from": "2026-10-01",
}
COMMITMENT: dict[str, Any] = {"amount": "50000", "currency": "JPY", "valid_from": "2026-10-01"}
NUMBER: dict[str, Any] = {"order_number": "PO-1", "valid_from": "2026-10-01"}
RATE: dict[str, Any] = {"currency": "USD", "rate_date": "2026-10-31", "yen_per_unit": "155.32"}


def _on_contract(
    name: str,
    *changes: str,
    tenants: str = "AB",
    begin: Callable[[World], Form] = lambda world: {},  # noqa: ARG005
    **form: Any,
) -> Case:
    def plant(world: World) -> Form:
        billed(world)
        entered: dict[str, Any] = {"operation": name, "tenants": [*tenants], **form, **begin(world)}
        return on_board(world, OPERATE_CONTRACTS, entered) if FORM.chosen(entered).is_personal() else entered

    return Case(OPERATE_CONTRACTS, name, TODAY, plant, frozenset(changes), AT, person=PERSON)


def with_discounts(world: World) -> Form:
    for tenant_id in "ABC":
        contract_entries.set_discount(world.database, tenant_id, **DISCOUNT)
    return {}


def waiting(world: World) -> Form:
    """New recipients wait for a second person."""
    for tenant_id in "ABC":
        contract_entries.set_profile(world.database, tenant_id, email="new@customer.example")
    changes = world.host.execute("SELECT change_id FROM batch.contract_change WHERE tenant_id <> 'C'")
    return {"changes": [change for (change,) in changes]}


def with_rate(world: World) -> Form:
    """A first rate waits for a second person."""
    billing_rows.exchange_rate(world.host, date(2026, 9, 30), "155")
    return {}


def with_file(world: World) -> Form:
    lines = [f"{tenant_id},年間割引,percentage,10,,,2026-10-01," for tenant_id in TWO]
    header = "tenant,discount_name,discount_kind,value,currency,metric,valid_from,valid_to"
    world.store.write("contracts/incoming/discount.csv", "\n".join([header, *lines, ""]).encode())
    return {"imported_kind": "discount", "imported_file": "discount.csv"}


def asked(world: World) -> Form:
    """A second person approves the new recipients of A and B of the three."""
    billed(world)
    waiting(world)
    with world.database.connect("batch_platform") as platform:
        held = find_held(platform, RequestKind.CONTRACTS, TODAY)
        request = ask_by_hand(platform, APPROVE_CONTRACTS, TODAY, held, run_id="by hand", person=SECOND)
    return record(world.database, request, APPROVE, *TWO, person=SECOND, at=AT)


CASES = (
    _on_contract("set_profile", CHANGE, ENTERED, tenants="A", email="new@customer.example", **REASON),
    _on_contract(
        "set_plan", CHANGE, "batch.plan_change", plan="ENTERPRISE", plan_from="2026-10-01", **REASON
    ),
    _on_contract("set_discount", CHANGE, "batch.discount", **DISCOUNT, **REASON),
    _on_contract("set_commitment", CHANGE, "batch.commitment", **COMMITMENT, **REASON),
    _on_contract("set_order_number", CHANGE, "batch.order_number", **NUMBER, **REASON),
    _on_contract(
        "end",
        CHANGE,
        "batch.discount",
        begin=with_discounts,
        ended="discount",
        discount_name="年間割引",
        valid_from="2026-10-01",
        last_day="2026-11-30",
        **REASON,
    ),
    _on_contract("set_rate", CHANGE, "batch.exchange_rate", tenants="", begin=with_rate, **RATE, **REASON),
    _on_contract("add_payer", CHANGE, ENTERED, payer_name="カ)アオバ", **REASON),
    _on_contract("withdraw", CHANGE, tenants="", begin=waiting, **REASON),
    _on_contract("import_file", CHANGE, "batch.discount", tenants="", begin=with_file, **REASON),
    _on_contract("export_files", "files", tenants="", begin=with_discounts),
    Case(APPROVE_CONTRACTS, "", TODAY, asked, frozenset({CHANGE, PROFILE, ITEM, LETTER}), AT),
)
