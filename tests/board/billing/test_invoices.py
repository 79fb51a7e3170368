"""請求: the month's documents and sums, held invoices with their buttons, and one document with all that belongs to it."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from urllib.parse import quote

import psycopg
import pytest

from skill_batch.board.access import Rights
from skill_batch.board.pages.invoice import load_invoice
from skill_batch.board.pages.invoices import load_month, possible_actions
from skill_batch.board.rendering import moment, told
from skill_batch.board.runs import next_start, sending_at
from include.skillreport.billing.pricing.consumption_tax import TaxCategory
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from tests.board.billing.conftest import ACCOUNTANT, ADDRESS, number_of
from tests.board.conftest import Board
from tests.worlds.accounting_rows import rows
from tests.worlds.billing_rows import FIRST_OF_NOVEMBER, MONTH, insert

OCTOBER = "/invoices?month=2026-10"


def test_the_documents_are_counted_by_state(reader: psycopg.Connection) -> None:
    states = {
        (row["state"], row["currency"]): row["documents"] for row in load_month(reader, MONTH, MONTH).states
    }
    assert states == {
        ("held", "JPY"): 2,
        ("draft", "JPY"): 1,
        ("finalized", "JPY"): 8,
        ("finalized", "USD"): 1,
        ("credit_note", "JPY"): 2,
        ("credited", "JPY"): 1,
        ("void", "JPY"): 2,
    }


def test_the_findings_of_a_month_are_on_its_page_and_run(board: Board, reader: psycopg.Connection) -> None:
    (run,) = load_month(reader, MONTH, MONTH).checks
    title, *lines = run["lines"]
    assert title == "請求の確認事項（2026-10 分の実行）"
    assert lines[0].startswith("■ ")
    assert load_month(reader, date(2025, 1, 1), MONTH).checks == []
    page = f"/runs/{run['dag_id']}/{run['run_id']}"
    for text in (board.get(OCTOBER).text, board.get(page).text):
        assert all(f"<li>{told(line)}</li>" in text for line in lines)
    assert quote(page) in board.get(OCTOBER).text


def test_the_sums_by_tax_rate_are_those_of_the_accountants_files(
    reader: psycopg.Connection, store: ObjectStore
) -> None:
    columns = ("税抜金額", "消費税額", "税込金額", "消費税額（円）")
    expected: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(columns))
    for row in (*rows(store, "2026-10"), *rows(store, "2026-11")):
        if row["対象期間開始"] == "2026-10-01" and row["種別"] not in ("入金", "返金"):
            key = (row["通貨"], f"{row['税区分']}")
            expected[key] = [
                total + Decimal(row[column]) for total, column in zip(expected[key], columns, strict=True)
            ]
    shown = {
        (row["currency"], f"{TaxCategory(row['category']).label}{row['rate_percent']:f}%"): [
            row["net"],
            row["tax"],
            row["gross"],
            row["yen_tax"],
        ]
        for row in load_month(reader, MONTH, MONTH).taxes
    }
    assert shown == expected
    assert {currency for currency, _ in shown} == {"JPY", "USD"}


def test_the_list_says_whether_an_invoice_is_paid(board: Board, reader: psycopg.Connection) -> None:
    def of_tenants(today: date) -> dict[str, tuple[bool, bool]]:
        listed = load_month(reader, MONTH, today).documents
        return {
            row["tenant_id"]: (row["receivable"] > 0, row["is_overdue"])
            for row in listed
            if row["state"] == "finalized" and row["kind"] == "invoice"
        }

    first, later = of_tenants(MONTH), of_tenants(date(2027, 6, 1))
    assert [first[each] for each in ("PAID", "PARTLY")] == [(False, False), (True, False)]
    assert [later[each] for each in ("PAID", "PARTLY")] == [(False, False), (True, True)]
    text = board.get(OCTOBER).text
    assert ">入金済み</span>" in text
    assert ">過入金</span>" in text or ">未入金</span>" in text


def test_a_held_invoice_shows_both_months_and_the_reason(board: Board, reader: psycopg.Connection) -> None:
    first, second = load_month(reader, MONTH, MONTH).held
    assert (first.row["tenant_code"], second.row["tenant_code"]) == ("B", "HD001")
    assert second.row["previous_total"] == 11_000
    assert second.change == second.row["total"] - 11_000
    assert second.row["is_asked"]
    text = board.get(OCTOBER).text
    assert "11,000 JPY" in text
    assert f"{second.row['total']:,f} JPY" in text
    assert f"<td>{told(second.row['hold_reason'])}</td>" in text


def test_the_open_request_shows_outdated_items_and_links_to_airflow(
    board: Board, reader: psycopg.Connection
) -> None:
    (request,) = load_month(reader, MONTH, MONTH).requests
    assert (request["items"], request["outdated"]) == (2, 1)
    with board.living_run("approve_invoices", request["run_id"]):
        text = board.as_role("viewer").get(OCTOBER).text
    assert f"/dags/approve_invoices/runs/{request['run_id']}/required_actions" in text.replace("%3A", ":")
    assert "承認の画面を開く" in text


def test_each_button_is_shown_only_where_the_state_allows_it(
    reader: psycopg.Connection, ids: dict[str, str]
) -> None:
    letter = ["stop_letter", "send_letter"]
    final = ["explain", "record_payment", "correct", "part_credit", "credit", "reissue", "void", *letter]
    final.append("write_off")
    expected = {
        "B": ["explain", "approve", "void"],
        "EMOJI": ["explain", "void"],
        "USD": final,
        "PAID": ["explain", "correct", "part_credit", "credit", *letter],
        # Its letter did not arrive.
        "PARTLY": [
            *("explain", "record_payment", "correct", "part_credit", "credit"),
            *("fee_difference", "write_off"),
        ],
        "PART": ["explain", "record_payment", "correct", "part_credit", "credit", *letter, "write_off"],
        "VOID": ["bill_again"],
        "CREDIT": ["bill_again"],
    }
    for tenant_id, names in expected.items():
        page = load_invoice(reader, ids[tenant_id], FIRST_OF_NOVEMBER)
        assert page is not None
        assert possible_actions(page.row) == names, tenant_id
        (listed,) = [
            row for row in load_month(reader, MONTH, MONTH).documents if row["invoice_id"] == ids[tenant_id]
        ]
        assert possible_actions(listed) == names, tenant_id


def test_the_state_of_each_letter_is_shown(board: Board, ids: dict[str, str]) -> None:
    month = board.get(OCTOBER).text.split("請求の一覧")[1]
    # With more columns, a screen of 1,400 pixels cuts the last ones.
    assert month.split("</thead>")[0].count("<th>") + month.split("</thead>")[0].count('<th class="n">') == 6
    # The day of the letter is past, so the next run sends it.
    planned = f"{moment(next_start(SCHEDULED_NOTIFICATIONS, datetime.now(UTC)))} に送付予定"
    for text in (planned, "✕ 送信できず", "取り下げ"):
        assert text in month, text
    for tenant_id, text in {
        "PAID": planned,
        "PARTLY": "✕ 送信できず",
        "VOID": "取り下げ",
    }.items():
        facts = board.get(f"/invoices/{ids[tenant_id]}").text.split("発行 / 送付 / 期限")[1].split("</dd>")[0]
        assert text in facts, tenant_id


def test_a_letter_is_sent_by_the_first_run_from_its_day_on() -> None:
    early, late = (datetime(2026, 11, 2, hour, tzinfo=JAPAN) for hour in (8, 10))
    for day, now, sent in (
        (date(2026, 11, 2), early - timedelta(days=9), datetime(2026, 11, 2, 9, tzinfo=JAPAN)),
        (date(2026, 11, 1), early, datetime(2026, 11, 2, 9, tzinfo=JAPAN)),
        (date(2026, 11, 2), late, datetime(2026, 11, 3, 9, tzinfo=JAPAN)),
    ):
        assert sending_at(day, now) == sent


def test_the_chosen_held_invoices_are_approved_in_one_run(board: Board) -> None:
    user = board.as_role("user")
    assert user.get(OCTOBER).text.count('name="tenants"') == 2
    chosen = {"tenants": ["HD001", "B"], "business_date": "2026-10-01"}
    dialog = user.get("/operations/operate_invoices/approve", params=chosen).text
    assert "対象（2 件）" in dialog
    user.press("/operations/operate_invoices/approve", {"tenants": "HD001\nB", "business_date": "2026-10-01"})
    newest = board.api("GET", "/dags/operate_invoices/dagRuns", params={"order_by": "-run_after"})
    assert newest.json()["dag_runs"][0]["conf"] == {
        "operation": "approve",
        "tenants": ["HD001", "B"],
        "business_date": "2026-10-01",
        "shown": ["テナント A: 番号なし 17,050 JPY", "テナント B: 番号なし 17,050 JPY"],
    }


def test_readers_get_no_buttons_and_users_without_permission_get_no_invoices(
    board: Board, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = board.as_role("viewer")
    paid = ids["PAID"]
    for path in (OCTOBER, f"/invoices/{paid}", "/receivables"):
        assert "/operations/" in board.get(path).text
        assert "/operations/" not in viewer.get(path).text
    monkeypatch.setattr(Rights, "may_read", lambda _, dag_id: dag_id != "batch_018_02_tenant_billing")
    for path in (
        "/invoices",
        f"/invoices/{paid}",
        f"/invoices/{paid}/sheets",
        f"/invoices/{paid}/page/1.png",
        f"/invoices/{paid}/file",
        "/documents",
        "/documents.csv",
        "/receivables",
    ):
        assert viewer.get(path).status_code == 403, path


def test_the_list_is_filtered_by_state_and_names_why(board: Board) -> None:
    text = board.get("/invoices?month=2026-10&state=void").text.split("請求の一覧")[1]
    assert "宛名の誤り" in text
    assert "PAID" not in text
    assert "印刷できない文字" in board.get("/invoices?month=2026-10&state=draft").text
    assert "この月の請求はありません" in board.get("/invoices?month=2031-01").text
    # The last month has no documents.
    assert re.findall("<h1>.*", board.get("/invoices").text) == re.findall("<h1>.*", board.get(OCTOBER).text)
    for query in ("month=2026-13", "month=yesterday", "state=lost", "page=0", "month=２０２６-10"):
        assert board.get(f"/invoices?{query}").status_code == 400, query


def test_the_sums_by_tax_rate_say_which_documents_they_are_of(board: Board) -> None:
    assert "対象月の書類の合計です。会計ファイルは計上日の月ごとです。" in board.get(OCTOBER).text


def test_a_final_invoice_is_final_and_not_unsent(board: Board) -> None:
    text = board.get(OCTOBER).text
    assert "確定" in text
    for word in ("未送付", "送付済み"):
        assert word not in text
    assert board.get("/invoices?month=2026-10&state=sent").status_code == 400


def test_the_list_has_pages(reader: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skill_batch.board.pages.invoices._PAGE", 10)
    first, second = (
        load_month(reader, MONTH, MONTH),
        load_month(reader, MONTH, MONTH, number=2),
    )
    assert (first.total, first.next_number, second.next_number) == (17, 2, None)
    listed = [row["invoice_id"] for page in (first, second) for row in page.documents]
    assert len(set(listed)) == 17


def test_a_document_shows_what_belongs_to_it_and_nothing_of_another_tenant(
    board: Board, ids: dict[str, str]
) -> None:
    paid = board.get(f"/invoices/{ids['PAID']}").text
    for own in (
        "PAID 商事",
        "F-PAID",
        "銀行振込",
        ACCOUNTANT,
        "取引先に確認済み",
        "確定しました",
        "基本料金",
    ):
        assert own in paid, own
    for foreign in ("F-PARTLY", "PARTLY", "値引き", "係争中"):
        assert foreign not in paid, foreign
    assert "CRN-2026-10-" in board.get(f"/invoices/{ids['CREDIT']}").text
    voided = board.get(f"/invoices/{ids['VOID']}").text
    assert "宛名の誤り" in voided
    assert "取り消した実行" in voided
    assert "係争中" in board.get(f"/invoices/{ids['STOPPED']}").text
    held = board.get(f"/invoices/{ids['B']}").text
    assert "下書きのため" in held
    assert "依頼の後に内容が変わりました" in held
    assert "承認依頼が出ていません。承認の DAG を実行してください" in held


def test_an_issued_invoice_says_what_it_does_not_have(board: Board, ids: dict[str, str]) -> None:
    def empty(name: str) -> list[str]:
        text = board.get(f"/invoices/{ids[name]}").text
        return re.findall(r"<h2>([^<]*)</h2>\s*<p class=\"muted\">記録はありません。</p>", text)

    assert empty("STOPPED") == ["入金と返金", "手数料差額と貸倒れ", "返還"]
    assert empty("PARTLY") == ["手数料差額と貸倒れ", "返還"]
    assert empty("PART") == ["入金と返金", "手数料差額と貸倒れ"]
    assert empty("B") == []  # a draft


def test_replaced_and_credited_documents_lead_to_each_other(
    reader: psycopg.Connection, host: psycopg.Connection, ids: dict[str, str]
) -> None:
    old = load_invoice(reader, ids["AGAIN"], FIRST_OF_NOVEMBER)
    assert old is not None
    (new,) = old.replacing
    page = load_invoice(reader, new["invoice_id"], FIRST_OF_NOVEMBER)
    assert page is not None
    assert page.replaced is not None
    assert page.replaced["invoice_id"] == ids["AGAIN"]
    part = load_invoice(reader, ids["PART"], FIRST_OF_NOVEMBER)
    assert part is not None
    (credit,) = part.credits
    note = load_invoice(reader, credit["invoice_id"], FIRST_OF_NOVEMBER)
    assert note is not None
    assert note.row["original_number"] == number_of(host, ids["PART"])
    assert part.receivable == part.row["total"] + credit["total"]


def test_letters_and_reminders_are_shown_without_addresses(
    board: Board, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/invoices/{ids['PARTLY']}"
    text = board.get(path).text
    assert "k***@partly.example" in text
    assert ADDRESS not in text
    assert "mailbox_unavailable" in text
    assert "期限の 7 日後の督促" in text
    monkeypatch.setattr(Rights, "may_read", lambda _, dag_id: dag_id == "batch_018_02_tenant_billing")
    restricted = board.get(path).text
    assert "mailbox_unavailable" not in restricted
    assert "承認の依頼と回答" not in board.get(f"/invoices/{ids['PAID']}").text
    assert "承認の画面を開く" not in board.get(OCTOBER).text


def test_an_invoices_page_has_the_copies_of_its_letters(
    host: psycopg.Connection, ids: dict[str, str]
) -> None:
    own = [f"{letter.format(ids['PARTLY'])}-copy-12" for letter in ("invoice-{}", "reminder-{}-7", "void-{}")]
    # A letter of another invoice, and no copy.
    others = [f"invoice-{ids['PAID']}-copy-1", f"invoice-{ids['PARTLY']}-copy-"]
    with host.transaction(force_rollback=True):
        for log_id in (*own, *others):
            insert(
                host,
                "outbox",
                message_id=log_id,
                tenant_id="PARTLY",
                dedupe_key=f"host:{log_id}",
                host_log_id=log_id,
                channel="email",
                destination=ADDRESS,
                subject="請求書",
                body="本文",
                due_at="2026-11-01T09:00+09:00",
                next_attempt_at="2026-11-01T09:00+09:00",
                created_by="run",
            )
        host.execute("SET LOCAL ROLE batch_board")
        page = load_invoice(host, ids["PARTLY"], FIRST_OF_NOVEMBER)
    assert page is not None
    assert {row["host_log_id"] for row in page.letters} == {f"invoice-{ids['PARTLY']}", *own}


def test_names_are_texts_on_every_page(board: Board, ids: dict[str, str]) -> None:
    for path in (OCTOBER, f"/invoices/{ids['EVIL']}", "/documents", "/receivables"):
        text = board.get(path).text
        assert "<script>alert" not in text, path
        assert "&lt;script&gt;alert" in text, path
