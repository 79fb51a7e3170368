"""What one person enters above the limit waits until somebody else approves it: one-off lines and credit notes."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from skill_batch.board.pages.invoices import load_month, possible_actions
from include.skillreport.billing.second_person import WAITING_KINDS
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.operations.approve_invoices import create_batch as invoice_approval
from include.skillreport.schema.deploy import BOARD
from local_stack.batch_runs import LOCAL
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import billing_rows
from tests.worlds.approval_rows import answer, asked_about
from tests.worlds.billing_rows import (
    close_month,
    customer,
    everything_written,
    files,
    invoice,
    invoices,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)
from tests.worlds.kept_rows import planted_once
from tests.worlds.own_settings import change_billing

SATO, SUZUKI = "佐藤", "鈴木"
LINE = {"line_date": "2026-10-15", "line_text": "初期設定の作業費", "line_price": "40000"}
CREDIT = {"credit_lines": ["2=60000"]}


def enter(
    database: Database, price: int, person: str = SATO, text: str = "作業費", **fields: Any
) -> RunResult:
    values = LINE | {"line_price": str(price), "line_text": text} | fields
    return operate(database, "extra_line", values=values, triggered_by=person)


def credit(database: Database, person: str = SATO, **options: Any) -> RunResult:
    options = {"reason": "障害のため", "values": CREDIT} | options
    return operate(database, "part_credit", triggered_by=person, **options)


def approve(database: Database, person: str = SUZUKI, **options: Any) -> RunResult:
    return operate(database, "approve", triggered_by=person, **options)


def opened_approval(database: Database, person: str = SUZUKI) -> Run:
    return replace(open_operation(database, "approve"), triggered_by=person)


def waits(host: psycopg.Connection) -> list[tuple[str, bool]]:
    return host.execute(
        "SELECT description, waits AND approved_by IS null FROM batch.extra_charge ORDER BY entered_at"
    ).fetchall()


@pytest.fixture
def large(database: Database, host: psycopg.Connection) -> None:
    """A's October is final: base fee ¥10,000 and a one-off line of ¥80,000, which 田中 has approved."""

    def plant() -> None:
        customer(host, "A")
        operate(database, "extra_line", values=LINE | {"line_price": "80000"}, triggered_by="山田")
        run_billing(database)
        approve(database, "田中")
        assert states(host) == [("finalized", "INV-2026-10-001")]

    planted_once(__name__, database, plant)


def test_every_kind_that_waits_has_its_words(host: psycopg.Connection) -> None:
    (view,) = host.execute("SELECT pg_get_viewdef('batch.all_waiting_entry')").fetchone() or ("",)
    kinds = re.findall(r"(?:(?:THEN|ELSE) '(\w+)'::text)|(?:'(\w+)'::text AS kind)", view)
    assert {first or second for first, second in kinds} == WAITING_KINDS.keys()


# One-off lines -----------------------------------------------------------------------------------------------------------


