"""The operations on invoices."""

from __future__ import annotations

from typing import Any

from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from tests.batches.tenant_management.billing_rows import MONTH, customer, run_billing
from tests.contracts.case import PERSON, Case, Form, World


def customers(world: World) -> Form:
    for tenant_id in "ABC":
        customer(world.host, tenant_id)
    return {"tenants": ["A", "B"]}


def billed(world: World) -> None:
    customers(world)
    run_billing(world.database, store=world.store)


def _on_invoice(name: str, *changes: str, **form: Any) -> Case:
    def plant(world: World) -> Form:
        billed(world)
        return {"operation": name, "tenants": ["A"], **form}

    return Case(OPERATE_INVOICES, name, MONTH, plant, frozenset(changes), person=PERSON)


CASES = (
    Case(
        TENANT_BILLING,
        "",
        MONTH,
        customers,
        frozenset(
            {
                "batch.invoice",
                "batch.invoice_counter",
                "batch.invoice_document",
                "batch.letter_file",
                "public.HIS_NotificationLog",
                "public.HIS_TenantBilling",
                "files",
            }
        ),
    ),
    _on_invoice("explain"),
    _on_invoice(
        "void",
        "batch.invoice",
        "public.HIS_NotificationLog",
        "public.HIS_TenantBilling",
        "files",
        reason="誤り",
    ),
)
