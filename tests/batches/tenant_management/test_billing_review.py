"""The findings of a billing run: usage that changed after the invoice, tenants and lines without an invoice, letters without address."""

from __future__ import annotations

import logging
from datetime import date, datetime
from pathlib import Path
from typing import LiteralString, Protocol

import psycopg
import pytest

from include.skillreport.batches.tenant_billing import create_batch
from include.skillreport.core.errors import ParameterError, SettingsError
from include.skillreport.core.execution.batch import NotDueError, Request
from local_stack.batch_runs import LOCAL
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.billing_rows import (
    close_month,
    customer,
    insert,
    invoice,
    invoices,
    operate,
    outcomes,
    reasons,
    run_billing,
)
from tests.worlds.own_settings import change_billing

NOVEMBER = date(2026, 11, 1)

LATE_LINE = {
    "extra_charge_id": "late",
    "tenant_id": "A",
    "charged_on": date(2026, 10, 5),
    "description": "作業費",
    "unit_amount": 5000,
    "currency": "JPY",
    "tax_category": "standard",
    "entered_by": "経理",
}


class Report(Protocol):
    """Runs BATCH-018-02 for October once more; gives its digest line by line."""

    def __call__(self) -> list[str]: ...


@pytest.fixture
def report(database: Database, caplog: pytest.LogCaptureFixture) -> Report:
    def lines() -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "include.skillreport.core.execution.flow"):
            run_billing(database)
        messages = caplog.messages
        titles = [index for index, line in enumerate(messages) if line.startswith("請求の確認事項")]
        return messages[titles[0] :] if titles else []

    return lines


def close_again(host: psycopg.Connection, tenant_id: str, figures: LiteralString) -> None:
    """The 3rd and the 4th of October are closed again, with other figures."""
    host.execute(
        "UPDATE batch.usage_day SET revision = 2, closed_at = clock_timestamp(), "
        + figures
        + " WHERE tenant_id = %s AND usage_date IN ('2026-10-03', '2026-10-04')",
        [tenant_id],
    )


# Usage that changed ----------------------------------------------------------------------------------------------------


