"""``billing.second_person: none``: the author approves what waits in a second step, and types the amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import psycopg
import pytest

from skill_batch.approvals import ApprovalFlow
from skill_batch.board.pages.invoices import load_month, possible_actions
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger.extra_charges import approve_others_lines
from include.skillreport.billing.periods import Period
from include.skillreport.billing.second_person import Approver, WaitingEntry, approval_refusal
from include.skillreport.billing.service import Billing
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.operation_catalog import APPROVE_INVOICES
from include.skillreport.operations.approve_invoices import create_batch as invoice_approval
from include.skillreport.schema.deploy import BOARD
from local_stack.batch_runs import LOCAL
from tests.conftest import Database
from tests.worlds import billing_rows
from tests.worlds.approval_rows import HOLD, answer, asked
from tests.worlds.billing_rows import (
    customer,
    invoices,
    open_operation,
    operate,
    outcomes,
    process,
    reasons,
    run_billing,
    states,
)
from tests.worlds.contract_entries import changes, decide, load, run, set_discount, set_profile
from tests.worlds.own_settings import settings

__all__ = ["settings"]

KEIRI, ALONE = "keiri", "keiri（1 人で確認）"
LINE = {"line_date": "2026-10-15", "line_text": "作業費", "line_price": "25000", "line_quantity": "4"}
LOSS = {"written_off_on": "2026-12-05", "fact": "none", "evidence": "破産の通知"}
DECEMBER = datetime(2026, 12, 10, 10, tzinfo=JAPAN)


@pytest.fixture
def alone(settings: Any) -> None:
    settings(second_person="none")


@pytest.fixture
def final(database: Database, host: psycopg.Connection) -> None:
    """A's October is final with a line of ¥100,000 (¥121,000 in all)."""
    customer(host, "A")
    operate(database, "extra_line", values=LINE | {"line_price": "25000"}, triggered_by="佐藤")
    operate(database, "approve", triggered_by="鈴木")
    assert states(host) == [("finalized", "INV-2026-10-001")]


def enter_line(database: Database, person: str = KEIRI, **values: Any) -> RunResult:
    return operate(database, "extra_line", values=LINE | values, triggered_by=person)


def approve(database: Database, confirmed: str = "", person: str = KEIRI, **options: Any) -> RunResult:
    return operate(database, "approve", values={"confirmed": confirmed}, triggered_by=person, **options)


def approvers(host: psycopg.Connection) -> list[str | None]:
    """Who has approved the lines."""
    return [
        name for (name,) in host.execute("SELECT approved_by FROM batch.extra_charge ORDER BY description")
    ]


# Who counts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["keiri（1 人で確認）", "KEIRI(１ 人で確認)"])
@pytest.mark.parametrize("setting", ["required", "none"])
def test_a_name_that_looks_like_a_confirmation_is_refused(person: str, setting: Any) -> None:
    with pytest.raises(BillingError, match="区別できないため"):
        Approver(person, setting, ["1"]).name_for("これ", ["keiri"], "1")


def test_each_typed_text_confirms_one_entry() -> None:
    approver = Approver("keiri", "none", ["50", "50"])

    assert [approver.name_for("これ", ["Keiri"], "50") for _ in range(2)] == [ALONE] * 2
    with pytest.raises(BillingError, match="50 と入力"):
        approver.name_for("これ", ["keiri"], "50")


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("line", "「保留中の請求の承認」の「1 人での確認」に金額を"),
        ("correction", "「送付する」の「1 人での確認」に請求額を"),
        ("contract", "DAG approve_contracts の確認の「1 人での確認」に金額かコードを"),
    ],
)
def test_a_refusal_says_what_the_author_types(kind: str, remedy: str) -> None:
    error = approval_refusal(WaitingEntry(kind, "これ", ["keiri"]), "KEIRI", "none")

    assert remedy in str(error)
    assert "ほかの人" not in str(error)


