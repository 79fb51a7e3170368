"""After a deletion the accountant still works on the tenant's documents: payments, credit notes, files, and no letters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.operations.approve_invoices import create_batch as approval
from local_stack.batch_runs import LOCAL
from local_stack.stand_ins import StandIns
from tests.worlds import bank_files, host_rows
from tests.worlds.accounting_rows import NAMES, rows
from tests.worlds.approval_rows import answer
from tests.worlds.billing_rows import (
    files,
    invoice,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.former_customer import (
    AUGUST,
    CODE,
    CREDIT_NOTE,
    DOMAIN,
    JULY,
    JUNE,
    MAY,
    NAME,
    OPEN,
    PAID,
    REST,
    FormerCustomer,
    deleted,
    with_bank,
)
from tests.worlds.leaving_tenants import Leaving
from tests.worlds.outbox_rows import run_notifications
from tests.worlds.shared_database import TABLES

__all__ = ["deleted"]

DUE = date(2026, 7, 31)
PAYMENT = {
    "paid_on": "2026-12-09",
    "paid_amount": str(REST),
    "paid_method": "現金",
    "paid_reference": "G-1",
}
DECEMBER = datetime(2026, 12, 10, 10, tzinfo=JAPAN)


@pytest.fixture
def left(
    deleted: FormerCustomer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Leaving]:
    """A copy of the database and of the store."""
    with_bank(monkeypatch, tmp_path)
    with deleted.leaving.copied(tmp_path / "store", request.node.name) as copy:
        yield copy


@pytest.fixture
def host(left: Leaving) -> Iterator[psycopg.Connection]:
    with left.database.connect() as connection:
        yield connection


def done(left: Leaving, operation: str, *codes: str, month: date = JUNE, **options: Any) -> None:
    """An operation on 10 December that succeeds."""
    given: dict[str, Any] = {"run_at": DECEMBER, "store": left.store, **options}
    result = operate(left.database, operation, *codes, month=month, **given)
    with left.database.connect() as host:
        run = host.execute(
            "SELECT status, error_message FROM batch.execution_log WHERE execution_id = %s",
            [result.execution_id],
        ).fetchone()
    assert run == ("completed", None), result.sentence()


def pay(left: Leaving, tenant: str) -> None:
    done(left, "record_payment", tenant, values=PAYMENT)


@pytest.mark.slow("deletes a tenant with its backups")
def test_no_table_and_no_file_holds_an_address_of_the_customer(
    left: Leaving, host: psycopg.Connection
) -> None:
    holding = [
        f"{schema}.{table}"
        for schema, table in host.execute(TABLES).fetchall()
        if host.execute(
            sql.SQL("SELECT FROM {} AS held WHERE position(%s IN held::text) > 0 LIMIT 1").format(
                sql.Identifier(schema, table)
            ),
            [f"@{DOMAIN}"],
        ).fetchall()
    ]
    assert holding == []
    written = files(left.store)
    assert any(name.endswith(".json") for name in written)
    assert [name for name, content in written.items() if f"@{DOMAIN}".encode() in content] == []


def test_a_transfer_pays_the_open_invoice(left: Leaving, host: psycopg.Connection) -> None:
    bank_files.put(left.store, bank_files.transfer(REST, "ｶ)ｱｸﾒｼﾖｳｶｲ"))
    assert bank_files.run(left.database, left.store).status == "completed"
    (line,) = bank_files.waiting(host)
    assert bank_files.confirm(left.database, left.store, f"{line}={OPEN}").status == "completed"
    assert bank_files.open_amounts(host, [OPEN]) == {OPEN: 0}
    # Its next transfer finds the payer's invoices, of which none is open.
    bank_files.put(left.store, bank_files.transfer(REST, "ｶ)ｱｸﾒｼﾖｳｶｲ", reference="2"), name="next.txt")
    assert bank_files.run(left.database, left.store).status == "completed"


@pytest.mark.parametrize("tenant", [CODE, "T"])
def test_a_payment_is_entered_by_former_code_or_id(
    left: Leaving, host: psycopg.Connection, tenant: str
) -> None:
    pay(left, tenant)
    assert bank_files.open_amounts(host, [OPEN]) == {OPEN: 0}
    assert host.execute(
        """
        SELECT DISTINCT billing_status FROM "HIS_TenantBilling" AS billing
        INNER JOIN batch.invoice ON billing.id = invoice_id AND kind = 'invoice' AND status <> 'draft' AND invoice.tenant_id = 'T'
        """
    ).fetchall() == [("PAID",)]


def test_a_code_that_another_tenant_has_now_means_the_other(left: Leaving, host: psycopg.Connection) -> None:
    host_rows.tenant(host, "new", tenant_code=CODE)
    result = operate(left.database, "record_payment", CODE, month=JUNE, values=PAYMENT, run_at=DECEMBER)
    assert reasons(result) == {CODE: "2026-06 の有効な請求書がありません。"}
    pay(left, "T")


def test_the_certificate_gets_its_supplement_by_the_former_code(left: Leaving) -> None:
    result = left.stage("supplement", CODE)
    assert result.status == "completed", left.problems(result)


def test_no_letter_goes_to_a_deleted_tenant(
    left: Leaving, host: psycopg.Connection, services: StandIns
) -> None:
    notes = []
    for days in (7, 21):
        result = run_notifications(left.database, services, on=DUE + timedelta(days=days), store=left.store)
        assert result.status == "completed"
        notes += outcomes(host, result).get("T", {}).get("notes", [])
    assert {each.destination for each in services.messages} == {"keiri@customer.example"}
    assert not [each for each in services.messages if DOMAIN in f"{each.headers} {each.text}"]
    # The accountant is told instead.
    assert f"請求書 {OPEN} の督促を送れません。請求先のメールアドレスがない" in "".join(notes)
    done(left, "credit", "T", reason="貸倒れ")
    run_notifications(left.database, services, on=DUE + timedelta(days=22), store=left.store)
    assert host.execute("SELECT FROM batch.outbox WHERE tenant_id = 'T'").rowcount == 0
    assert host.execute("SELECT FROM \"HIS_NotificationLog\" WHERE tenant_id = 'T'").rowcount == 0


def test_nothing_is_priced_for_a_deleted_tenant(
    left: Leaving, host: psycopg.Connection, deleted: FormerCustomer
) -> None:
    held = invoice(host, "T", JULY)
    billed = run_billing(left.database, AUGUST, store=left.store)
    assert billed.status == "completed", billed.sentence()
    assert [row["tenant_id"] for row in invoices(host, month=AUGUST)] == ["U"]
    answered = answer(left.database, deleted.request, APPROVE_INVOICES, approval(LOCAL), at=DECEMBER)
    (problem,) = reasons(answered).values()
    assert problem.startswith("承認できません: ")
    assert run_billing(left.database, JULY, store=left.store).status == "completed"
    for operation in ("reissue", "bill_again", "explain"):
        with pytest.raises(ParameterError, match=rf"稼働中でないテナントは処理できません: {CODE}（DELETED）"):
            operate(left.database, operation, CODE, month=JUNE, reason="誤り")
    assert invoice(host, "T", JULY) == held
    done(left, "void", CODE, month=JULY, reason="退会のため")
    assert invoice(host, "T", JULY)["status"] == "void"


def test_the_accountants_files_still_name_the_former_customer(left: Leaving) -> None:
    before = {
        (month, name): rows(left.store, month, name) for month in ("2026-05", "2026-06") for name in NAMES
    }
    for month in (MAY, JUNE):
        done(left, "hand_over", codes=[], values={"accounting_month": month.isoformat()})
    for (of_month, name), earlier in before.items():
        assert rows(left.store, of_month, name, is_final=True) == earlier
    assert {
        row["請求書番号"]: (row["テナントコード"], row["請求先"])
        for row in before["2026-05", "accounting"] + before["2026-06", "accounting"]
        if row["請求書番号"] in (PAID, OPEN)
    } == {PAID: (CODE, NAME), OPEN: (CODE, NAME)}
    pay(left, "T")
    (cash,) = [row for row in rows(left.store, "2026-12") if row["種別"] == "入金"]
    assert (cash["元請求書番号"], cash["テナントコード"], cash["請求先"]) == (OPEN, CODE, NAME)
    (credit,) = [row for row in rows(left.store, "2026-07") if row["請求書番号"] == CREDIT_NOTE]
    assert (credit["テナントコード"], credit["請求先"]) == (CODE, NAME)
