"""One-off lines that a person enters, and the difference of a final month that is carried into a later one."""

from __future__ import annotations

import threading
from datetime import date
from typing import Any

import psycopg
import pytest

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.run_log import RunResult
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    close_month,
    customer,
    entered_lines,
    everything_written,
    invoice,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
)

NOVEMBER = date(2026, 11, 1)
LINE = {"line_date": "2026-10-15", "line_text": "初期設定の作業費", "line_price": "50000"}


def enter(database: Database, *codes: str, **fields: Any) -> RunResult:
    return operate(database, "extra_line", *codes, values=LINE | fields)


def close_again(host: psycopg.Connection, tenant_id: str, active_users: int, day: int = 3) -> None:
    """The usage batch closes a day of October again, with other figures."""
    host.execute(
        """
        UPDATE batch.usage_day
        SET active_users = %s, revision = revision + 1, closed_at = clock_timestamp()
        WHERE tenant_id = %s AND usage_date = %s
        """,
        [active_users, tenant_id, date(2026, 10, day)],
    )


def test_a_line_is_entered_with_all_that_the_form_says(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")

    result = enter(database, line_quantity="2", line_unit="式", line_tax="reduced", line_price="-3,000")

    assert outcomes(host, result)["A"]["details"] == {
        "entered": "2026-10",
        "description": "初期設定の作業費",
    }
    assert entered_lines(host) == [
        ("A", date(2026, 10, 15), "初期設定の作業費", 2, "式", -3000, "JPY", "reduced")
    ]
    assert host.execute("SELECT entered_by, execution_id FROM batch.extra_charge").fetchall() == [
        (result.execution_id, result.execution_id)
    ]


def test_each_tenant_gets_the_line_in_its_own_currency(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    customer(host, "B", currency_code="USD")
    customer(host, "C")
    billing_rows.billing_profile(host, "C", currency="EUR")

    enter(database, "A", "B", "C")

    assert [(row[0], row[6]) for row in entered_lines(host)] == [("A", "JPY"), ("B", "USD"), ("C", "EUR")]


def test_a_line_of_a_final_month_is_refused_with_the_open_month(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run_billing(database)
    rows = everything_written(host)

    result = enter(database)

    assert reasons(result)["A"] == (
        "2026-10 の請求書 INV-2026-10-001は確定済みです。日付を 2026-11 以降にしてください。"
    )
    assert (everything_written(host), entered_lines(host)) == (rows, [])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"line_date": "2026-02-30"}, "YYYY-MM-DD で指定"),
        ({"line_price": "高い"}, "数ではありません"),
        ({"line_price": "NaN"}, "数ではありません"),
        ({"line_price": "0"}, "0 以外の金額"),
        ({"line_quantity": "-1"}, "0 より大きく"),
        ({"line_price": "1e70"}, "数ではありません"),
        ({"line_date": "2206-10-15"}, "先すぎます"),
        ({"line_text": "作業\x00費"}, "（line_text）に使えない制御文字"),
        ({"line_text": " "}, "「内容」（line_text）が必要です"),
    ],
)
def test_a_line_that_cannot_be_is_refused_before_anything_happens(
    database: Database, host: psycopg.Connection, fields: dict[str, str], message: str
) -> None:
    customer(host, "A")
    with pytest.raises(ParameterError, match=message):
        enter(database, **fields)


def test_a_line_that_rounds_to_nothing_in_its_currency_is_refused(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")

    result = enter(database, line_price="0.4")

    assert "の金額 0.4 JPY は、端数処理で 0 になります" in reasons(result)["A"]
    assert entered_lines(host) == []

    enter(database, line_price="0.4", line_quantity="1000")

    assert len(entered_lines(host)) == 1


@pytest.mark.parametrize("number", ["1e30", "0.0000001", "NaN"])
def test_a_line_with_an_impossible_number_fails_its_tenant_by_name(
    database: Database, host: psycopg.Connection, number: str
) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id)
    enter(database)
    host.execute("UPDATE batch.extra_charge SET unit_amount = %s::numeric", [number])

    result = run_billing(database)

    assert reasons(result) == {
        "A": "2026-10-15 の個別明細「初期設定の作業費」の数量か単価が使えません（整数部 15 桁、小数部 6 桁まで）。"
        "DAG operate_invoices の「個別明細の取り消し」で取り消してください。"
    }
    assert operate(database, "remove_line", values={"line_text": LINE["line_text"]}).status == "completed"
    assert reasons(run_billing(database)) == {}