def test_the_line_that_exceeds_the_limit_waits(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")

    within, above = enter(database, 50_000), enter(database, -1, text="値引き")

    assert outcomes(host, within)["A"]["notes"] == ["2026-10 の請求に「作業費」+50,000 JPY を載せます"]
    assert outcomes(host, above)["A"]["notes"] == [
        "佐藤 がこの月に登録した額が、1 人で登録できる 50,000 円を超えるか、円に換算できないため、"
        "佐藤 以外の人の承認（DAG operate_invoices の「保留中の請求の承認」）を待ちます。この月の請求は保留になります"
    ]
    assert waits(host) == [("作業費", False), ("値引き", True)]


def test_each_person_and_month_has_its_own_sum(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    customer(host, "B")
    enter(database, 40_000)
    enter(database, 40_000, SUZUKI, text="別の作業費")
    enter(database, 40_000, line_date="2026-11-15")
    operate(database, "extra_line", "B", values=LINE, triggered_by=SATO)

    assert {is_waiting for _, is_waiting in waits(host)} == {False}


def test_a_retry_of_a_waiting_line_says_again_that_it_waits(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    run = open_operation(database, "extra_line", values=LINE | {"line_price": "50001"})

    notes = [process(database, run).results[0].notes for _ in range(2)]

    assert notes[0] == notes[1]
    assert "以外の人の承認" in notes[0][0]
    assert len(waits(host)) == 1


def test_only_somebody_else_approves_a_waiting_line(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter(database, 50_001)
    held = run_billing(database)
    assert (
        "個別明細「作業費」（登録者 佐藤）は 1 人で登録できる額を超えるか、支払いに関わる語があるため、登録した人以外の承認が必要です"
        in reasons(held)["A"]
    )

    refused = approve(database, SATO)

    assert outcomes(host, refused)["A"]["error_code"] == "OWN_ENTRY"
    assert reasons(refused)["A"] == (
        "2026-10-15 の個別明細「作業費」は 佐藤 が登録し、1 人で登録できる額を超えるか、支払いに関わる語があるため、佐藤 は承認できません。"
        "ほかの人が承認してください。"
    )
    assert states(host) == [("draft", None)]
    assert approve(database).status == "completed"
    assert states(host) == [("finalized", "INV-2026-10-001")]
    assert waits(host) == [("作業費", False)]


def test_a_request_is_not_approved_by_who_entered_the_line(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, 50_001)
    asked = asked_about(database, run_billing(database))
    assert asked is not None

    refused = answer(database, asked.request, APPROVE_INVOICES, invoice_approval(LOCAL), person=SATO)

    assert outcomes(host, refused)["A"]["error_code"] == "OWN_ENTRY"
    assert states(host) == [("draft", None)]


def test_a_reissue_accepts_no_waiting_line_of_ones_own(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run_billing(database)
    host.execute(
        """
        INSERT INTO batch.extra_charge (
            extra_charge_id, tenant_id, charged_on, description, unit_amount, currency, tax_category, entered_by, waits
        )
        VALUES ('late', 'A', '2026-10-15', '作業費', 60000, 'JPY', 'standard', '佐藤', true)
        """
    )

    def reissue(person: str) -> RunResult:
        values = {"accept_change": True}
        return operate(database, "reissue", reason="追加", values=values, triggered_by=person)

    assert outcomes(host, reissue(SATO))["A"]["error_code"] == "OWN_ENTRY"
    assert [status for status, _ in states(host)] == ["finalized"]
    assert reissue(SUZUKI).status == "completed"


def test_an_entry_that_somebody_else_has_approved_does_not_count(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, 50_000)
    run_billing(database)
    approve(database)
    operate(database, "void", reason="追加")

    enter(database, 40_000, text="追加の作業費")

    assert waits(host) == [("作業費", False), ("追加の作業費", False)]


@pytest.mark.parametrize("spelling", ["KEIRI", "ｋｅｉＲＩ"])
def test_nobody_is_a_second_person_by_another_spelling(
    database: Database, host: psycopg.Connection, spelling: str
) -> None:
    customer(host, "A")
    enter(database, 50_000, "keiri")
    enter(database, 1, spelling, text="追加の作業費")
    assert waits(host) == [("作業費", False), ("追加の作業費", True)]
    run_billing(database)

    refused = approve(database, "Keiri")

    assert outcomes(host, refused)["A"]["error_code"] == "OWN_ENTRY"
    with pytest.raises(psycopg.errors.CheckViolation, match=f"{spelling} has entered it"):
        host.execute(
            "UPDATE batch.extra_charge SET approved_by = 'ＫＥＩＲＩ', approved_at = now() WHERE waits"
        )


def test_an_old_approval_covers_no_later_line(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    run = opened_approval(database)
    enter(database, 50_001)
    run_billing(database)

    (failure,) = process(database, run).failures

    assert (failure.code, failure.message.rstrip("。")) == (
        "ENTERED_LATER",
        "2026-10-15 の個別明細「作業費」は、この操作を始めた後に 佐藤 が登録しています。"
        "内容を確認し、操作を新しく実行してください",
    )
    assert (states(host), waits(host)) == ([("draft", None)], [("作業費", True)])
    assert approve(database).status == "completed"


def test_an_approval_that_is_opened_again_stays_old(database: Database, host: psycopg.Connection) -> None:
    """A run that is cleared as a whole has the person who triggered it first."""
    customer(host, "A")
    first = opened_approval(database)
    enter(database, 50_001)
    run_billing(database)
    again = opened_approval(database)
    host.execute(
        """
        UPDATE batch.execution_log AS log SET dag_id = old.dag_id, run_id = old.run_id
        FROM batch.execution_log AS old
        WHERE log.execution_id = %s AND old.execution_id = %s
        """,
        [again.execution_id, first.execution_id],
    )

    assert [each.code for each in process(database, again).failures] == ["ENTERED_LATER"]


def test_a_line_that_waits_does_so_until_somebody_else_approves(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    enter(database, 50_001)
    for evasion in ("waits = false", "waits = false, approved_by = entered_by, approved_at = now()"):
        with pytest.raises(psycopg.errors.CheckViolation, match="waits for somebody else"):
            host.execute(f"UPDATE batch.extra_charge SET {evasion}")
    host.execute("UPDATE batch.extra_charge SET waits = false, approved_by = '鈴木', approved_at = now()")


@pytest.mark.parametrize(("rate", "is_waiting"), [("500", False), ("500.01", True), (None, True)])
def test_foreign_lines_count_in_yen_at_the_newest_rate(
    database: Database, host: psycopg.Connection, rate: str | None, is_waiting: bool
) -> None:
    customer(host, "A", currency_code="USD")
    if rate:
        billing_rows.exchange_rate(host, date(2026, 10, 1), "100")
        billing_rows.exchange_rate(host, date(2026, 10, 30), rate)

    enter(database, 100)

    assert waits(host) == [("作業費", is_waiting)]


def test_the_setting_is_the_limit(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, operation_limit=1000)
    customer(host, "A")

    enter(database, 1000)
    enter(database, 1, text="もう 1 つ")

    assert waits(host) == [("作業費", False), ("もう 1 つ", True)]


def test_the_usual_limit_is_that_of_the_last_twelve_months(
    database: Database, host: psycopg.Connection
) -> None:
    """Twelve months of ¥20,000 (20 more users at ¥500), and an earlier one of ¥10,000."""
    months = [date(2026, number, 1) for number in range(1, 13)] + [date(2027, 1, 1)]
    customer(host, "A", months=months[:1], created_at=datetime(2026, 1, 1))
    for month in months[1:]:
        close_month(host, "A", month, active_users=40)
    for month in months:
        run_billing(database, month)
        if month == months[1]:
            approve(database, month=month)

    enter(database, 60_000, line_date="2027-02-10")
    enter(database, 1, text="もう 1 つ", line_date="2027-02-10")

    assert waits(host) == [("作業費", False), ("もう 1 つ", True)]


def test_two_lines_at_once_are_added(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    threads = [
        threading.Thread(target=enter, args=(database, 30_000, SATO, f"作業費 {each}")) for each in "ab"
    ]
    with host.transaction():
        host.execute("SELECT pg_advisory_xact_lock(180204, hashtext('A') & 63)")
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for_blocked_statement(database, number)
    for thread in threads:
        thread.join()

    assert sorted(is_waiting for _, is_waiting in waits(host)) == [False, True]


def test_two_people_approve_each_others_lines(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter(database, 50_001)
    enter(database, 50_002, SUZUKI, text="別の作業費")
    run_billing(database)

    first = approve(database, SATO)

    outcome = outcomes(host, first)["A"]
    assert outcome["error_code"] == "OWN_ENTRY"
    assert outcome["notes"] == [
        "2026-10-15 の個別明細「別の作業費」（登録者 鈴木）は 佐藤 が承認しました。"
        "佐藤 が登録した明細は、ほかの人の承認を待っています"
    ]
    assert waits(host) == [("作業費", True), ("別の作業費", False)]
    assert states(host) == [("draft", None)]
    # The draft waits for what is left.
    held = invoice(host, "A")["hold_reason"]
    assert "「作業費」（登録者 佐藤）" in held
    assert "別の作業費" not in held
    assert approve(database, SUZUKI).status == "completed"
    assert states(host) == [("finalized", "INV-2026-10-001")]


def test_a_removal_waits_for_an_approval(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter(database, 50_001)
    results: list[RunResult] = []
    removal = threading.Thread(
        target=lambda: results.append(
            operate(database, "remove_line", values={"line_text": "作業費"}, triggered_by=SATO)
        )
    )
    with host.transaction():
        host.execute("SELECT pg_advisory_xact_lock(180204, hashtext('A') & 63)")
        removal.start()
        wait_for_blocked_statement(database)
        assert waits(host) == [("作業費", True)]
    removal.join()

    assert results[0].status == "completed"
    assert waits(host) == []


# Credit notes ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("large")
def test_a_credit_above_the_limit_waits_and_changes_nothing(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    operate(database, "explain", store=store)
    before, letters = invoice(host, "A"), everything_written(host)
    kept = files(store)

    result = credit(database, store=store)

    outcome = outcomes(host, result)["A"]
    assert outcome["details"] == {"waits": "credit"}
    assert outcome["notes"] == [
        "佐藤 がこの月に登録した額が、1 人で登録できる 50,000 円を超えるか、円に換算できないため、"
        "佐藤 以外の人の承認（DAG operate_invoices の「保留中の請求の承認」）を待ちます"
    ]
    original, waiting = invoices(host, "A")
    assert original == before
    assert (waiting["status"], waiting["number"], waiting["total"], waiting["entered_by"]) == (
        "draft",
        None,
        -66_000,
        SATO,
    )
    after = everything_written(host)
    assert [after[name] for name in ("counter", "host billing", "notification")] == [
        letters[name] for name in ("counter", "host billing", "notification")
    ]
    # The files of the month are those without the credit note.
    assert not any("CRN" in key for key in files(store))
    lists = [content for key, content in files(store).items() if key.startswith("accounting/")]
    assert lists
    assert not any("返還".encode() in content for content in lists)
    assert kept == {}
    assert host.execute("SELECT open_amount FROM batch.board_receivable").fetchall() == [(99_000,)]


@pytest.mark.usefixtures("large")
def test_only_somebody_else_issues_a_waiting_credit(database: Database, host: psycopg.Connection) -> None:
    entering = credit(database)

    refused = approve(database, SATO)
    assert outcomes(host, refused)["A"]["error_code"] == "OWN_ENTRY"
    assert "承認待ちの返還「障害のため」は 佐藤 が登録し" in reasons(refused)["A"]

    approved = approve(database)

    assert outcomes(host, approved)["A"]["details"] == {"credited": "CRN-2026-10-001"}
    original, issued = invoices(host, "A")
    assert (original["credited_total"], original["credited"]) == (66_000, False)
    assert (issued["number"], issued["total"], issued["approved_by"], issued["execution_id"]) == (
        "CRN-2026-10-001",
        -66_000,
        SUZUKI,
        approved.execution_id,
    )
    assert issued["entry_execution_id"] == entering.execution_id
    assert host.execute(
        """SELECT count(*) FROM "HIS_NotificationLog" WHERE id = %s""", [f"invoice-{issued['invoice_id']}"]
    ).fetchone() == (1,)


@pytest.mark.usefixtures("large")
def test_retries_of_entering_and_approving_change_nothing(
    database: Database, host: psycopg.Connection
) -> None:
    entering = open_operation(database, "part_credit", reason="障害のため", values=CREDIT)
    notes = [process(database, entering).results[0].notes for _ in range(2)]
    assert notes[0] == notes[1]
    approving = open_operation(database, "approve")

    found = [process(database, approving).results[0].details for _ in range(2)]

    assert found == [{"credited": "CRN-2026-10-001"}] * 2
    assert process(database, entering).results[0].details == {"credited": "CRN-2026-10-001"}
    assert len(invoices(host, "A")) == 2


@pytest.mark.usefixtures("large")
def test_a_full_credit_waits_too_and_closes_the_month_when_issued(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "credit", reason="二重の請求", triggered_by=SATO)
    assert not invoices(host, "A")[0]["credited"]
    credit(database, reason="別の人の一部", person="田中")
    assert [status for status, _ in states(host)] == ["finalized", "draft", "draft"]

    approve(database)

    original, full, part = invoices(host, "A")
    assert (original["credited"], full["number"], full["total"]) == (True, "CRN-2026-10-001", -99_000)
    assert (part["status"], part["void_reason"]) == ("void", "CRN-2026-10-001 で全額を返還したため")


@pytest.mark.usefixtures("large")
def test_a_waiting_credit_that_would_differ_is_refused(database: Database, host: psycopg.Connection) -> None:
    credit(database)
    assert credit(database, "田中", values={"credit_lines": ["2=30000"]}).status == "completed"
    rows = everything_written(host)

    refused = approve(database)

    assert outcomes(host, refused)["A"]["error_code"] == "ENTRY_CHANGED"
    assert (
        "承認待ちの返還「障害のため」は、登録した後に元の内容が変わったため、承認できません（"
        in reasons(refused)["A"]
    )
    assert "残額 50,000 JPY 以下" in reasons(refused)["A"]
    assert everything_written(host) == rows


@pytest.mark.usefixtures("large")
def test_a_waiting_credit_is_issued_after_one_of_another_line(
    database: Database, host: psycopg.Connection
) -> None:
    credit(database)
    credit(database, "田中", values={"credit_lines": ["1=1000"]})

    assert approve(database).status == "completed"

    issued = invoices(host, "A")[1]
    assert (issued["number"], issued["content"]["remaining_total"]) == ("CRN-2026-10-002", "31900")


@pytest.mark.usefixtures("large")
def test_ones_own_waiting_credit_stays_when_others_are_approved(
    database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change_billing(monkeypatch, tmp_path, operation_limit=0)
    for person in (SATO, SUZUKI):
        credit(database, person, values={"credit_lines": ["2=1000"]}, reason=person)

    result = approve(database, SATO)

    assert outcomes(host, result)["A"]["notes"] == ["佐藤 が登録した返還は、ほかの人の承認を待っています"]
    assert [(row["status"], row["entered_by"]) for row in invoices(host, "A")[1:]] == [
        ("draft", SATO),
        ("finalized", SUZUKI),
    ]


@pytest.mark.usefixtures("large")
def test_a_waiting_credit_is_dropped_once_with_its_reason(
    database: Database, host: psycopg.Connection
) -> None:
    credit(database)
    run = open_operation(database, "drop_credit", reason="金額の誤り")

    for _ in range(2):
        (result,) = process(database, run).results
        assert result.notes == ("承認待ちの返還「障害のため」66,000 JPY（登録者 佐藤）を取り下げました",)

    dropped = invoices(host, "A")[1]
    assert (dropped["status"], dropped["number"], dropped["void_reason"]) == ("void", None, "金額の誤り")
    assert "承認待ちの返還はありません" in reasons(operate(database, "drop_credit", reason="誤り"))["A"]
    # Dropped credits count neither as the same nor in the sum.
    assert credit(database, values={"credit_lines": ["2=45000"]}).status == "completed"
    assert invoices(host, "A")[2]["status"] == "finalized"


@pytest.mark.usefixtures("large")
def test_a_retry_enters_no_credit_again_that_was_dropped(
    database: Database, host: psycopg.Connection
) -> None:
    entering = open_operation(database, "part_credit", reason="障害のため", values=CREDIT)
    process(database, entering)
    operate(database, "drop_credit", reason="金額の誤り")

    (result,) = process(database, entering).results

    assert (result.details, result.notes) == (
        {"credited": None},
        ("承認待ちの返還は、取り下げ済みです",),
    )
    assert [row["status"] for row in invoices(host, "A")] == ["finalized", "void"]


@pytest.mark.usefixtures("large")
def test_a_retry_of_an_approval_that_has_closed_the_month_changes_nothing(
    database: Database, host: psycopg.Connection
) -> None:
    operate(database, "credit", reason="二重の請求", triggered_by=SATO)
    run = opened_approval(database)

    found = [process(database, run).results[0].details for _ in range(2)]

    assert found == [{"credited": "CRN-2026-10-001"}] * 2
    assert [row["number"] for row in invoices(host, "A")] == ["INV-2026-10-001", "CRN-2026-10-001"]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("operation", ["void", "reissue"])
def test_a_void_drops_the_waiting_credits(
    database: Database, host: psycopg.Connection, operation: str
) -> None:
    credit(database)
    values = {"accept_change": True} if operation == "reissue" else {}
    run = open_operation(database, operation, reason="宛名の誤り", values=values)

    for _ in range(2):
        assert process(database, run).failures == []

    dropped = next(row for row in invoices(host, "A") if row["kind"] == "credit")
    assert (dropped["status"], dropped["void_reason"]) == ("void", "請求書を取り消したため")


@pytest.mark.usefixtures("large")
def test_the_same_credit_is_refused_while_the_first_waits(database: Database) -> None:
    credit(database)

    assert "同じ返還（承認待ち「障害のため」66,000 JPY）を" in reasons(credit(database, SUZUKI))["A"]


@pytest.mark.usefixtures("large")
def test_lines_and_credits_of_a_person_are_added(database: Database, host: psycopg.Connection) -> None:
    host.execute("UPDATE batch.extra_charge SET entered_by = '佐藤', approved_by = null, approved_at = null")

    result = credit(database, values={"credit_lines": ["1=1"]})

    assert outcomes(host, result)["A"]["details"] == {"waits": "credit"}


@pytest.mark.parametrize(("limit", "status"), [(220_000, "finalized"), (219_999, "draft")])
def test_a_foreign_credit_counts_at_the_rate_of_its_invoice(
    database: Database,
    host: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    limit: int,
    status: str,
) -> None:
    """USD 220.00 at 1,000 yen, whatever the rate is afterwards."""
    change_billing(monkeypatch, tmp_path, operation_limit=limit)
    customer(host, "A", "STANDARD", currency_code="USD")
    billing_rows.exchange_rate(host, date(2026, 10, 30), "1000")
    run_billing(database)
    billing_rows.exchange_rate(host, date(2026, 11, 1), "1")

    operate(database, "credit", reason="訂正", triggered_by=SATO)

    assert invoices(host, "A")[1]["status"] == status


@pytest.mark.usefixtures("large")
def test_the_database_refuses_a_credit_that_its_person_has_approved(
    database: Database, host: psycopg.Connection
) -> None:
    credit(database)
    with pytest.raises(psycopg.errors.CheckViolation, match="佐藤 has entered it"):
        host.execute(
            """
            UPDATE batch.invoice
            SET status = 'finalized', issued_on = '2026-11-01', accrued_on = '2026-11-01', approved_by = entered_by
            WHERE kind = 'credit'
            """
        )


@pytest.mark.usefixtures("large")
def test_a_credit_that_waits_keeps_its_reason(database: Database, host: psycopg.Connection) -> None:
    credit(database)
    with pytest.raises(psycopg.errors.CheckViolation, match="waits for somebody else"):
        host.execute("UPDATE batch.invoice SET hold_reason = null WHERE kind = 'credit'")


@pytest.mark.usefixtures("large")
def test_an_old_approval_covers_no_later_credit(database: Database, host: psycopg.Connection) -> None:
    run = opened_approval(database)
    credit(database)

    (failure,) = process(database, run).failures

    assert failure.code == "ENTERED_LATER"
    assert "承認待ちの返還「障害のため」は、この操作を始めた後に 佐藤 が登録しています" in failure.message
    assert invoices(host, "A")[1]["status"] == "draft"


@pytest.mark.usefixtures("large")
def test_a_retry_leaves_a_credit_that_was_entered_since(database: Database, host: psycopg.Connection) -> None:
    credit(database)
    run = opened_approval(database)
    process(database, run)
    credit(database, values={"credit_lines": ["2=1000"]}, reason="もう 1 つ")

    (result,) = process(database, run).results

    assert result.details == {"credited": "CRN-2026-10-001"}
    assert [row["status"] for row in invoices(host, "A")[1:]] == ["finalized", "finalized"]


@pytest.mark.usefixtures("large")
def test_waiting_credits_of_a_deleted_tenant_are_approved(
    database: Database, host: psycopg.Connection
) -> None:
    credit(database)
    host.execute("""DELETE FROM "MST_Tenant" """)

    assert outcomes(host, approve(database))["A"]["details"] == {"credited": "CRN-2026-10-001"}
    assert "承認待ちの返還も貸倒れもありません" in reasons(approve(database))["A"]


@pytest.mark.usefixtures("large")
def test_the_board_lists_waiting_lines_and_credits(database: Database) -> None:
    credit(database)
    enter(database, 50_001, line_date="2026-11-15")

    with database.connect(BOARD) as reader:
        page = load_month(reader, billing_rows.MONTH, billing_rows.MONTH)

    assert [
        (row["kind"], row["period_start"].month, row["amount"], row["entered_by"]) for row in page.waiting
    ] == [
        ("credit", 10, -66_000, SATO),
        ("line", 11, 50_001, SATO),
    ]
    assert [row["state"] for row in page.documents] == ["finalized", "waiting_credit"]
    assert possible_actions(page.documents[1]) == []


@pytest.mark.usefixtures("large")
def test_the_review_lists_waiting_credits(database: Database) -> None:
    credit(database)
    with database.connect("batch_platform") as platform:
        sections = Billing().review(platform, billing_rows.MONTH, "none")

    (section,) = [each for each in sections if "承認を待つ返還" in each.title]
    assert section.findings == ("A の 2026-10 分「障害のため」66,000 JPY（登録者 佐藤）",)
