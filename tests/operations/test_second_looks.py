"""What one mistyped figure or one person cannot change alone: rates, texts that lead payments elsewhere, taxes and large discounts."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.billing.payment_words import names_payment
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.approval_rows import asked
from tests.worlds.billing_rows import (
    close_month,
    customer,
    invoice,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)
from tests.worlds.contract_entries import changes, decide, run, set_discount, set_profile
from tests.worlds.own_settings import change_billing

NOVEMBER = date(2026, 11, 1)
RATES = "currency,rate_date,yen_per_unit"
ATTACK = "お振込先が変わりました：ニセ銀行 普通 1234567"


@pytest.fixture
def tenants(host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)


def set_rate(database: Database, yen: str, day: str = "2026-10-31", **options: Any) -> Any:
    return run(database, "set_rate", currency="USD", rate_date=day, yen_per_unit=yen, reason="TTM", **options)


def rates(host: psycopg.Connection) -> list[str]:
    rows = host.execute("SELECT rate_date, yen_per_unit FROM batch.exchange_rate ORDER BY rate_date")
    return [f"{day:%m-%d} {yen.normalize():f}" for day, yen in rows]


def waiting(host: psycopg.Connection) -> list[str]:
    return [kind for _, kind, status, _, _ in changes(host) if status == "waiting"]


def test_an_odd_rate_waits_and_holds_the_tenants_of_its_currency_only(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    customer(host, "B", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 30), "151")
    result = set_rate(database, "15123.5")
    assert (rates(host), waiting(host)) == (["10-30 151"], ["exchange_rate"])

    billed = run_billing(database)

    assert reasons(billed) == {
        "B": "USD の 2026-10-31 の円換算レートが、ほかの人の承認を待っています。"
        "ボードの「契約の変更」で確かめ、承認するか取り下げてから、この DAG を同じ業務日で実行してください。"
    }
    assert states(host, "A") == [("finalized", "INV-2026-10-001")]

    decide(database, asked(database, result))
    assert rates(host) == ["10-30 151", "10-31 15123.5"]
    run_billing(database, codes=["B"])
    assert invoice(host, "B")["number"] == "INV-2026-10-002"


def test_a_first_rate_waits_and_one_within_the_tolerance_does_not(
    database: Database, host: psycopg.Connection
) -> None:
    decide(database, asked(database, set_rate(database, "150", "2026-10-29")))

    set_rate(database, "180", "2026-10-30")
    set_rate(database, "119.9", "2026-10-31")

    assert (rates(host), waiting(host)) == (["10-29 150", "10-30 180"], ["exchange_rate"])


def test_only_the_odd_rates_of_a_file_wait(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    billing_rows.exchange_rate(host, date(2026, 10, 1), "150")
    lines = ["USD,2026-10-31,151.5", "USD,2026-10-30,15100", "USD,2026-10-29,151"]
    store.write("contracts/incoming/rates.csv", "\n".join([RATES, *lines, ""]).encode())

    result = run(
        database,
        "import_file",
        store=store,
        imported_kind="exchange_rate",
        imported_file="rates.csv",
        reason="月次",
    )

    assert rates(host) == ["10-01 150", "10-29 151", "10-31 151.5"]
    assert waiting(host) == ["import"]
    decide(database, asked(database, result))
    assert rates(host) == ["10-01 150", "10-29 151", "10-30 15100", "10-31 151.5"]


def test_a_replaced_rate_names_the_final_invoices_that_have_the_former_one(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", "STANDARD", currency_code="USD")
    customer(host, "B")
    for day in (30, 31):
        billing_rows.exchange_rate(host, date(2026, 10, day), "151")
    run_billing(database)
    final = invoice(host, "A")

    result = set_rate(database, "152")

    (details,) = host.execute(
        "SELECT details -> 'invoicesWithFormerRate' FROM batch.run_remark WHERE execution_id = %s",
        [result.execution_id],
    ).fetchone() or (None,)
    assert details == [f"{final['number']}: +{round(final['total'])} 円"]


def test_a_replaced_rate_that_waited_is_applied(database: Database, host: psycopg.Connection) -> None:
    billing_rows.exchange_rate(host, date(2026, 10, 30), "150")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151")

    decide(database, asked(database, set_rate(database, "100")))

    assert rates(host) == ["10-30 150", "10-31 100"]


def test_a_month_with_quite_another_rate_is_held(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 31), "151")
    run_billing(database)
    close_month(host, "A", NOVEMBER)
    billing_rows.exchange_rate(host, date(2026, 11, 30), "15100")

    result = run_billing(database, NOVEMBER)

    assert "（1 USD は前月 151 円、今月 15100 円）" in reasons(result)["A"]
    assert invoice(host, "A", NOVEMBER)["status"] == "draft"


@pytest.mark.parametrize(
    "text",
    [
        ATTACK,
        "お振り込みは下記へ",
        "口座変更",
        "ｷﾞﾝｺｳ 銀 行",
        "支 店",
        "ＩＢＡＮ DE00",
        "http://x.example",
        "お振\u2060込先",
        "口\ufe00座",
        "nise-bank.example.com/pay",
        "フリコミ先",
        "おふりこみ",
        "ＷＷＷ．x.example",
        "pay＠x.example",
        "１２３ ４５６７",
    ],
)
def test_words_of_payment_are_found_in_any_width_and_with_blanks(text: str) -> None:
    assert names_payment(text)


@pytest.mark.parametrize(
    "text", ["初期設定の作業費", "2026 年 10 月分", "障害のため 12:30", "100-0001 東京都"]
)
def test_usual_texts_have_no_words_of_payment(text: str) -> None:
    assert not names_payment(text)


LINE = {"line_date": "2026-10-15", "line_text": "作業費", "line_price": "1", "line_unit": "式"}


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("values", "waits"),
    [({}, False), ({"line_text": ATTACK}, True), ({"line_unit": "口座"}, True)],
)
def test_a_line_with_words_of_payment_waits(
    database: Database, host: psycopg.Connection, values: dict[str, str], waits: bool
) -> None:
    operate(database, "extra_line", values=LINE | values, triggered_by="佐藤")

    assert host.execute("SELECT waits FROM batch.extra_charge").fetchall() == [(waits,)]


@pytest.mark.usefixtures("tenants")
def test_every_text_waits_if_the_setting_says_so(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, text_approval="all")

    operate(database, "extra_line", values=LINE, triggered_by="佐藤")
    set_discount(database)

    assert host.execute("SELECT waits FROM batch.extra_charge").fetchall() == [(True,)]
    assert waiting(host) == ["discount"]


@pytest.mark.usefixtures("tenants")
def test_the_reason_of_a_credit_waits_and_a_voids_is_refused(
    database: Database, host: psycopg.Connection
) -> None:
    run_billing(database)

    refused = operate(database, "void", "A", reason=ATTACK)
    operate(database, "part_credit", "B", reason=ATTACK, values={"credit_lines": ["1=1"]})

    assert "口座、銀行、振込" in reasons(refused)["A"]
    assert states(host, "A") == [("finalized", "INV-2026-10-001")]
    assert ("draft", None) in states(host, "B")


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("values", "waits"),
    [
        ({"value": "29.9"}, False),
        ({"value": "30"}, True),
        ({"value": "100"}, True),
        ({"discount_name": ATTACK}, True),
    ],
)
def test_a_large_discount_and_its_name_need_a_second_person(
    database: Database, host: psycopg.Connection, values: dict[str, str], waits: bool
) -> None:
    set_discount(database, **values)

    assert bool(waiting(host)) is waits


@pytest.mark.usefixtures("tenants")
def test_a_large_discount_may_end_earlier_but_not_later(database: Database, host: psycopg.Connection) -> None:
    decide(database, asked(database, set_discount(database, value="50", valid_to="2027-03-31")))

    set_discount(database, value="50", valid_to="2027-02-28")
    assert waiting(host) == []
    set_discount(database, value="50", valid_to="2027-12-31")
    assert waiting(host) == ["discount"]


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("number", "waits"),
    [("第 2026-10 号（契約書）", False), ("4500012345", False), ("振込先 1234567", True)],
)
def test_an_order_number_is_a_code_and_no_message(
    database: Database, host: psycopg.Connection, number: str, waits: bool
) -> None:
    values: dict[str, Any] = {"order_number": number, "valid_from": "2026-10-01", "reason": "契約書"}
    run(database, "set_order_number", tenants=["A"], **values)

    assert bool(waiting(host)) is waits


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("number", ["x" * 61, "PO：1、2", "PO!"])
def test_an_order_number_of_a_sentence_is_refused(database: Database, number: str) -> None:
    with pytest.raises(ParameterError, match="注文番号"):
        run(
            database,
            "set_order_number",
            tenants=["A"],
            order_number=number,
            valid_from="2026-10-01",
            reason="x",
        )


@pytest.mark.usefixtures("tenants")
def test_another_tax_category_needs_a_second_person(database: Database, host: psycopg.Connection) -> None:
    set_profile(database, tax_category="export")

    assert waiting(host) == ["profile"]


@pytest.mark.usefixtures("tenants")
def test_an_unknown_currency_is_refused_and_another_one_needs_a_tick(
    database: Database, host: psycopg.Connection
) -> None:
    values: dict[str, Any] = {"amount": "50000", "valid_from": "2026-10-01", "reason": "契約書"}
    with pytest.raises(ParameterError, match="通貨ではありません"):
        run(database, "set_commitment", tenants=["A"], currency="UDS", **values)
    with pytest.raises(Exception, match="テナントの通貨 JPY と違います"):
        run(database, "set_commitment", tenants=["A"], currency="USD", **values)
    assert changes(host) == []

    run(database, "set_commitment", tenants=["A"], currency="USD", is_checked=True, **values)

    assert host.execute("SELECT currency FROM batch.commitment").fetchall() == [("USD",)]


@pytest.mark.usefixtures("tenants")
def test_a_first_day_more_than_a_year_ahead_needs_a_tick(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    with pytest.raises(ParameterError, match="1 年より先"):
        set_discount(database, valid_from="2072-10-01")
    header = "tenant,discount_name,discount_kind,value,currency,metric,valid_from,valid_to"
    lines = ["A,遠い,percentage,10,,,2072-10-01,", "B,外貨,fixed,10,USD,,2026-10-01,"]
    store.write("contracts/incoming/d.csv", "\n".join([header, *lines, ""]).encode())
    file: dict[str, Any] = {"imported_kind": "discount", "imported_file": "d.csv", "reason": "x"}
    with pytest.raises(ParameterError, match=r"2 行目.*1 年より先"):
        run(database, "import_file", store=store, **file)

    run(database, "import_file", store=store, is_checked=True, **file)

    assert waiting(host) == ["import"]


LOSS = {"written_off_on": "2026-12-05", "fact": "none", "evidence": "破産の通知（総務の書庫）"}


@pytest.fixture
def large_invoice(database: Database, host: psycopg.Connection) -> None:
    """A's October with ¥100,000 of lines, which somebody else has approved."""
    customer(host, "A")
    operate(database, "extra_line", values=LINE | {"line_price": "100000"}, triggered_by="佐藤")
    operate(database, "approve", triggered_by="鈴木")


