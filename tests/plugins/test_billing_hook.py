"""The hook that other teams' DAGs bill with: Airflow's connections, one tenant per transaction, and the methods of ``Billing``."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from skill_batch.hooks.billing import BillingHook
from skill_batch.installation import AirflowInstallation
from skill_batch.object_storage import object_store
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.documents.invoice import Invoice
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.settlement import Instructions, Settlement
from include.skillreport.core.execution.sharding import Tenant
from include.skillreport.core.settings import SETTINGS_VARIABLE
from tests.conftest import Database
from tests.worlds.billing_rows import (
    FIRST_OF_NOVEMBER,
    MONTH,
    customer,
    everything_written,
    invoice,
    invoices,
)
from tests.worlds.shared_database import host_database

__all__ = ["host_database"]

SEPTEMBER = date(2026, 9, 1)
INSTRUCTIONS = Instructions(FIRST_OF_NOVEMBER, "the billing DAG")


@pytest.fixture
def hook(shared_database: Database, monkeypatch: pytest.MonkeyPatch) -> BillingHook:
    """With both Airflow connections pointing at the database."""
    for role in ("batch_tenant", "batch_platform"):
        monkeypatch.setenv(f"AIRFLOW_CONN_SKILL_{role.upper()}_DB", shared_database.airflow_connection(role))
    return BillingHook()


def finalize(hook: BillingHook, tenant_id: str = "A", instructions: Instructions = INSTRUCTIONS) -> str:
    """Finalise the tenant's month; returns the number."""
    with hook.transaction(tenant_id) as connection:
        (settled,) = hook.settle(connection, MONTH, instructions)
    assert settled.settlement is Settlement.FINALIZED
    assert settled.number is not None
    return settled.number


# Connections and tenants -------------------------------------------------------------------------------------------------


def test_a_connection_that_works_is_said_to_work(hook: BillingHook) -> None:
    assert hook.test_connection() == (True, "接続できました")
    with hook.get_conn() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("batch_tenant",)