def test_usage_closed_again_after_finalization_is_reported_with_days_and_difference(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    for tenant_id, code in (("A", "HD001"), ("B", "B")):
        customer(host, tenant_id, months=(), tenant_code=code)
        close_month(host, tenant_id, active_users=25)
    run_billing(database)
    assert report() == []
    close_again(host, "A", "active_users = 27")

    lines = report()

    assert lines[:3] == [
        "請求の確認事項（2026-10 分の実行）",
        "■ 確定後に使用量が変わった請求（1 件）",
        "・HD001 の 2026-10 分 請求書 INV-2026-10-001: 確定後に締め直された日 10/3、10/4（2 日）。請求額 13,750 JPY は、"
        "今の使用量では 14,850 JPY（差額 +1,100 JPY）",
    ]
    assert "「差額の翌月への繰越し」" in lines[3]
    assert "「取消して再発行」" in lines[3]


def test_figures_that_change_no_amount_are_not_reported(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)

    close_again(host, "A", "active_users = 24, total_logins = 100")

    assert report() == []


def test_a_difference_that_is_carried_or_billed_anew_is_not_reported_again(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    for tenant_id in ("A", "B", "C"):
        customer(host, tenant_id, months=())
        close_month(host, tenant_id, active_users=25)
    run_billing(database)
    for tenant_id in ("A", "B", "C"):
        close_again(host, tenant_id, "active_users = 27")

    operate(database, "carry", "A")
    operate(database, "reissue", "B", reason="再集計")
    operate(database, "credit", "C", reason="再集計")
    operate(database, "bill_again", "C", reason="再集計")

    assert report() == []


def test_a_missing_day_that_is_closed_late_is_a_difference(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", without=[3], active_users=20)
    run_billing(database, parameters={"allow_incomplete": True})
    close_month(host, "A", first=3, last=3, active_users=30)

    (_, _, line, *_) = report()

    assert "締め直された日 10/3（1 日）。請求額 11,000 JPY は、今の使用量では 16,500 JPY" in line


def test_the_last_day_closed_again_after_billing_is_a_difference(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = 45, revision = 2 WHERE usage_date = '2026-10-31'")
    with host.transaction():
        # As if both had happened on 1 November: the invoice at two in the morning, the closing at three in the afternoon.
        host.execute("ALTER TABLE batch.invoice DISABLE TRIGGER USER")
        host.execute("UPDATE batch.invoice SET finalized_at = '2026-11-01 02:10+09'")
        host.execute("ALTER TABLE batch.invoice ENABLE TRIGGER USER")
        host.execute(
            "UPDATE batch.usage_day SET closed_at = '2026-11-01 15:00+09' WHERE usage_date = '2026-10-31'"
        )

    assert "締め直された日 10/31（1 日）" in report()[2]


@pytest.mark.parametrize("users", [27, 23])
def test_a_credit_note_for_something_else_hides_no_difference(
    database: Database, host: psycopg.Connection, report: Report, users: int
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = %s, revision = 2", [users])
    operate(database, "part_credit", reason="お詫び", values={"credit_lines": ["1=100"]})

    assert "返還済み -100 JPY" in report()[2]
    result = operate(database, "carry")
    assert "差額のどこまでが返還済みか決められません" in reasons(result)["A"]


def test_a_credit_note_for_the_difference_settles_it(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=25)
    run_billing(database)
    host.execute("UPDATE batch.usage_day SET active_users = 20, revision = 2")
    operate(database, "part_credit", reason="再集計", values={"credit_lines": ["2=5x"]})
    host.execute("UPDATE batch.usage_day SET api_calls = 1, revision = 3")

    assert report() == []


def test_a_difference_that_ends_below_0_is_named_and_stops_no_report(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", months=())
    close_month(host, "A", active_users=80)
    insert(host, "extra_charge", **LATE_LINE | {"unit_amount": -20_000, "extra_charge_id": "deduction"})
    run_billing(database)

    host.execute("UPDATE batch.usage_day SET active_users = 20, revision = 2")

    assert "差額 -33,000 JPY" in report()[2]


# Who is not billed -----------------------------------------------------------------------------------------------------


def test_a_tenant_deleted_by_the_application_is_reported_with_unbilled_months(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A")
    customer(host, "gone", months=(date(2026, 9, 1), billing_rows.MONTH))
    run_billing(database, date(2026, 9, 1))
    host.execute("""DELETE FROM "MST_Tenant" WHERE tenant_id = 'gone'""")
    run_billing(database)

    lines = report()

    assert lines[1] == "■ アプリケーションから消えたテナントの、請求していない使用量（1 件）"
    assert lines[2] == "・gone: 2026-10 の締め済み 31 日（利用者数は最大 0 人）"


@pytest.mark.parametrize("status", ["SUSPENDED", "INACTIVE"])
def test_a_contract_without_end_of_a_tenant_out_of_use_is_named(
    database: Database, host: psycopg.Connection, report: Report, status: str
) -> None:
    customer(host, "A")
    since = datetime(2026, 4, 1)
    customer(host, "B", months=(), status=status, contract_start_date=since)
    customer(host, "C", "FREE", months=(), status=status, contract_start_date=since)
    customer(host, "D", months=(), status=status)
    run_billing(database)

    lines = report()

    assert lines[1] == "■ 状態が稼働中でなく、契約が続いていて、請求していないテナント（1 件）"
    assert (
        lines[2]
        == f"・B: 状態 {status}、プラン BASIC、契約は 2026-04-01 から（終了日なし）、この月の利用なし"
    )


def test_an_active_tenant_whose_contract_has_run_out_unused_is_named(
    host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A", contract_end_date=datetime(2026, 9, 30, 14, 59))

    lines = report()

    assert lines[1] == "■ 確認が必要なテナント（1 件）"
    assert lines[2].startswith("・A: 請求対象の契約がありません（契約は 2026-09-30 まで）。稼働中です。")


def test_a_line_that_no_invoice_has_is_named(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A")
    run_billing(database)
    insert(host, "extra_charge", **LATE_LINE)

    lines = report()

    assert lines[1:3] == [
        "■ どの請求書にも載っていない個別明細（1 件）",
        "・A 2026-10-05「作業費」5,000 JPY（登録者 経理）",
    ]


def test_a_line_that_was_entered_while_its_month_was_finalised_is_named(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A")
    with database.connect() as another, another.transaction():
        insert(another, "extra_charge", **LATE_LINE)
        run_billing(database)

    assert report()[1] == "■ どの請求書にも載っていない個別明細（1 件）"


def test_a_line_of_an_invoice_that_was_credited_is_billed(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    customer(host, "A")
    insert(host, "extra_charge", **LATE_LINE)
    run_billing(database)
    operate(database, "credit", reason="解約")
    host.execute("""UPDATE "MST_Tenant" SET subscription_plan = 'FREE'""")
    host.execute("DELETE FROM batch.extra_charge WHERE extra_charge_id <> 'late'")

    run_billing(database, codes=["A"])
    lines = report()

    assert not any("どの請求書にも載っていない" in line for line in lines)


def test_a_month_never_run_and_a_held_month_are_reported(
    database: Database, host: psycopg.Connection, report: Report
) -> None:
    july, august, september = (date(2026, month, 1) for month in (7, 8, 9))
    customer(host, "A", months=(july, september))
    close_month(host, "A", august, active_users=60)
    close_month(host, "A")
    run_billing(database, july)
    run_billing(database, august)

    lines = report()

    assert "■ 前の月から保留か未確定のままの請求（1 件）" in lines
    assert any(line.startswith("・A の 2026-08 分 33,000 JPY（個別明細を除く小計が前月の") for line in lines)
    assert lines[lines.index("■ 使用量が締まっているのに、請求を実行していない月（1 件）") + 1] == "・2026-09"


# The first month -------------------------------------------------------------------------------------------------------


@pytest.fixture
def billing_begins_in_november(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    change_billing(monkeypatch, tmp_path, first_month=NOVEMBER)


def test_without_a_first_month_nothing_is_billed_and_the_settings_still_load(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, first_month=None)
    customer(host, "A")

    with database.connect("batch_platform") as platform, pytest.raises(SettingsError, match="first_month"):
        create_batch(LOCAL).options(Request({}, [], billing_rows.MONTH, platform))
    assert invoices(host) == []


@pytest.mark.usefixtures("billing_begins_in_november")
def test_a_missed_tick_before_the_first_billing_month_is_skipped(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    with (
        database.connect("batch_platform") as platform,
        pytest.raises(NotDueError, match="2026-10 は請求を始める月"),
    ):
        create_batch(LOCAL).options(Request({}, [], billing_rows.MONTH, platform))
    assert invoices(host) == []


@pytest.mark.usefixtures("billing_begins_in_november")
def test_a_month_before_the_first_is_priced_in_dry_runs_only(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(billing_rows.MONTH, NOVEMBER))

    with pytest.raises(ParameterError, match=r"billing\.first_month = 2026-11-01"):
        run_billing(database)
    assert reasons(operate(database, "approve"))["A"].startswith("2026-10 は請求を始める月")
    trial = run_billing(database, dry_run=True)
    assert outcomes(host, trial)["A"]["details"]["totalAmountJPY"] == 11_000
    assert invoices(host) == []

    run_billing(database, NOVEMBER)
    assert invoice(host, "A", NOVEMBER)["number"] == "INV-2026-11-001"


# The comparison --------------------------------------------------------------------------------------------------------


def test_a_second_month_is_compared_with_the_whole_first_month(
    database: Database, host: psycopg.Connection
) -> None:
    customer(
        host,
        "A",
        months=(billing_rows.MONTH, NOVEMBER),
        contract_start_date=datetime(2026, 10, 19, 15),
    )
    run_billing(database)
    assert invoice(host, "A")["total"] == 4_257

    result = run_billing(database, NOVEMBER)

    assert result.status == "completed"
    assert invoice(host, "A", NOVEMBER)["total"] == 11_000


def test_a_jump_after_a_short_month_names_both_figures_and_days(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", contract_start_date=datetime(2026, 10, 19, 15))
    close_month(host, "A", NOVEMBER, active_users=40)
    run_billing(database)

    result = run_billing(database, NOVEMBER)

    assert reasons(result)["A"].startswith(
        "個別明細を除く小計が前月の 3,870 JPY（31 日のうち 12 日分）から 20,000 JPY へ、1 か月分に換算して "
        "50 % を超えて変わりました（+100.1 %、請求額は 4,257 JPY から 22,000 JPY）"
    )


def test_one_off_lines_of_either_month_are_not_compared(database: Database, host: psycopg.Connection) -> None:
    """A's first five days also have a setup fee, and its first whole month has a deduction."""
    customer(host, "A", months=(billing_rows.MONTH, NOVEMBER), contract_start_date=datetime(2026, 10, 26, 15))
    for day, unit_amount in ((date(2026, 10, 28), 50_000), (date(2026, 11, 5), -9000)):
        billing_rows.insert(
            host,
            "extra_charge",
            extra_charge_id=str(day),
            tenant_id="A",
            charged_on=day,
            description="設定作業",
            unit_amount=unit_amount,
            currency="JPY",
            tax_category="standard",
            entered_by="経理",
            approved_by="責任者",
            approved_at=datetime(2026, 11, 1),
        )
    run_billing(database)

    assert run_billing(database, NOVEMBER).status == "completed"
    assert invoice(host, "A", NOVEMBER)["total"] == 1_100


def test_an_invoice_with_one_off_lines_only_is_not_compared_with(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A", months=(NOVEMBER,), contract_start_date=datetime(2026, 10, 31, 15))
    billing_rows.insert(
        host,
        "extra_charge",
        extra_charge_id="setup",
        tenant_id="A",
        charged_on=date(2026, 10, 28),
        description="設定作業",
        unit_amount=1000,
        currency="JPY",
        tax_category="standard",
        entered_by="経理",
    )
    billing_rows.operate(database, "approve")
    assert invoice(host, "A")["total"] == 1_100

    assert run_billing(database, NOVEMBER).status == "completed"


def test_the_previous_month_is_compared_without_what_was_credited(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    close_month(host, "A", NOVEMBER, active_users=31)
    run_billing(database)
    values = {"credit_lines": ["1=8000"]}
    billing_rows.operate(database, "part_credit", "A", reason="障害のため", values=values)

    result = run_billing(database, NOVEMBER)

    assert "が前月の 2,000 JPY から 15,500 JPY へ" in reasons(result)["A"]
    assert "請求額は 2,200 JPY から 17,050 JPY" in reasons(result)["A"]
