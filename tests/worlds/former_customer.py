"""A customer that has left and is deleted, with what the accountant still needs of it: invoices, a credit note, payments and documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import psycopg
import pytest

from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, copied_database
from tests.worlds.approval_rows import asked_about
from tests.worlds.billing_rows import (
    billing_profile,
    close_month,
    customer,
    operate,
    run_billing,
)
from tests.worlds.leaving_stages import unproved
from tests.worlds.leaving_tenants import Leaving
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT

MAY, JUNE, JULY, AUGUST = (date(2026, month, 1) for month in range(5, 9))

CODE, NAME = "ACME-1", "株式会社アクメ商会"
# Everything with this domain is an address of the customer.
DOMAIN = "acme.example"

# July's invoice is held, and August is not billed. T's invoices: May's is paid. Of June's ¥11,000, a credit note has taken ¥1,100.
PAID, OPEN, CREDIT_NOTE = "INV-2026-05-001", "INV-2026-06-001", "CRN-2026-06-001"
REST = 9_900


@dataclass(frozen=True)
class FormerCustomer:
    """The database and the store after the deletion of T, and the request to approve T's held July. U stays, and owes all months."""

    leaving: Leaving
    request: ApprovalRequest


def with_bank(environment: pytest.MonkeyPatch, folder: Path) -> None:
    """The batches' operations record payments, and the bank's files have transfers to our account."""
    change_billing(environment, folder, payment_source="operations", own_accounts=[OWN_ACCOUNT])


@contextmanager
def former_customer(
    server: Server, deletable_templates: dict[HostVariant, Database], folder: Path
) -> Iterator[FormerCustomer]:
    """T and U are billed up to July 2026, then T is deleted."""
    template = deletable_templates[HostVariant.MULTI_TENANT]
    with (
        copied_database(server, template.name, "former customer") as database,
        pytest.MonkeyPatch.context() as environment,
    ):
        with_bank(environment, folder)
        leaving = Leaving(database, folder / "store")
        with database.connect() as host:
            request = _bill(leaving, host)
        with unproved():
            assert leaving.problems(leaving.answer(leaving.up_to_question())) == []
        yield FormerCustomer(leaving, request)


def _bill(leaving: Leaving, host: psycopg.Connection) -> ApprovalRequest:
    database, store = leaving.database, leaving.store
    customer(
        host,
        "T",
        months=(MAY, JUNE),
        tenant_code=CODE,
        tenant_name=NAME,
        admin_email=f"admin@{DOMAIN}",
        contact_email=f"contact@{DOMAIN}",
        address="東京都港区赤坂1-1-1",
        postal_code="107-0052",
    )
    customer(host, "U", months=(MAY, JUNE, JULY, AUGUST))
    for month in (JULY, AUGUST):
        close_month(host, "T", month, active_users=31)
    billing_profile(
        host,
        "T",
        email=f"keiri@{DOMAIN}",
        further_emails=[f"further@{DOMAIN}"],
        cc_emails=[f"cc@{DOMAIN}"],
    )
    run_billing(database, MAY, store=store)
    at = datetime(2026, 6, 20, 10, tzinfo=JAPAN)
    payment = {
        "paid_on": "2026-06-20",
        "paid_amount": "11000",
        "paid_method": "銀行振込",
        "paid_reference": "F-1",
    }
    operate(database, "record_payment", "T", month=MAY, values=payment, store=store, run_at=at)
    run_billing(database, JUNE, store=store)
    operate(
        database,
        "part_credit",
        "T",
        month=JUNE,
        reason="値引き",
        values={"credit_lines": ["1=1000"]},
        store=store,
    )
    asked = asked_about(database, run_billing(database, JULY, store=store))
    assert asked is not None
    host.execute(
        """UPDATE "MST_Tenant" SET status = 'INACTIVE', contract_end_date = '2026-10-31' WHERE tenant_id = 'T'"""
    )
    return asked.request


@pytest.fixture(scope="module")
def deleted(
    server: Server, deletable_templates: dict[HostVariant, Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FormerCustomer]:
    with former_customer(server, deletable_templates, tmp_path_factory.mktemp("former")) as found:
        yield found