def settle_loss(database: Database, operation: str, person: str, **values: Any) -> Any:
    run_at = datetime(2026, 12, 10, 10, tzinfo=JAPAN)
    reason = "誤り" if operation == "take_back_adjustment" else ""
    return operate(database, operation, reason=reason, values=values, triggered_by=person, run_at=run_at)


def written_off(host: psycopg.Connection) -> tuple[int, list[str]]:
    """What is written off of the invoice, and the kinds of what waits."""
    waiting_kinds = host.execute("SELECT kind FROM batch.all_waiting_entry").fetchall()
    row = host.execute("SELECT sum(written_off_total) FROM batch.invoice").fetchone()
    assert row
    return int(row[0]), [kind for (kind,) in waiting_kinds]


@pytest.mark.usefixtures("large_invoice")
def test_a_large_write_off_waits_until_somebody_else_approves_it(
    database: Database, host: psycopg.Connection
) -> None:
    result = settle_loss(database, "write_off", "佐藤", **LOSS)

    assert written_off(host) == (0, ["write_off"])
    assert "佐藤 以外の人の承認" in str(outcomes(host, result)["A"]["notes"])
    own = settle_loss(database, "approve", "佐藤")
    assert "佐藤 が登録し、1 人で登録できる額を超える" in reasons(own)["A"]
    again = settle_loss(database, "write_off", "田中", **LOSS)
    assert "承認待ちの貸倒れ" in reasons(again)["A"]
    assert written_off(host) == (0, ["write_off"])

    settle_loss(database, "approve", "鈴木")

    assert written_off(host) == (121_000, [])
    rows = host.execute("SELECT entered_by, reason, accrued_on FROM batch.adjustment").fetchall()
    assert rows == [("佐藤", LOSS["evidence"], date(2026, 12, 5))]


