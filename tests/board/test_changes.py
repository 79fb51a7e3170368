"""What a dialog says before it runs: the values before and after, by the rules of the run."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import psycopg
import pytest

from skill_batch.board.access import Rights
from skill_batch.board.actions import find_action
from skill_batch.board.foreseen import foresees
from skill_batch.board.statements import SQL
from include.skillreport.billing.ledger.payments import find_payables
from include.skillreport.billing.receivables.payment import Payable
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.operations.forms import FORMS
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.billing_rows import (
    billing_profile,
    customer,
    discount,
    exchange_rate,
    operate,
    run_billing,
)

MONTH, DAY = "2026-10-01", "2026-11-01"
PAYMENT = {
    "paid_on": DAY,
    "paid_amount": "11000",
    "paid_method": "銀行振込",
    "paid_reference": "FT-1",
}
DISCOUNT = {"discount_name": "長期", "discount_kind": "percentage", "value": "10", "valid_from": MONTH}
ENDED = {"ended": "discount", "discount_name": "長期", "valid_from": MONTH}
CLAIMED = "請求額（税込、返還を引いた額）"


def _said(fragment: str) -> list[str]:
    """The lines of the changes in a dialog or in its fragment, as texts."""
    _, found, rest = fragment.partition("変わる値（")
    return _lines(rest.partition("</ul>")[0]) if found else []


def _lines(items: str) -> list[str]:
    """The items of a list, as texts."""
    lines = re.findall(r"<li[^>]*>(.*?)</li>", items, re.DOTALL)
    return [
        " ".join(unescape(re.sub(r"<[^>]+>", "", line.replace("<div", " <div"))).split()) for line in lines
    ]


def _typed(board: Board, name: str, dag_id: str = "operate_invoices", **fields: Any) -> list[str]:
    """What the dialog says while a person types."""
    answer = board.post(f"/operations/{dag_id}/{name}/changes", fields)
    assert answer.status_code == 200, answer.text
    return _said(answer.text)


def _open_amounts(host: psycopg.Connection) -> dict[str, Decimal]:
    """What is open of each invoice, by number."""
    return dict(
        host.execute("SELECT number, open_amount FROM batch.invoice WHERE kind = 'invoice'").fetchall()
    )


@pytest.fixture
def october(database: Database, host: psycopg.Connection) -> dict[str, str]:
    """Tenant A has INV-2026-10-001 of ¥11,000. The values with which a button opens its dialogs."""
    customer(host, "A", tenant_code="CODE-A")
    run_billing(database)
    return {"tenants": "CODE-A", "business_date": MONTH}


def test_every_operation_that_a_rule_can_foresee_says_it() -> None:
    actions = [find_action(dag_id, each.name) for dag_id, form in FORMS.items() for each in form.operations]
    assert {action.name for action in actions if action and foresees(action)} == {
        "add_payer", "allow_reminders", "bill_again", "confirm", "correct", "credit", "end", "extra_line", "fee_difference",
        "hand_over", "move_payment", "part_credit", "record_payment", "record_refund", "reissue", "reverse_payment", "send_letter",
        "set_commitment", "set_discount", "set_order_number", "set_plan", "set_profile", "set_rate", "stop_letter", "stop_reminders",
        "take_back_adjustment", "void", "write_off",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("credit", {}, [f"{CLAIMED}: 11,000 JPY → 0 JPY", "未入金: 11,000 JPY → 0 JPY"]),
        (
            "part_credit",
            {"credit_lines=1": "5000"},
            [f"{CLAIMED}: 11,000 JPY → 5,500 JPY", "未入金: 11,000 JPY → 5,500 JPY"],
        ),
        ("record_payment", {"paid_amount": "1,00"}, []),
        ("stop_letter", {}, ["送付: 2026-11-01 → 停止中"]),
        ("send_letter", {}, ["送付: 2026-11-01 → 次の送信（毎日 9:00）"]),
        ("stop_reminders", {}, ["督促: 送ります → 停止中"]),
    ],
)
def test_the_dialog_says_the_amounts_before_and_after(
    board: Board, october: dict[str, str], name: str, fields: dict[str, str], said: list[str]
) -> None:
    whole = [f"CODE-A INV-2026-10-001 {each}" for each in said]
    opened = board.get(f"/operations/operate_invoices/{name}", params=october).text
    assert _said(opened) == ([] if fields else whole)
    assert "/changes" in opened
    assert _typed(board, name, **october, **fields) == whole
    again = board.post(f"/operations/operate_invoices/{name}", {**october, **fields, "reason": ""})
    assert (again.status_code, _said(again.text)) == (422, whole)


def test_every_dialog_says_what_changes_or_why_not_and_who_gets_mail(board: Board) -> None:
    for dag_id, form in FORMS.items():
        for operation in form.operations:
            action = find_action(dag_id, operation.name)
            assert action is not None
            assert foresees(action) != bool(action.unchanged), action.name
            dialog = board.get(f"/operations/{dag_id}/{action.name}").text
            assert (action.unchanged or "欄に入力すると、変わる値がここに出ます。") in dialog, action.name
            assert action.mail in dialog, action.name


@pytest.mark.usefixtures("october")
def test_the_board_reads_a_payable_invoice_as_the_run_does(database: Database) -> None:
    reissued_at = datetime(2026, 11, 10, 12, tzinfo=JAPAN)
    operate(database, "reissue", "CODE-A", reason="宛名の誤り", run_at=reissued_at)
    numbers = ["INV-2026-10-001", "INV-2026-10-002"]
    with database.connect("batch_platform") as platform, database.connect("batch_board") as reader:
        payables = find_payables(platform, numbers)
        read = SQL.rows(reader, "present_payables", numbers=numbers)
    assert {row.pop("tenant_code") for row in read} == {"CODE-A"}
    assert {row["number"]: Payable(**row) for row in read} == payables
    replaced, replacement = (payables[number] for number in numbers)
    assert replaced.replaced_by == replacement.number
    assert replacement.first_issued_on == replaced.issued_on < replacement.issued_on


def test_the_dialog_of_a_reissue_names_both_invoices(
    board: Board, database: Database, october: dict[str, str]
) -> None:
    new = "CODE-A 新しい請求書: — → 実行のときに計算します"
    assert _typed(board, "reissue", **october) == ["CODE-A INV-2026-10-001 状態: 確定 → 取消済み", new]
    (refused,) = _typed(board, "bill_again", **october)
    assert "請求をやり直しません" in refused
    every = {"tenants": "CODE-A", "every_month": "on"}
    assert _typed(board, "stop_reminders", **every) == ["CODE-A 督促（すべての請求書）: — → 停止中"]
    operate(database, "stop_letter", "CODE-A", reason="宛名の誤り")
    operate(database, "stop_reminders", "CODE-A", reason="係争中")
    for name, said in (
        ("send_letter", "送付: 停止中 → 次の送信（毎日 9:00）"),
        ("allow_reminders", "督促: 停止中 → 送ります"),
    ):
        assert _typed(board, name, **october) == [f"CODE-A INV-2026-10-001 {said}"]
    operate(database, "void", "CODE-A", reason="宛名の誤り")
    assert _typed(board, "bill_again", **october) == [new]


def test_the_dialogs_say_what_the_runs_do(board: Board, database: Database, host: psycopg.Connection) -> None:
    """Payments, a fee, a write-off and its recovery, and taking some of them back; then a payment goes to another month."""
    customer(host, "A", tenant_code="CODE-A", months=(date(2026, 9, 1), date(2026, 10, 1)))
    run_billing(database, date(2026, 9, 1))
    run_billing(database)
    steps: list[tuple[str, dict[str, Any]]] = [
        ("record_payment", PAYMENT | {"paid_amount": "1000", "paid_reference": "FT-0"}),
        ("fee_difference", {"fee_on": DAY, "fee_amount": "300"}),
        ("take_back_adjustment", {"adjustment": "fee", "reason": "誤り"}),
        (
            "write_off",
            {"written_off_on": DAY, "fact": "none", "evidence": "写し", "written_off_amount": "4000"},
        ),
        ("record_payment", PAYMENT | {"paid_amount": "7000"}),
        ("record_payment", PAYMENT | {"paid_amount": "5000", "paid_reference": "FT-2"}),
        ("record_refund", PAYMENT | {"paid_amount": "500", "paid_reference": "R-1", "reason": "過入金"}),
        (
            "move_payment",
            {"paid_reference": "FT-0", "paid_to": "INV-2026-09-001", "moved_amount": "400", "reason": "誤り"},
        ),
        (
            "move_payment",
            {"paid_reference": "FT-2", "paid_to": "INV-2026-09-001", "moved_amount": "300", "reason": "誤り"},
        ),
        ("reverse_payment", {"paid_reference": "FT-2-2", "reason": "誤り"}),
    ]
    opened = _open_amounts(host)
    for name, values in steps:
        said = _typed(board, name, tenants="CODE-A", business_date=MONTH, **values)
        result = operate(database, name, "CODE-A", values=values)
        assert result.status == "completed", name
        before = opened
        opened = _open_amounts(host)
        assert {re.sub("（.*）", "", each) for each in said} == {
            f"CODE-A {number} 未入金: {before[number]:,f} JPY → {after:,f} JPY"
            for number, after in opened.items()
            if after != before[number]
        }, name


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [
        ("part_credit", {"credit_lines=1": "20000"}, "残額 10,000 JPY 以下にしてください"),
        ("part_credit", {"credit_lines=7": "1"}, "7 行目はありません"),
        ("record_refund", {"paid_amount": "1"}, ""),
        ("write_off", {"written_off_amount": "11001"}, "残り 11,000 JPY までの額にし"),
        ("fee_difference", {"fee_amount": "100"}, "先に「入金の記録」で"),
        ("record_payment", {"paid_amount": "0.5"}, "0 より大きく"),
        (
            "record_payment",
            PAYMENT | {"paid_on": "2026-10-31"},
            "入金日 2026-10-31 は、発行日 2026-11-01 から",
        ),
        (
            "record_payment",
            PAYMENT | {"paid_on": "2126-01-01"},
            "入金日 2126-01-01 は、発行日 2026-11-01 から",
        ),
        ("fee_difference", {"fee_on": "2026-10-31", "fee_amount": "100"}, "先に「入金の記録」で"),
        ("write_off", {"written_off_on": "2126-01-01"}, "日付 2126-01-01 は、発行日 2026-11-01 から"),
    ],
)
def test_the_dialog_says_why_the_run_would_refuse_it(
    board: Board, october: dict[str, str], name: str, fields: dict[str, str], problem: str
) -> None:
    said = _typed(board, name, **october, **fields)
    assert problem in said[0] if problem else not said


@pytest.mark.parametrize(
    ("name", "field", "text", "problem"),
    [
        (
            "record_payment",
            "paid_amount",
            "abc",
            "「入金額」（paid_amount）の &#39;abc&#39; は数ではありません。",
        ),
        ("part_credit", "credit_lines", "1-1", "「返還する明細」（credit_lines）の"),
        ("write_off", "evidence", "x" * 3_000, "「貸倒れの事実を証する書類」が長すぎます"),
        ("set_discount", "value", "1割", "「割引の値」（value）の"),
    ],
)
@pytest.mark.usefixtures("october")
def test_an_unreadable_value_is_refused_at_its_field(
    board: Board, name: str, field: str, text: str, problem: str
) -> None:
    of_contract = name == "set_discount"
    path = f"/operations/{'operate_contracts' if of_contract else 'operate_invoices'}/{name}"
    values = {"tenants": "CODE-A", field: text} | ({} if of_contract else {"business_date": MONTH})
    fragment = board.post(f"{path}/changes", values).text
    place = f'id="problem-{field}" hx-swap-oob="true">'
    said = re.sub("<[^>]*>", "", fragment.partition(place)[2].partition("</small>")[0])
    assert said.startswith(problem), fragment
    assert not _said(fragment)
    refused = board.post(path, values)
    assert refused.status_code == 422
    again = refused.text.partition(f'id="problem-{field}">')[2].partition("</small>")[0]
    assert re.sub("<[^>]*>", "", again) == said
    # The sentence is gone with the value.
    corrected = board.post(f"{path}/changes", {**values, field: ""}).text
    assert corrected.partition(place)[2].startswith("</small>")


WAITS, AT_ONCE = "CODE-A ! 承認を待ちます:", "CODE-A 承認を待たずに、すぐに反映されます。"
NO_MAIL = "CODE-A 取引先にメールは送りません。"
MAIL_LATER = "CODE-A 取引先には、承認された後にメールを送ります。"
TOLD = "CODE-A 登録から外れる宛先に、次の送信で変更をメールで知らせます。"
LINE = {"line_date": DAY, "line_text": "作業", "line_price": "100"}
PROFILE = {"email": "keiri@customer.example"}


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("credit", {"reason": "値引き"}, [AT_ONCE, "CODE-A 取引先に、"]),
        ("credit", {"reason": "振込先の変更"}, [WAITS, MAIL_LATER]),
        ("part_credit", {"credit_lines=1": "1"}, [AT_ONCE, "CODE-A 取引先に、"]),
        ("write_off", {"written_off_amount": "11000"}, [AT_ONCE, NO_MAIL]),
        ("extra_line", LINE, [AT_ONCE, NO_MAIL]),
        ("extra_line", LINE | {"line_quantity": "501"}, [WAITS, NO_MAIL]),
        ("correct", {"recipient_name": "株式会社アオバ"}, [WAITS, MAIL_LATER]),
        ("record_payment", PAYMENT, []),
        ("set_discount", DISCOUNT, [AT_ONCE, NO_MAIL]),
        ("set_discount", DISCOUNT | {"value": "30"}, [WAITS, NO_MAIL]),
        ("add_payer", {"payer_name": "ｶ)ｱｵﾊﾞ"}, [WAITS, NO_MAIL]),
        ("set_profile", PROFILE | {"department": "経理部"}, [AT_ONCE, TOLD]),
        ("set_profile", PROFILE | {"email": "other@customer.example"}, [WAITS, MAIL_LATER]),
    ],
)
def test_the_dialog_says_whether_it_waits_and_who_gets_an_e_mail(
    board: Board,
    host: psycopg.Connection,
    october: dict[str, str],
    name: str,
    fields: dict[str, str],
    said: list[str],
) -> None:
    billing_profile(host, "A", email="keiri@customer.example", cc_emails=["cc@customer.example"])
    of_contract = name in ("set_discount", "add_payer", "set_profile")
    path = f"/operations/{'operate_contracts' if of_contract else 'operate_invoices'}/{name}/changes"
    values = {"tenants": "CODE-A"} if of_contract or name == "extra_line" else october
    fragment = board.post(path, {**values, **fields}).text
    found = _lines(fragment.partition('<ul class="decisions">')[2].partition("</ul>")[0])
    assert len(found) == len(said), found
    assert all(each.startswith(start) for each, start in zip(found, said, strict=True)), found


@pytest.mark.usefixtures("october")
@pytest.mark.parametrize(("price", "waits"), [("49990", False), ("49991", True)])
def test_a_dialog_counts_what_the_person_has_entered_before(
    board: Board, database: Database, price: str, *, waits: bool
) -> None:
    """The run of a person is asked the same question, and its answer is the same."""
    operate(database, "extra_line", values=LINE | {"line_price": "10"}, triggered_by="admin")
    values = LINE | {"line_text": "追加", "line_price": price}
    fragment = board.post(
        "/operations/operate_invoices/extra_line/changes", {"tenants": "CODE-A"} | values
    ).text
    operate(database, "extra_line", values=values, triggered_by="admin")
    with database.connect() as host:
        entered = host.execute(
            "SELECT waits FROM batch.extra_charge ORDER BY unit_amount DESC LIMIT 1"
        ).fetchall()
    assert ("承認を待ちます" in fragment, entered) == (waits, [(waits,)])


def test_a_correction_says_only_what_differs(board: Board, october: dict[str, str]) -> None:
    due_on = str(datetime.now(JAPAN).date() + timedelta(days=30))
    typed = {"recipient_name": "株式会社アオバ", "line_texts=1": "利用料（訂正）", "due_on": due_on}
    assert _typed(board, "correct", **october) == []
    assert _typed(board, "correct", **october, **typed, recipient_department="-") == [
        "CODE-A INV-2026-10-001 宛名: A → 株式会社アオバ",
        "CODE-A INV-2026-10-001 明細の内容 1: ベーシックプラン 基本料金 → 利用料（訂正）",
        f"CODE-A INV-2026-10-001 支払期限: 2026-11-30 → {due_on}",
    ]
    assert "指定した内容のとおりです" in _typed(board, "correct", **october, recipient_name="A")[0]


def test_the_figures_are_for_those_who_may_see_them_elsewhere(
    board: Board, october: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/operations/operate_invoices/credit/changes"
    assert board.as_role("viewer").post(path, october).status_code == 403
    monkeypatch.setattr(Rights, "_may", lambda _, dag_id, *__: dag_id != TENANT_BILLING.dag_id)
    assert not _typed(board, "credit", **october)


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        (
            "set_profile",
            {"recipient_name": "A 商事", "department": "経理部", "email": "keiri@customer.example"},
            "CODE-A 宛名: A（アプリの値） → A 商事 部署: — → 経理部",
        ),
        ("set_discount", DISCOUNT, "CODE-A 変わる値はありません。"),
        ("set_discount", DISCOUNT | {"value": "20"}, "CODE-A 割引の名前: 長期 初日: 2026-10-01 値: 10 → 20"),
        (
            "set_discount",
            DISCOUNT | {"discount_name": "新"},
            "CODE-A 新しく登録: 割引の名前: 新 種類: 率（%） 値: 10 初日: 2026-10-01",
        ),
        (
            "set_discount",
            DISCOUNT | {"valid_from": DAY},
            "CODE-A 割引（割引の名前 長期、初日 2026-11-01）の期間が",
        ),
        ("set_plan", {"plan": "PRO", "plan_from": DAY}, "CODE-A 新しく登録: プラン: PRO 初日: 2026-11-01"),
        (
            "set_rate",
            {"currency": "usd", "rate_date": DAY, "yen_per_unit": "151.5"},
            "日付: 2026-11-01 1 単位の円: 150 → 151.5",
        ),
        ("end", ENDED | {"last_day": DAY}, "CODE-A 割引の名前: 長期 初日: 2026-10-01 末日: — → 2026-11-01"),
        (
            "end",
            ENDED | {"last_day": "2026-09-30"},
            "CODE-A なくなる登録: 割引の名前: 長期 種類: 率（%） 値: 10 初日: 2026-10-01",
        ),
        ("add_payer", {"payer_name": "ｶ)ｱｵﾊﾞ"}, "CODE-A 新しく登録: 振込名義: ｶ)ｱｵﾊﾞ"),
        ("add_payer", {}, ""),
    ],
)
def test_the_dialog_says_what_changes_of_a_contract(
    board: Board, host: psycopg.Connection, name: str, fields: dict[str, str], said: str
) -> None:
    customer(host, "A", tenant_code="CODE-A")
    billing_profile(host, "A", email="keiri@customer.example")
    discount(host, "A", name="長期", value=10, valid_from=MONTH)
    exchange_rate(host, date(2026, 11, 1), "150")
    of = {} if name == "set_rate" else {"tenants": "CODE-A"}
    changes = _typed(board, name, "operate_contracts", **of, **fields)
    assert len(changes) == bool(said)
    assert "".join(changes).startswith(said)