# Lines -------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("confirmed", ["", "25000", "-100000"])
def test_a_line_is_not_approved_without_its_amount(
    database: Database, host: psycopg.Connection, confirmed: str
) -> None:
    customer(host, "A")
    entered = enter_line(database)
    assert "以外の人" not in str(outcomes(host, entered)["A"]["notes"])
    assert "「1 人での確認」に金額かコードを入力" in str(outcomes(host, entered)["A"]["notes"])

    refused = approve(database, confirmed)

    assert outcomes(host, refused)["A"]["error_code"] == "NOT_CONFIRMED"
    assert reasons(refused)["A"] == (
        "2026-10 の「作業費」100,000 JPY は keiri が登録しました。"
        "1 人で承認するには、「1 人での確認」（confirmed）に 100,000 と入力してください。"
    )
    assert (states(host), approvers(host)) == ([("draft", None)], [None])
    assert "ほかの人" not in str(invoices(host, "A")[0]["hold_reason"])
    assert "以外の承認" not in str(invoices(host, "A")[0]["hold_reason"])


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("confirmed", ["100,000", "１０００００.0"])
def test_the_author_approves_a_line_with_its_amount(
    database: Database, host: psycopg.Connection, confirmed: str
) -> None:
    customer(host, "A")
    enter_line(database)
    run_billing(database)
    run = replace(open_operation(database, "approve", values={"confirmed": confirmed}), triggered_by=KEIRI)

    for _ in range(2):
        assert process(database, run).failures == []

    assert (states(host), approvers(host)) == ([("finalized", "INV-2026-10-001")], [ALONE])