@pytest.mark.usefixtures("large_invoice")
def test_small_write_offs_add_up_to_the_limit(database: Database, host: psycopg.Connection) -> None:
    settle_loss(database, "write_off", "佐藤", **LOSS, written_off_amount="30000")
    settle_loss(database, "write_off", "佐藤", **LOSS, written_off_amount="30001")

    assert written_off(host) == (30_000, ["write_off"])


@pytest.mark.usefixtures("large_invoice")
def test_a_waiting_write_off_is_withdrawn_or_refused_after_a_change(
    database: Database, host: psycopg.Connection
) -> None:
    settle_loss(database, "write_off", "佐藤", **LOSS)
    payment = {"paid_on": "2026-12-04", "paid_amount": "1000", "paid_method": "振込", "paid_reference": "F-1"}
    settle_loss(database, "record_payment", "佐藤", **payment)

    changed = settle_loss(database, "approve", "鈴木")
    assert "残りが 121,000 JPY から 120,000 へ変わりました" in reasons(changed)["A"]
    settle_loss(database, "take_back_adjustment", "佐藤", adjustment="write_off")

    assert written_off(host) == (0, [])


@pytest.mark.usefixtures("large_invoice")
def test_a_void_withdraws_the_waiting_write_off(database: Database, host: psycopg.Connection) -> None:
    settle_loss(database, "write_off", "佐藤", **LOSS)

    operate(database, "void", reason="訂正")

    assert host.execute("SELECT kind FROM batch.all_waiting_entry").fetchall() == []