# Removing a line ---------------------------------------------------------------------------------------------------------


def remove(database: Database, named: str = LINE["line_text"], **fields: str) -> RunResult:
    return operate(database, "remove_line", values={"line_text": named} | fields)


def test_a_line_is_removed_once_and_its_content_is_kept(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter(database)
    run = open_operation(database, "remove_line", values={"line_text": LINE["line_text"]})

    for _ in range(2):
        assert process(database, run).failures == []

    assert entered_lines(host) == []
    (row,) = host.execute(
        "SELECT tenant_id, content ->> 'description', content -> 'unit_amount' FROM batch.extra_charge_removal"
    ).fetchall()
    assert row == ("A", "初期設定の作業費", 50000)
    assert "「初期設定の作業費」はありません" in reasons(remove(database))["A"]


def test_a_tenant_that_left_long_ago_gets_a_line_and_loses_it(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", status="INACTIVE", contract_end_date=date(2026, 6, 30))

    assert outcomes(host, enter(database))["A"]["details"]["entered"] == "2026-10"
    assert outcomes(host, remove(database))["A"]["details"]["removed"] == "2026-10"
    assert entered_lines(host) == []


def test_a_retry_enters_no_line_that_was_removed_since(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run = open_operation(database, "extra_line", values=LINE)
    process(database, run)
    remove(database)

    (result,) = process(database, run).results

    assert (result.details, result.records) == ({"entered": None}, 0)
    assert result.notes == ("取り消し済みのため、登録していません",)
    assert entered_lines(host) == []
    enter(database)
    assert len(entered_lines(host)) == 1


def test_one_of_several_equal_lines_is_removed_by_day_or_id(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    for day in ("2026-10-15", "2026-11-15", "2026-12-15"):
        enter(database, line_date=day)
    ids = [
        row[0]
        for row in host.execute("SELECT extra_charge_id FROM batch.extra_charge ORDER BY charged_on DESC")
    ]

    refusal = reasons(remove(database))["A"]
    assert "3 件あります" in refusal
    assert all(line_id in refusal for line_id in ids)

    assert remove(database, line_date="2026-11-15").status == "completed"
    assert remove(database, ids[0]).status == "completed"
    assert [row[1] for row in entered_lines(host)] == [date(2026, 10, 15)]


def test_a_line_of_a_final_invoice_stays_and_a_late_one_goes(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, line_price="5000")
    run_billing(database)

    refusal = reasons(remove(database))["A"]

    assert "確定した請求書 INV-2026-10-001に載っています" in refusal
    assert len(entered_lines(host)) == 1

    # Another line with the same text, after the invoice.
    host.execute(
        """
        INSERT INTO batch.extra_charge (
            extra_charge_id, tenant_id, charged_on, description, unit_amount, currency, tax_category, entered_by
        )
        SELECT 'late', tenant_id, charged_on, description, unit_amount, currency, tax_category, entered_by
        FROM batch.extra_charge
        """
    )

    assert remove(database).status == "completed"
    assert host.execute("SELECT extra_charge_id FROM batch.extra_charge_removal").fetchall() == [("late",)]


def test_a_line_that_missed_its_invoice_can_be_removed(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    with database.connect() as another, another.transaction():
        billing_rows.insert(
            another,
            "extra_charge",
            extra_charge_id="missed",
            tenant_id="A",
            charged_on=date(2026, 10, 15),
            description="作業費",
            unit_amount=5000,
            currency="JPY",
            tax_category="standard",
            entered_by="経理",
        )
        run_billing(database)

    result = operate(database, "remove_line", values={"line_text": "作業費"})

    assert result.status == "completed"
    assert entered_lines(host) == []


# Carrying a difference -------------------------------------------------------------------------------------------------


def test_a_difference_is_carried_into_the_next_month_that_is_not_final(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    close_month(host, "A", NOVEMBER, active_users=25)
    run_billing(database)
    run_billing(database, NOVEMBER)
    close_again(host, "A", 27)

    result = operate(database, "carry")

    outcome = outcomes(host, result)["A"]
    assert outcome["details"] == {"carried_to": "2026-12"}
    description = "2026年10月分の差額（INV-2026-10-001、利用量の再集計による）"
    assert outcome["notes"] == [f"2026-12 の請求に「{description}」+1,000 JPY を載せます"]
    assert entered_lines(host) == [("A", date(2026, 12, 1), description, 1, None, 1000, "JPY", "standard")]
    assert invoice(host, "A")["total"] == 13_750


def test_a_difference_is_carried_once_and_a_later_one_by_itself(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    close_again(host, "A", 27)
    run = open_operation(database, "carry")
    process(database, run)
    process(database, run)
    assert [row[5] for row in entered_lines(host)] == [1000]

    again = operate(database, "carry")
    assert reasons(again)["A"] == "2026-10 の請求と今の使用量に差額はありません。何も繰り越しません。"

    close_again(host, "A", 26)
    operate(database, "carry")
    assert [row[5] for row in entered_lines(host)] == [1000, -500]


@pytest.mark.parametrize(("users", "total", "is_held"), [(37, 20_350, False), (38, 20_900, True)])
def test_a_carried_difference_above_the_limit_waits_for_an_approval(
    database: Database, host: psycopg.Connection, users: int, total: int, is_held: bool
) -> None:
    customer(host, "A", months=())
    for month in (billing_rows.MONTH, NOVEMBER):
        close_month(host, "A", month, active_users=25)
    run_billing(database)
    close_again(host, "A", users)
    operate(database, "carry")

    result = run_billing(database, NOVEMBER)

    reason = "未承認の個別明細の合計 6,500 JPY が、個別明細を除く小計 12,500 JPY の 50 % を超えます"
    assert reasons(result).get("A", "").startswith(reason) is is_held
    if is_held:
        assert [row["status"] for row in billing_rows.invoices(host, "A", NOVEMBER)] == ["draft"]
        assert operate(database, "approve", month=NOVEMBER).status == "completed"
    (billed,) = billing_rows.invoices(host, "A", NOVEMBER)
    assert (billed["status"], billed["total"]) == ("finalized", total)


@pytest.mark.parametrize("operation", ["void", "reissue", "credit"])
def test_an_invoice_with_a_carried_difference_cannot_be_voided_or_credited(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    close_again(host, "A", 27)
    operate(database, "carry")
    rows = everything_written(host)

    result = operate(database, operation, reason="訂正")

    assert "の差額は後の月に繰り越し済みのため" in reasons(result)["A"]
    assert everything_written(host) == rows


def test_two_runs_at_once_carry_a_difference_once(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    close_again(host, "A", 27)
    results: list[RunResult] = []
    other = threading.Thread(target=lambda: results.append(operate(database, "carry")))
    with host.transaction():
        host.execute("SELECT FROM batch.invoice FOR UPDATE")
        other.start()
        wait_for_blocked_statement(database)
        second = threading.Thread(target=lambda: results.append(operate(database, "carry")))
        second.start()
        wait_for_blocked_statement(database, 2)
    other.join()
    second.join()

    assert sorted(len(result.failed_tenants) for result in results) == [0, 1]
    assert [row[5] for row in entered_lines(host)] == [1000]


def test_one_tenants_difference_is_not_another_tenants(database: Database, host: psycopg.Connection) -> None:
    for tenant_id in ("A", "B"):
        customer(host, tenant_id, months=())
        close_month(host, tenant_id, active_users=25)
    run_billing(database)
    close_again(host, "B", 27)

    result = operate(database, "carry", "A", "B")

    assert set(reasons(result)) == {"A"}
    assert [row[0] for row in entered_lines(host)] == ["B"]