def test_a_connection_that_is_missing_is_named(hook: BillingHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB")

    works, message = hook.test_connection()

    assert not works
    assert message.startswith("Airflow の接続 'skill_batch_platform_db' が定義されていません")


def test_tenants_of_a_month_are_in_use_or_owe_it(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", tenant_code="CODE-A", tenant_name="青葉商事")
    customer(host, "B", months=(), status="EXPIRED", contract_end_date=datetime(2026, 10, 9))
    customer(host, "C", months=(), status="EXPIRED", contract_end_date=datetime(2026, 9, 9))
    customer(host, "D", months=(), status="TRIAL")
    customer(host, "E", months=(), status="SUSPENDED")

    assert hook.billable_tenants(date(2026, 10, 17)) == [
        Tenant("A", "CODE-A", "青葉商事"),
        Tenant("B", "B", "B"),
        Tenant("D", "D", "D"),
    ]
    assert [tenant.id for tenant in hook.billable_tenants(SEPTEMBER)] == ["A", "B", "C", "D"]


def test_a_tenant_is_found_by_code_then_id_in_any_status(hook: BillingHook, host: psycopg.Connection) -> None:
    customer(host, "A", tenant_code="B")
    customer(host, "B", tenant_code="HD001", status="deleted")

    assert hook.tenant_id_of("B") == "A"
    assert hook.tenant_id_of("HD001") == "B"
    assert hook.tenant_id_of("A") == "A"
    with pytest.raises(BillingError, match="テナント 'nobody' は存在しません"):
        hook.tenant_id_of("nobody")


def test_only_a_tenant_that_exists_or_has_invoices_has_a_transaction(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")
    number = finalize(hook)
    host.execute("""DELETE FROM "MST_Tenant" """)

    with hook.transaction("A") as connection:
        assert hook.invoice(connection, number).tenant_id == "A"
    with pytest.raises(BillingError, match="テナント 'nobody' は存在しません"), hook.transaction("nobody"):
        pass


def test_a_transaction_has_one_tenants_invoices_and_rolls_back_on_errors(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    theirs = finalize(hook, "B")
    rows = everything_written(host)

    def act() -> None:
        with hook.transaction("A") as mine:
            (settled,) = hook.settle(mine, MONTH, INSTRUCTIONS)
            assert (settled.tenant_id, settled.settlement) == ("A", Settlement.FINALIZED)
            hook.document(mine, theirs)

    with pytest.raises(BillingError, match=f"請求書 {theirs} は存在しません"):
        act()
    assert everything_written(host) == rows


# Billing -----------------------------------------------------------------------------------------------------------------


def test_the_batches_bill_with_the_hook(hook: BillingHook) -> None:
    assert isinstance(AirflowInstallation().billing(), BillingHook)
    assert hook.terms is hook.terms


def test_a_price_needs_no_instructions_and_writes_nothing(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    customer(host, "A")

    with hook.transaction("A") as connection:
        (priced,) = hook.price(connection, date(2026, 10, 17))

    assert (priced.settlement, priced.total, priced.currency) == (Settlement.PRICED, Decimal(11_000), "JPY")
    assert not any(everything_written(host).values())


def test_an_invoice_is_credited_in_part_voided_and_issued_again(
    hook: BillingHook, host: psycopg.Connection
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    number = finalize(hook)
    other = finalize(hook, "B")

    with hook.transaction("A") as connection:
        hook.void(connection, hook.invoice(connection, number), "宛先の誤り", actor="経理部 佐藤")
    with hook.transaction("B") as connection:
        note = hook.credit(
            connection,
            hook.invoice(connection, other),
            "障害",
            issued_on=FIRST_OF_NOVEMBER,
            actor="経理部 佐藤",
            parts=[CreditedPart(1, amount=Decimal(1000))],
        )
        credited = hook.invoice(connection, other)

    opened = replace(INSTRUCTIONS, bills_again=True, reason="宛先を直した")
    assert finalize(hook, instructions=opened) == "INV-2026-10-003"
    voided, again = invoices(host, "A")
    assert (voided["status"], voided["void_reason"], voided["voided_by"]) == (
        "void",
        "宛先の誤り",
        "経理部 佐藤",
    )
    assert (again["status"], again["execution_id"]) == ("finalized", "the billing DAG")
    assert (note.number, note.total) == ("CRN-2026-10-001", Decimal(-1100))
    assert (credited.state.credited, credited.state.credited_total) == (False, Decimal(1100))


def test_with_a_sample_nothing_is_finalised_and_nothing_finalised_is_touched(
    hook: BillingHook, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer(host, "A")
    number = finalize(hook)
    issued = invoice(host, "A")
    customer(host, "B")
    monkeypatch.delenv(SETTINGS_VARIABLE)
    hook = BillingHook()  # a hook reads the terms once

    with hook.transaction("B") as connection:
        (settled,) = hook.settle(connection, MONTH, INSTRUCTIONS)
    with pytest.raises(BillingError, match="見本"), hook.transaction("A") as connection:
        hook.void(connection, hook.invoice(connection, number), "訂正", actor="somebody")

    assert (settled.settlement, settled.number) == (Settlement.SAMPLE, None)
    assert (invoice(host, "B")["status"], invoice(host, "A")) == ("draft", issued)


def test_a_document_has_the_bytes_that_are_in_the_object_store(
    hook: BillingHook, host: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_SKILL_BATCH_STORAGE_URL", f" file://{tmp_path}/storage ")
    customer(host, "A")
    number = finalize(hook)
    with hook.get_conn() as connection:
        hook.write_documents(connection, "A", MONTH, object_store())

    with hook.transaction("A") as connection:
        documents = {name: hook.document(connection, number, name) for name in ("pdf", "json")}
        assert documents["pdf"] == hook.document(connection, number)
        assert Invoice.model_validate_json(documents["json"]) == hook.invoice(connection, number).invoice
        with pytest.raises(BillingError, match="形式 'docx' はありません。pdf、json のどれかです"):
            hook.document(connection, number, "docx")
    folder = tmp_path / "storage/invoices/2026-10"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{number}.{name}": content for name, content in documents.items()
    }
