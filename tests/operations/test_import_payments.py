"""The bank's files become payments: nothing twice, nothing by guessing, and what a person decides."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from include.skillreport.billing import bank_inbox
from include.skillreport.billing.accounting.readiness import Accepted
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.overdue_letters import queue_reminders
from include.skillreport.billing.ledger.transfer_payments import Recorder, automatic_parts, record_automatic
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.batch import NotDueError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from tests.conftest import Database
from tests.worlds import contract_entries as contracts
from tests.worlds import payment_rows
from tests.worlds.accounting_rows import DECEMBER, NOVEMBER, OCTOBER, hand_over
from tests.worlds.approval_rows import asked
from tests.worlds.bank_files import (
    A1,
    B1,
    PAID_ON,
    TODAY,
    confirm,
    know,
    only_transfer,
    open_amounts,
    payments,
    put,
    remark,
    run,
    transfer,
    waiting,
)
from tests.worlds.billing_rows import (
    close_month,
    everything_written,
    host_billing,
    invoices,
    outcomes,
    run_billing,
)
from tests.worlds.contract_entries import decide, enter
from tests.worlds.own_settings import change_billing
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

pytestmark = [
    pytest.mark.usefixtures("billed"),
    pytest.mark.billed("A", "B", "C", payment_source="operations", own_accounts=[OWN_ACCOUNT]),
]


def test_a_transfer_of_a_known_payer_is_a_payment(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))

    result = run(database, store)

    assert result.status == "completed"
    ((tenant_id, number, amount, source, transfer_id),) = payments(host)
    assert (tenant_id, number, amount, source) == ("A", A1, 11_000, "bank")
    assert transfer_id is not None
    assert transfer_id.startswith("T261127-")
    assert open_amounts(host, [A1]) == {A1: 0}
    billing = host_billing(host, invoices(host)[0]["invoice_id"])
    assert (billing["billing_status"], billing["payment_method"]) == ("PAID", "銀行振込")
    assert remark(host, result)["automatic"] == 1
    assert store.names("bank-files/incoming") == []
    (kept,) = store.names("bank-files/imported/2026-12")
    assert kept.endswith("-20261127.txt")


def test_an_entered_code_matches_with_and_without_leading_zeros(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    named = {"payer_name": "カ）アオバ", "reason": "契約書"}
    for tenant_id, code in (("A", "0000123456"), ("B", "123457")):
        entry = enter(database, "add_payer", {**named, "payer_code": code})
        decide(
            database, asked(database, contracts.run(database, "add_payer", tenants=[tenant_id], entry=entry))
        )
    store.write(
        "contracts/incoming/payer.csv", "tenant,payer_name,payer_code\r\nC,カ）アオバ,0000000042\r\n".encode()
    )
    from_file = contracts.run(
        database, "import_file", store=store, imported_kind="payer", imported_file="payer.csv", reason="登録"
    )
    decide(database, asked(database, from_file))
    put(
        store,
        *(transfer(11_000, payer_code=code) for code in ("0000123456", "0000123457", "0000000042")),
    )

    run(database, store)

    assert waiting(host) == {}
    assert [(row[0], row[2]) for row in payments(host)] == [("A", 11_000), ("B", 11_000), ("C", 11_000)]


def test_the_same_file_and_overlapping_files_count_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000), transfer(500, "ｼﾗﾅｲ"))
    run(database, store)
    before = payments(host), waiting(host), everything_written(host)
    put(store, transfer(11_000), transfer(500, "ｼﾗﾅｲ"), name="again.txt")
    put(store, transfer(11_000), transfer(700, "ｼﾗﾅｲ", reference="2"), name="longer.txt")

    result = run(database, store)

    assert payments(host) == before[0]
    assert everything_written(host) == before[2]
    assert len(waiting(host)) == 2
    figures = remark(host, result)
    assert (figures["files"], figures["knownFiles"], figures["newTransfers"]) == (1, 1, 1)
    assert store.names("bank-files/incoming") == []


def test_a_fee_is_booked_with_its_payment(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(10_340))

    run(database, store)

    assert open_amounts(host, [A1]) == {A1: 0}
    assert host.execute("SELECT kind, accrued_on, amount FROM batch.adjustment").fetchall() == [
        ("fee", PAID_ON, Decimal(660))
    ]


def test_a_confirmed_payer_is_remembered_and_can_be_forgotten(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(5_000))
    run(database, store)
    assert list(waiting(host).values()) == ["unknown_payer"]
    assert payments(host) == []

    result = confirm(database, store, f"{only_transfer(host)}={A1}")

    assert result.status == "completed"
    assert [row[:3] for row in payments(host)] == [("A", A1, 5_000)]
    assert outcomes(host, result)["A"]["notes"] == [f"請求書 {A1} は一部入金です。残り 6,000 JPY"]
    put(store, transfer(6_000, "ｶ.ｱｵﾊﾞ"), name="2.txt")
    run(database, store)
    assert open_amounts(host, [A1]) == {A1: 0}

    payer = host.execute("SELECT payer_id, confirmed_by FROM batch.payer").fetchall()
    assert [confirmed_by for _, confirmed_by in payer] == ["keiri"]
    run(database, store, "forget_payers", values={"payers": [str(payer[0][0])]})
    put(store, transfer(6_001), name="3.txt")
    run(database, store)
    assert list(waiting(host).values()) == ["unknown_payer"]


def test_a_hand_over_names_the_transfers_and_files_that_wait(
    database: Database, platform: psycopg.Connection, store: ObjectStore
) -> None:
    hand_over(platform, store, OCTOBER, DECEMBER, "october", accepted=Accepted(failed_tenants=True))
    run_billing(database, NOVEMBER)
    put(store, transfer(500, "ｼﾗﾅｲ"), transfer(700, "ｼﾗﾅｲ", booked_on=date(2026, 12, 1)))
    run(database, store)
    put(store, name="later.csv", content=b"?")
    accepted = Accepted(failed_tenants=True)

    with pytest.raises(BillingError) as refused:
        hand_over(platform, store, NOVEMBER, DECEMBER, "november", accepted=accepted)

    assert (
        "入金になっていない振込が 1 件（500 円）、取り込んでいない銀行のファイルが 1 件（later.csv）"
        in str(refused.value)
    )
    accepted = replace(accepted, waiting_transfers=True)
    hand_over(platform, store, NOVEMBER, DECEMBER, "november", accepted=accepted)
    *_, last = store.read("accounting/2026-11/receivables-2026-11.csv").decode("utf-8-sig").splitlines()
    assert last == "2026-11-30,,確定待ちの振込,JPY,0,0,0,0,0,-500,-500,-500"


def test_a_virtual_account_is_its_tenant_whoever_pays(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    virtual = "0005-900-1-0000001"
    folder = tmp_path / "virtual"
    folder.mkdir()
    change_billing(
        monkeypatch,
        folder,
        payment_source="operations",
        own_accounts=[OWN_ACCOUNT],
        virtual_accounts=[virtual],
    )
    put(store, transfer(4_000, account=virtual), transfer(11_000, f"account:{virtual}"))
    run(database, store)
    assert list(waiting(host).values()) == ["unknown_payer", "unknown_payer"]

    first = min(waiting(host), key=lambda each: amount_of(host, each))
    confirm(database, store, f"{first}={A1}")
    put(store, transfer(7_000, "ﾍﾞﾂﾉﾅﾏｴ", account=virtual, payer_code="0000000099"), name="next.txt")
    run(database, store)

    assert [row[:3] for row in payments(host)] == [("A", A1, 4_000), ("A", A1, 7_000)]
    assert host.execute("SELECT tenant_id, payer_name FROM batch.payer").fetchall() == [("A", virtual)]
    # A name that is written like the account is another payer.
    assert list(waiting(host).values()) == ["unknown_payer"]


def amount_of(host: psycopg.Connection, transfer_id: str) -> Decimal:
    """The yen of a transfer."""
    row = host.execute(
        "SELECT amount FROM batch.bank_transfer WHERE transfer_id = %s", [transfer_id]
    ).fetchone()
    assert row
    return Decimal(row[0])


def test_a_payer_that_paid_only_once_is_not_remembered(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000))
    run(database, store)
    confirm(database, store, f"{only_transfer(host)}={A1}", values={"only_once": True})
    assert host.execute("SELECT count(*) FROM batch.payer").fetchall() == [(0,)]
    assert open_amounts(host, [A1]) == {A1: 0}


def test_one_transfer_may_pay_invoices_of_two_tenants(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(21_500))
    run(database, store)
    result = confirm(database, store, f"{only_transfer(host)}={A1},{B1},手数料")
    assert result.status == "completed"
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000), ("B", B1, 10_500)]
    assert open_amounts(host, [A1, B1]) == {A1: 0, B1: 0}
    # The payer belongs to both now, so the next transfer is for a person.
    put(store, transfer(11_000, reference="2"), name="2.txt")
    run(database, store)
    assert list(waiting(host).values()) == ["several_tenants"]


def test_two_transfers_may_pay_one_invoice(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(6_000), transfer(5_000, reference="2"))
    run(database, store)
    lines = [f"{transfer_id}={A1}" for transfer_id in waiting(host)]
    confirm(database, store, *lines)
    assert open_amounts(host, [A1]) == {A1: 0}
    assert waiting(host) == {}


def test_an_overpayment_is_recorded_and_owed_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(12_000))
    run(database, store)
    result = confirm(database, store, f"{only_transfer(host)}={A1}")
    assert open_amounts(host, [A1]) == {A1: -1_000}
    assert "1,000 JPY の過入金です" in outcomes(host, result)["A"]["notes"][0]


def test_a_payment_by_hand_is_the_same_as_its_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    payment_rows.pay(database)
    put(store, transfer(11_000))
    run(database, store)
    assert list(waiting(host).values()) == ["already_entered"]

    result = run(
        database,
        store,
        "same_payment",
        values={"same_transfers": [only_transfer(host)]},
        triggered_by="keiri",
    )

    assert result.status == "completed"
    ((_, number, amount, source, transfer_id),) = payments(host)
    assert (number, amount, source) == (A1, 11_000, "operation")
    assert transfer_id is not None
    assert waiting(host) == {}
    assert host.execute("SELECT tenant_id FROM batch.payer").fetchall() == [("A",)]


def test_a_cancellation_by_the_bank_takes_payment_and_fee_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(10_340))
    run(database, store)
    put(store, transfer(10_340, is_cancellation=True), name="2.txt")

    result = run(database, store)

    assert remark(host, result)["cancelledByBank"] == 1
    assert payments(host) == []
    assert open_amounts(host, [A1]) == {A1: 11_000}
    assert waiting(host) == {}
    # The next transfer is a new one.
    put(store, transfer(11_000, reference="2", booked_on=date(2026, 12, 1)), name="3.txt")
    run(database, store)
    assert open_amounts(host, [A1]) == {A1: 0}


@pytest.mark.parametrize("is_handed_over", [True, False])
def test_a_fee_is_taken_back_on_the_day_of_its_payment(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    is_handed_over: bool,
) -> None:
    know(host, "A")
    put(store, transfer(10_340))
    run(database, store)
    if is_handed_over:
        run_billing(database, NOVEMBER)
        for month in (OCTOBER, NOVEMBER):
            hand_over(platform, store, month, DECEMBER, f"{month}", accepted=Accepted(failed_tenants=True))
    put(store, transfer(10_340, is_cancellation=True), name="2.txt")

    run(database, store)

    ((reversed_on, booked_on),) = host.execute(
        "SELECT (reversed_at AT TIME ZONE 'Asia/Tokyo')::date, reversal_booked_on FROM batch.payment"
    ).fetchall()
    assert (booked_on is not None) == is_handed_over
    fees = host.execute(
        "SELECT amount, accrued_on, booked_on FROM batch.adjustment ORDER BY entered_at"
    ).fetchall()
    assert fees == [
        (660, PAID_ON, PAID_ON),
        (-660, reversed_on, booked_on) if is_handed_over else (-660, PAID_ON, PAID_ON),
    ]


def test_a_cancellation_without_its_transfer_waits_for_it(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000, is_cancellation=True))
    run(database, store)
    assert list(waiting(host).values()) == ["no_original"]
    put(store, transfer(11_000), name="2.txt")
    run(database, store)
    assert (waiting(host), payments(host)) == ({}, [])


def test_a_reversed_payment_is_never_recorded_by_itself_again(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))
    run(database, store)
    transfer_id = str(payments(host)[0][4])
    payment_rows.operate(
        database, "reverse_payment", values={"paid_reference": transfer_id}, reason="B の入金だった"
    )
    run(database, store)
    assert waiting(host) == {transfer_id: "taken_back"}

    assert confirm(database, store, f"{transfer_id}={B1}").status == "completed"
    assert [row[:2] for row in payments(host)] == [("B", B1)]


def test_a_payment_that_was_reversed_by_mistake_is_confirmed_again(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))
    run(database, store)
    transfer_id = str(payments(host)[0][4])
    payment_rows.operate(database, "reverse_payment", values={"paid_reference": transfer_id}, reason="誤り")
    confirm(database, store, f"{transfer_id}={A1}")
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]


def test_a_credited_invoice_keeps_the_payment_of_its_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))
    run(database, store)
    payment_rows.operate(database, "credit", reason="解約")
    assert open_amounts(host, [A1]) == {A1: -11_000}
    assert run(database, store).status == "completed"
    assert len(payments(host)) == 1


def test_a_confirmation_is_repeated_without_effect(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(11_000))
    run(database, store)
    transfer_id = only_transfer(host)
    confirm(database, store, f"{transfer_id}={A1}")
    with pytest.raises(ParameterError, match="すでに入金になっています"):
        confirm(database, store, f"{transfer_id}={B1}")
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T000000-000000000000=INV-2026-10-001", "振込 'T000000-000000000000' はありません"),
        ("{id}=INV-2026-10-999", "請求書 INV-2026-10-999 は存在しません"),
        ("{id}=INV-2026-10-001,INV-2026-10-002", "請求書 INV-2026-10-002 に届きません"),
        ("{id}=INV-2026-10-001,手数料", "手数料にできるのは 1 円から 880 円"),
        ("{id}", "が読めません"),
        ("{id}=手数料", "が読めません"),
    ],
)
def test_a_confirmation_that_cannot_be_meant_is_refused(
    database: Database, host: psycopg.Connection, store: ObjectStore, line: str, message: str
) -> None:
    put(store, transfer(5_000))
    run(database, store)
    with pytest.raises(ParameterError, match=message):
        confirm(database, store, line.format(id=only_transfer(host)))
    assert payments(host) == []


def test_the_database_itself_refuses_more_than_the_transfer(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))
    run(database, store)
    with pytest.raises(psycopg.errors.CheckViolation, match="ほかの入金に使われた"):
        host.execute(
            """
            INSERT INTO batch.payment (
                payment_id, tenant_id, invoice_id, paid_on, amount, yen, currency, method, reference, source, transfer_id,
                entered_by, execution_id
            )
            SELECT
                'x', tenant_id, invoice_id, paid_on, 1, 1, currency, method, 'x', 'bank', transfer_id, 'x', 'x'
            FROM batch.payment
            """
        )


def test_a_transfer_can_be_set_aside_and_taken_back(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    put(store, transfer(12, "ﾘｿｸ"))
    run(database, store)
    transfer_id = only_transfer(host)
    values = {"transfer_ids": [transfer_id], "reason": "預金利息"}
    assert run(database, store, "set_aside", values=values, triggered_by="keiri").status == "completed"
    assert waiting(host) == {}
    with pytest.raises(ParameterError, match="対象外にされています"):
        confirm(database, store, f"{transfer_id}={A1}")
    assert run(database, store, "set_aside", values=values).status == "completed"
    unknown = run(database, store, "set_aside", values={**values, "transfer_ids": ["T000000-000000000000"]})
    assert unknown.status == "failed"
    assert "にはできません" in str(unknown.error)
    run(database, store, "reopen", values={"transfer_ids": [transfer_id]})
    assert waiting(host) == {transfer_id: "unknown_payer"}


def test_a_bad_file_stays_and_the_others_are_imported(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000), name="good.txt")
    put(store, transfer(700, account="0009-001-1-7654321"), name="foreign.txt")
    put(store, name="cut.txt", content=zengin_file([transfer(900)])[:-202])
    header = (
        "金融機関コード,支店コード,科目,口座番号,取引日,入払区分,取引区分,取引金額,振込依頼人番号,振込依頼人名,"
        "摘要,EDI情報,仕向金融機関名,仕向支店名"
    )
    content = f"{header}\n0005,123,1,1234567,081127,1,14,500,,ｶ)ｱｵﾊﾞ,,,,\n".encode()
    put(store, name="none.csv", content=content)
    put(store, name="some.csv", content=content + content.splitlines()[1].replace(b",14,500", b",11,700"))

    result = run(database, store)

    assert result.status == "partial"
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]
    assert store.names("bank-files/incoming") == ["cut.txt", "foreign.txt", "none.csv"]
    found = remark(host, result)
    assert "0009-001-1-7654321" in found["problem"]
    assert "cut.txt" in found["problem"]
    assert "none.csv" in found["problem"]
    assert found["leftOut"] == ["some.csv: 取引区分「14」: 1 件 500 円"]
    assert list(waiting(host).values()) == ["nothing_open"]
    # Reported in each run, until somebody acts.
    assert run(database, store).status == "partial"


def test_an_uploaded_file_is_read_at_once(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    name = bank_inbox.uploaded_name("振込.txt", "0a1b2c3d4e")
    for each in (name, "growing.txt"):
        store.write(f"bank-files/incoming/{each}", zengin_file([transfer(11_000)]))

    result = run(database, store, values={"uploaded": [name, "gone.txt"]})

    assert result.status == "completed"
    assert [row[:3] for row in payments(host)] == [("A", A1, 11_000)]
    assert store.names("bank-files/incoming") == ["growing.txt"]
    assert remark(host, result)["stillGrowing"] == 1


def test_a_dry_run_changes_nothing(database: Database, host: psycopg.Connection, store: ObjectStore) -> None:
    know(host, "A")
    put(store, transfer(11_000), transfer(500, "ｼﾗﾅｲ"))

    result = run(database, store, dry_run=True)

    figures = remark(host, result)
    assert (figures["newTransfers"], figures["automatic"], figures["toConfirm"]) == (2, 1, 1)
    assert (payments(host), waiting(host)) == ([], {})
    assert store.names("bank-files/incoming") == ["20261127.txt"]


def test_nothing_is_imported_unless_payments_are_recorded_here(
    database: Database, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "host"
    folder.mkdir()
    change_billing(monkeypatch, folder, payment_source="host", own_accounts=[OWN_ACCOUNT])
    put(store, transfer(11_000))
    with pytest.raises(NotDueError, match="payment_source"):
        run(database, store, ticked_at=datetime(2026, 12, 10, 8, 30, tzinfo=JAPAN))
    with pytest.raises(SettingsError, match="payment_source") as refused:
        run(database, store, triggered_by="keiri")
    assert "値を直して" not in kind_of(IMPORT_PAYMENTS, refused.value).remedy()
    assert store.names("bank-files/incoming") == ["20261127.txt"]


def test_an_invoice_that_changed_since_the_matching_is_matched_again(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    know(host, "A")
    put(store, transfer(11_000))
    run(database, store)
    transfer_id = str(payments(host)[0][4])
    # As if somebody had recorded a payment by hand between the matching and the record.
    host.execute(
        """
        INSERT INTO batch.transfer_choice (
            transfer_id, choice, part, tenant_id, number, paid_on, amount, fee, is_automatic
        )
        VALUES (%s, 1, 1, 'A', %s, %s, 11000, 0, true)
        """,
        [transfer_id, A1, PAID_ON],
    )
    terms = Billing().terms
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A"]):
        remarks = record_automatic(
            connection, automatic_parts(connection), Recorder(terms, TODAY, "keiri", "another run")
        )
    assert "照合し直します" in remarks["A"][0]
    assert len(payments(host)) == 1
    assert host.execute("SELECT count(*) FROM batch.transfer_choice").fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("amounts", "payer", "held"),
    [
        ([11_000], "", ["A", "B", "C"]),
        ([10_340], "", ["A", "B", "C"]),
        ([5_500, 5_500], "", ["A", "B", "C"]),
        ([10_119], "", []),
        ([4_000], "", []),
        ([4_000], "B", ["B"]),
        ([11_500], "B", ["B"]),
    ],
    ids=["amount", "fee", "two parts", "no fee", "part", "known payer", "too much of a known payer"],
)
def test_a_reminder_waits_for_a_transfer_that_may_have_paid_the_invoice(
    database: Database,
    host: psycopg.Connection,
    store: ObjectStore,
    amounts: list[int],
    payer: str,
    held: list[str],
) -> None:
    if payer:
        know(host, payer)
    put(store, *(transfer(amount, reference=str(place)) for place, amount in enumerate(amounts)))
    # Thursday 3 December.
    run(database, store, on=date(2026, 12, 3))

    assert held_reminders(database, date(2026, 12, 8)) == held
    assert held_reminders(database, date(2026, 12, 9)) == []


def test_a_transfer_for_two_invoices_and_one_before_the_issue(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    close_month(host, "A", NOVEMBER)
    run_billing(database, NOVEMBER)
    put(
        store,
        transfer(21_340, booked_on=date(2026, 12, 2)),
        transfer(11_000, "ﾌﾙｲ", booked_on=date(2026, 10, 30)),
    )
    run(database, store, on=date(2026, 12, 3))

    assert held_reminders(database, date(2026, 12, 7)) == ["A"]


def held_reminders(database: Database, today: date) -> list[str]:
    """The tenants whose reminder waits. Nothing is queued."""
    with database.connect("batch_tenant") as connection, tenant_transaction(connection, ["A", "B", "C"]):
        reminders = queue_reminders(connection, Billing().terms, today, "reminding run")
        connection.execute("DELETE FROM batch.overdue_reminder")
    return [each.tenant_id for each in reminders if "の入金かもしれません" in str(each.problem)]