@pytest.mark.usefixtures("large_invoice")
def test_the_database_lets_no_author_approve_a_write_off(
    database: Database, host: psycopg.Connection
) -> None:
    settle_loss(database, "write_off", "KEIRI", **LOSS)

    with pytest.raises(psycopg.errors.CheckViolation, match="somebody else"):
        host.execute("UPDATE batch.waiting_write_off SET approved_by = 'ｋｅｉｒｉ', decided_in = 'run'")


@pytest.mark.parametrize("change", ["credit first", "write-off first"])
@pytest.mark.usefixtures("large_invoice")
def test_an_approval_does_what_is_possible_and_says_what_is_not(
    database: Database, host: psycopg.Connection, change: str
) -> None:
    credit: dict[str, Any] = {
        "reason": "障害",
        "values": {"credit_lines": ["2=60000"]},
        "triggered_by": "佐藤",
    }
    if change == "credit first":
        operate(database, "part_credit", **credit)
        refused = settle_loss(database, "write_off", "田中", **LOSS)
        assert "承認待ちの返還があります" in reasons(refused)["A"]
        return
    settle_loss(database, "write_off", "田中", **LOSS, written_off_amount="60000")
    operate(database, "part_credit", **credit)

    # Tanaka may approve the credit note, and not the own write-off.
    result = settle_loss(database, "approve", "田中")

    assert "田中 が登録し" in reasons(result)["A"]
    assert outcomes(host, result)["A"]["details"]["credited"].startswith("CRN-")
    assert written_off(host) == (0, ["write_off"])


@pytest.mark.usefixtures("large_invoice")
def test_a_cleared_write_off_says_what_became_of_it(database: Database, host: psycopg.Connection) -> None:
    run_at = datetime(2026, 12, 10, 10, tzinfo=JAPAN)
    entered = open_operation(database, "write_off", values=LOSS, triggered_by="佐藤", run_at=run_at)
    process(database, entered)
    settle_loss(database, "approve", "鈴木")

    (again,) = process(database, entered).results

    assert again.notes == ("この貸倒れは、承認されています",)
    assert written_off(host) == (121_000, [])


def test_many_small_steps_of_a_rate_are_a_large_one(database: Database, host: psycopg.Connection) -> None:
    billing_rows.exchange_rate(host, date(2026, 9, 30), "150")

    for day, yen in enumerate(("170", "190", "220"), start=1):
        set_rate(database, yen, f"2026-10-{day:02}")

    # 170 is near 150, but 190 and 220 are not.
    assert (rates(host), waiting(host)) == (["09-30 150", "10-01 170"], ["exchange_rate", "exchange_rate"])


def test_a_rate_ends_the_wait_of_a_mistyped_one_of_its_day(
    database: Database, host: psycopg.Connection
) -> None:
    billing_rows.exchange_rate(host, date(2026, 10, 30), "151")
    set_rate(database, "15123.5")

    set_rate(database, "151.235")

    assert (rates(host), waiting(host)) == (["10-30 151", "10-31 151.235"], [])


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("values", "waits"),
    [
        ({"country": "US"}, True),
        ({"department": "口座変更のお知らせ"}, True),
        ({"postal_code": "100-0001"}, False),
        ({"language": "en"}, False),
    ],
)
def test_another_country_or_misleading_text_needs_a_second_person(
    database: Database, host: psycopg.Connection, values: dict[str, str], waits: bool
) -> None:
    set_profile(database, **values)

    assert bool(waiting(host)) is waits


@pytest.mark.usefixtures("tenants")
def test_a_postal_code_is_no_place_for_a_sentence(database: Database) -> None:
    with pytest.raises(ParameterError, match="郵便番号"):
        set_profile(database, postal_code="振込先変更 1234567")


@pytest.mark.usefixtures("tenants")
def test_discounts_add_up_and_a_large_amount_waits(database: Database, host: psycopg.Connection) -> None:
    set_discount(database, value="20")
    set_discount(database, value="9.9", discount_name="二つ目")
    set_discount(database, value="0.1", discount_name="三つ目")
    assert waiting(host) == ["discount"]

    fixed = {"discount_kind": "fixed", "currency": "JPY"}
    set_discount(database, **fixed, value="50000", discount_name="定額")
    set_discount(database, **fixed, value="50001", discount_name="大きな定額")

    assert waiting(host) == ["discount", "discount"]
