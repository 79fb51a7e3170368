"""A hand-over, and documents that are finalised or voided at the same time."""

from __future__ import annotations

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.accounting.list_changes import DocumentChange
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.correction import void_invoices
from include.skillreport.billing.ledger.settlement import Instructions, settle_tenants
from include.skillreport.billing.ledger.stored_invoice import find_invoice
from include.skillreport.billing.service import Billing
from include.skillreport.billing.terms import load_terms
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database, wait_for_blocked_statement
from tests.waiting import in_a_thread
from tests.worlds import billing_rows
from tests.worlds.accounting_rows import (
    NOVEMBER,
    OCTOBER,
    hand_over,
    listed,
)
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    customer,
    invoice,
    invoices,
    run_billing,
)


def test_a_hand_over_waits_for_a_document_that_is_being_finalized(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
) -> None:
    run_billing(database)
    customer(host, "A")
    with tenant_transaction(connection, ["A"]):
        Billing().settle(connection, OCTOBER, Instructions(FIRST_OF_NOVEMBER, "somebody"))
        thread, failed = in_a_thread(lambda: hand_over(platform, store))
        wait_for_blocked_statement(database)
    thread.join()

    assert failed == []
    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "確定", "11000")]


def test_a_hand_over_waits_for_a_void_and_counts_it(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
) -> None:
    customer(host, "A")
    run_billing(database, store=store)
    with tenant_transaction(connection, ["A"]):
        stored = find_invoice(connection, "INV-2026-10-001")
        Billing().void(connection, stored, "宛先の誤り", actor="somebody")
        thread, failed = in_a_thread(lambda: hand_over(platform, store))
        wait_for_blocked_statement(database)
    thread.join()

    assert failed == []
    assert listed(store, "2026-10", is_final=True) == [("INV-2026-10-001", "請求", "取消", "0")]
    reversals = host.execute("SELECT FROM batch.accounting_entry WHERE booking = 'reversal'")
    assert reversals.fetchall() == []
    changes = host.execute("SELECT changes FROM batch.accounting_month").fetchall()
    assert changes == [([DocumentChange("INV-2026-10-001", "請求", "11,000 JPY", "0 JPY").as_json()],)]


def test_documents_that_wait_for_a_hand_over_are_booked_after_it(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection
) -> None:
    """The lock of the trigger decides, whoever finalises or voids."""
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    run_billing(database, codes=["B"])

    def settle() -> None:
        with database.connect("batch_tenant") as own, tenant_transaction(own, ["A"]):
            settle_tenants(
                own, billing_rows.OCTOBER, load_terms(), Instructions(FIRST_OF_NOVEMBER, "somebody")
            )

    def void() -> None:
        with database.connect("batch_tenant") as own, tenant_transaction(own, ["B"]):
            stored = find_invoice(own, "INV-2026-10-001")
            void_invoices(own, [stored.invoice_id], "宛先の誤り", "somebody")

    with platform.transaction():
        # As a hand-over does.
        platform.execute("SELECT pg_advisory_xact_lock(180201, 0)")
        billing_rows.insert(
            platform,
            "accounting_month",
            month=OCTOBER,
            handed_over_by="test",
            execution_id="test",
            files=Jsonb([]),
        )
        threads = [in_a_thread(settle), in_a_thread(void)]
        wait_for_blocked_statement(database, 2)
    for thread, _ in threads:
        thread.join()

    assert [failed for _, failed in threads] == [[], []]
    assert (invoice(host, "A")["issued_on"], invoice(host, "A")["booked_on"]) == (NOVEMBER, NOVEMBER)
    assert [row["status"] for row in invoices(host, "B")] == ["void"]
    bookings = host.execute(
        "SELECT booking, booked_on >= '2026-11-01' FROM batch.accounting_entry ORDER BY 1, 2"
    )
    assert bookings.fetchall() == [("document", False), ("document", True), ("reversal", True)]


def test_a_hand_over_between_two_voids_causes_no_deadlock(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    run_billing(database)

    def void(own: psycopg.Connection, tenant_id: str) -> None:
        number = invoice(host, tenant_id)["number"]
        Billing().void(own, find_invoice(own, number), "宛先の誤り", actor="somebody")

    def void_b() -> None:
        with database.connect("batch_tenant") as own, tenant_transaction(own, ["B"]):
            void(own, "B")

    with tenant_transaction(connection, ["A", "B"]):
        void(connection, "A")
        handing, failed = in_a_thread(lambda: hand_over(platform, store))
        wait_for_blocked_statement(database)
        voiding, refused = in_a_thread(void_b)
        wait_for_blocked_statement(database, 2)
        # The other void has not locked its invoice, because it waits behind the hand-over.
        void(connection, "B")
    handing.join()
    voiding.join()

    assert failed == []
    assert [type(error) for error in refused] == [BillingError]
    assert {row[3] for row in listed(store, "2026-10", is_final=True)} == {"0"}