@pytest.mark.usefixtures("alone")
def test_another_person_types_nothing(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter_line(database)

    approve(database, person="鈴木")

    assert approvers(host) == ["鈴木"]


def test_an_amount_does_not_replace_a_required_person(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter_line(database)

    refused = approve(database, "100000")

    assert outcomes(host, refused)["A"]["error_code"] == "OWN_ENTRY"
    assert approvers(host) == [None]


@pytest.mark.usefixtures("alone")
def test_a_confirmation_is_for_one_tenant_and_the_others_are_approved(
    database: Database, host: psycopg.Connection
) -> None:
    for tenant_id in "AB":
        customer(host, tenant_id)
    enter_line(database)
    operate(database, "extra_line", "B", values=LINE, triggered_by="佐藤")
    run_billing(database)
    with pytest.raises(ParameterError, match="1 件だけ指定"):
        operate(database, "approve", "A", "B", values={"confirmed": "1"}, triggered_by=KEIRI)

    result = operate(database, "approve", "A", "B", triggered_by=KEIRI)

    assert set(reasons(result)) == {"A"}
    assert (states(host, "A"), states(host, "B")) == ([("draft", None)], [("finalized", "INV-2026-10-001")])


@pytest.mark.usefixtures("alone")
def test_the_database_still_refuses_the_author(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter_line(database)

    with pytest.raises(psycopg.errors.CheckViolation, match="keiri has entered it"):
        host.execute("UPDATE batch.extra_charge SET approved_by = 'Keiri', approved_at = now()")


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("confirmed", "name"), [([], None), (["1"], None), (["100000"], ALONE)])
def test_the_answer_about_a_held_invoice_confirms_its_lines(
    database: Database, host: psycopg.Connection, confirmed: Sequence[str], name: str | None
) -> None:
    customer(host, "A")
    enter_line(database)
    request = asked(database, run_billing(database))

    batch, options = invoice_approval(LOCAL), {"person": KEIRI, "confirmed": confirmed}
    result = answer(database, request, APPROVE_INVOICES, batch, **options)  # type: ignore[arg-type]

    assert approvers(host) == [name]
    assert ("に A=100,000 と入力" in reasons(result).get("A", "")) is (name is None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("confirmed", "names"),
    [
        (["100000"], [None, None]),
        (["100000", "100000"], [None, None]),
        (["Ａ＝100,000", "B=1"], [ALONE, None]),
        (["B=100000", "A=100000"], [ALONE, ALONE]),
    ],
)
def test_a_line_of_an_answer_names_its_tenant_if_several_need_one(
    database: Database, host: psycopg.Connection, confirmed: Sequence[str], names: Sequence[str | None]
) -> None:
    for tenant_id in "AB":
        customer(host, tenant_id)
        operate(database, "extra_line", tenant_id, values=LINE, triggered_by=KEIRI)
    request = asked(database, run_billing(database))

    batch = invoice_approval(LOCAL)
    answer(database, request, APPROVE_INVOICES, batch, person=KEIRI, confirmed=confirmed)

    found = host.execute("SELECT approved_by FROM batch.extra_charge ORDER BY tenant_id").fetchall()
    assert [name for (name,) in found] == names


def test_a_text_in_an_answer_is_one_confirmation() -> None:
    _, values = ApprovalFlow(APPROVE_INVOICES).read_answer([], HOLD, {"confirmed": " 60000 "})

    assert values["confirmed"] == ["60000"]


@pytest.mark.parametrize(
    ("setting", "waits_for"),
    [
        ("required", "ほかの人の承認を"),
        ("none", "登録した人の確認（「1 人での確認」に金額かコードを入力）を"),
    ],
)
def test_who_approves_the_lines_of_others_reads_what_own_lines_wait_for(
    database: Database, host: psycopg.Connection, setting: Any, waits_for: str
) -> None:
    customer(host, "A")
    enter_line(database, "佐藤")

    with database.working() as (_, connection), tenant_transaction(connection, ["A"]):
        month = Period.month_of(billing_rows.MONTH)
        (remark,) = approve_others_lines(connection, "A", month, setting, approver=KEIRI, entered_before=None)

    assert remark.endswith(f"{KEIRI} が登録した明細は、{waits_for}待っています")


# Credit notes, write-offs, corrections -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("final", "alone")
def test_the_author_approves_a_credit_and_a_write_off_with_their_sum(
    database: Database, host: psycopg.Connection
) -> None:
    values = {"credit_lines": ["2=60000"]}
    operate(database, "part_credit", reason="障害", values=values, triggered_by=KEIRI)
    assert "に 66,000 と入力" in reasons(approve(database, "60000"))["A"]

    approve(database, "66000")
    operate(database, "write_off", values=LOSS, triggered_by=KEIRI, run_at=DECEMBER)
    assert "に 55,000 と入力" in reasons(approve(database, run_at=DECEMBER))["A"]
    run = replace(
        open_operation(database, "approve", values={"confirmed": "55000"}, run_at=DECEMBER),
        triggered_by=KEIRI,
    )
    for _ in range(2):
        assert process(database, run).failures == []

    assert [row["approved_by"] for row in invoices(host, "A")] == ["鈴木", ALONE]
    assert host.execute("SELECT approved_by FROM batch.waiting_write_off").fetchall() == [(ALONE,)]
    assert invoices(host, "A")[0]["written_off_total"] == 55_000


@pytest.mark.usefixtures("final", "alone")
def test_the_author_sends_a_correction_with_the_total(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    values = {"correction": "宛名の訂正", "recipient_name": "株式会社ヒミツ"}
    result = operate(database, "correct", values=values, triggered_by=KEIRI, store=store)
    assert "登録した人が「1 人での確認」に金額かコードを入力して「送付する」" in str(
        outcomes(host, result)["A"]["notes"]
    )

    def send(confirmed: str) -> RunResult:
        values = {"confirmed": confirmed}
        return operate(
            database, "send_letter", reason="確認した", values=values, triggered_by=KEIRI, store=store
        )

    assert "の訂正は keiri が登録しました" in reasons(send("1"))["A"]
    assert reasons(send("121000")) == {}

    assert host.execute("SELECT approved_by FROM batch.invoice_revision").fetchall() == [(ALONE,)]


# Contracts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("entry", "confirmed"),
    [
        (lambda database: set_discount(database, value="50"), "50"),
        (lambda database: set_profile(database, tax_category="export"), "A"),
    ],
)
def test_the_author_confirms_a_change_with_its_number_or_the_code(
    database: Database, host: psycopg.Connection, entry: Any, confirmed: str
) -> None:
    customer(host, "A")
    result = entry(database)

    for typed, status in (([], "waiting"), (["B"], "waiting"), ([confirmed], "applied")):
        decide(database, asked(database, result), person=KEIRI, confirmed=typed)
        assert [(each[2], each[4]) for each in changes(host)] == [
            (status, ALONE if status == "applied" else None)
        ]


@pytest.mark.usefixtures("alone")
def test_the_author_confirms_a_file_with_the_number_of_its_rows(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    for tenant_id in "AB":
        customer(host, tenant_id)
    text = "tenant,discount_name,discount_kind,value,currency,metric,valid_from,valid_to\n"
    rows = "".join(f"{code},特別割引,percentage,50,,,2026-11-01,\n" for code in "AB")
    result = load(database, store, "discount", text + rows)

    decide(database, asked(database, result), person=KEIRI, confirmed=["2"])

    assert {(each[2], each[4]) for each in changes(host)} == {("applied", ALONE)}


# Who says so -------------------------------------------------------------------------------------------------------------


def section(database: Database, title: str, month: date) -> tuple[str, ...]:
    """The findings of the month's digest under a title."""
    with database.connect("batch_platform") as platform:
        sections = Billing().review(platform, month, "none")
    return next((each.findings for each in sections if each.title == title), ())


@pytest.mark.usefixtures("alone")
def test_the_digest_lists_what_its_author_has_approved(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter_line(database)
    enter_line(database, "佐藤", line_text="別の作業費")
    approve(database, "100000")
    decide(database, asked(database, set_discount(database, value="50")), person=KEIRI, confirmed=["50"])
    rate: dict[str, Any] = {
        "currency": "USD",
        "rate_date": "2026-10-30",
        "yen_per_unit": "151.5",
        "reason": "TTM",
    }
    decide(database, asked(database, run(database, "set_rate", **rate)), person=KEIRI, confirmed=["151.5"])
    operate(database, "extra_line", values=LINE | {"line_date": "2026-11-05"}, triggered_by="佐藤")
    operate(database, "approve", triggered_by="鈴木", month=date(2026, 11, 1))
    this_month = datetime.now(JAPAN).date().replace(day=1)
    title = "登録した人が 1 人で承認したもの"

    assert section(database, title, date(2020, 1, 1)) == ()
    assert section(database, title, this_month) == (
        "A の個別明細 作業費 100,000 JPY（keiri）",
        "A の割引 50 %（keiri）",
        "為替レート USD 151.5 JPY（keiri）",
    )
    with database.connect("batch_platform") as platform:
        (advice,) = [
            each.advice for each in Billing().review(platform, this_month, "none") if each.title == title
        ]
    assert advice.startswith("設定 billing.second_person は none です。ほかの人は登録を見ていません。")


def test_the_digest_says_nothing_about_a_second_person(database: Database, host: psycopg.Connection) -> None:
    customer(host, "A")
    enter_line(database)
    approve(database, person="鈴木")
    this_month = datetime.now(JAPAN).date().replace(day=1)

    assert section(database, "登録した人が 1 人で承認したもの", this_month) == ()


def test_the_digest_lists_the_texts_that_nobody_else_has_seen(
    database: Database, host: psycopg.Connection
) -> None:
    customer(host, "A")
    small = {"line_price": "100", "line_quantity": "1", "line_unit": "式"}
    for text in ("調整", "調整 2", "調整 3", "調整 4"):
        enter_line(database, **small, line_text=text)
    enter_line(database, **small, line_text="お振込先の変更")
    operate(database, "approve", triggered_by="鈴木")
    operate(database, "part_credit", reason="お詫び", values={"credit_lines": ["1=100"]}, triggered_by=KEIRI)
    set_discount(database, discount_name="春の割引")
    customer(host, "B")
    run_billing(database)
    operate(database, "void", "B", reason="重複", triggered_by=KEIRI)
    for text, name in {"調整": None, "調整 2": "Keiri", "調整 3": ALONE}.items():
        host.execute(
            "UPDATE batch.extra_charge SET approved_by = %(name)s,"
            " approved_at = CASE WHEN %(name)s::text IS NOT null THEN now() END WHERE description = %(text)s",
            {"text": text, "name": name},
        )
    this_month = datetime.now(JAPAN).date().replace(day=1)
    title = "承認を待たずに取引先へ出た文"

    assert section(database, title, billing_rows.MONTH) == tuple(
        f"A の個別明細「{text} / 式」（登録者 keiri）" for text in ("調整", "調整 2", "調整 3")
    )
    assert section(database, title, this_month) == (
        "A の割引「春の割引」（登録者 keiri）",
        "A の返還 CRN-2026-10-001「お詫び」（登録者 keiri）",
        "B の取消 INV-2026-10-002「重複」（登録者 keiri）",
    )


@pytest.mark.usefixtures("alone")
def test_the_board_lets_the_author_act(
    database: Database, host: psycopg.Connection, store: ObjectStore
) -> None:
    customer(host, "A")
    run_billing(database)
    values = {"correction": "宛名の訂正", "recipient_name": "株式会社ヒミツ"}
    operate(database, "correct", values=values, triggered_by=KEIRI, store=store)

    with database.connect(BOARD) as reader:
        (document,) = load_month(reader, billing_rows.MONTH, billing_rows.MONTH).documents

    assert "send_letter" in possible_actions(document, KEIRI)
