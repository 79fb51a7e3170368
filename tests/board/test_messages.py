"""通知: what waits and what did not arrive, without texts and addresses for those who may not operate on it."""

from __future__ import annotations

import re
from contextlib import ExitStack
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board import contents
from tests.board.conftest import Board
from tests.worlds.billing_rows import insert
from tests.worlds.board_messages import ADDRESS, TEXT, close_channel, message, open_resumption, suppress
from tests.worlds.host_rows import share_codes, tenant

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}")

REASON = {"reason": "宛先を直したため"}


def test_the_queues_count_what_waits_and_what_did_not_arrive(board: Board, host: psycopg.Connection) -> None:
    message(host, "m1")
    message(host, "m2", "ambiguous")
    message(host, "m3", "pending")
    message(host, "m4", "sent")
    text = board.get("/messages").text
    assert "state=dead" in text
    assert "state=pending" in text
    assert "state=sent" not in text
    assert "<summary>保留（届いたか不明） 1、送信できず 1、送信待ち 1</summary>" in text
    assert [text.count(f'<span class="badge {level}">') for level in ("bad", "warn", "busy")] == [2, 2, 1]
    # The list shows what needs a person.
    assert 'value="m1"' in text
    assert 'value="m2"' in text
    assert 'value="m3"' not in text


def test_neither_texts_nor_addresses_are_on_the_pages_of_a_reader(
    board: Board, host: psycopg.Connection
) -> None:
    message(host, "m1")
    suppress(host)
    host.execute(
        "INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason) VALUES ('A', 'slack', 'token_revoked', '無効')"
    )
    viewer = board.as_role("viewer")
    for path in ("/messages", "/messages/m1"):
        text = viewer.get(path).text
        assert TEXT not in text
        assert ADDRESS not in text
        assert "h***@kaisha.example" in text
        assert "hx-get" not in text
    assert "無効" in viewer.get("/messages").text


def test_the_text_and_the_address_are_shown_to_who_may_operate(
    board: Board, host: psycopg.Connection
) -> None:
    message(host, "m1")
    text = board.as_role("user").get("/messages/m1").text
    assert TEXT in text
    assert ADDRESS in text


def test_a_webhooks_address_is_never_shown(board: Board, host: psycopg.Connection) -> None:
    message(
        host,
        "m1",
        channel="teams",
        destination="https://prod.example/workflows/SECRET?sig=SECRET",
        error_detail=None,
    )
    text = board.get("/messages/m1").text
    assert "SECRET" not in text
    assert "prod.example" in text


def test_without_the_platforms_connection_the_page_says_why_there_is_no_text(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    message(host, "m1")
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB")
    answer = board.get("/messages/m1")
    assert answer.status_code == 200
    assert "接続 &#39;skill_batch_platform_db&#39; があるときだけ" in answer.text


def test_a_quota_of_the_day_shows_when_it_ends(board: Board, host: psycopg.Connection) -> None:
    host.execute(
        """
        INSERT INTO batch.service_limit (limit_key, at_once, learnt_at, blocked_until)
        SELECT limit_key, 4, now(), date_trunc('day', now() + interval '1 day', 'Asia/Tokyo') + after
        FROM (VALUES ('line_works:day', interval '1 second'), ('slack:minute', interval '2 minutes')) AS known (limit_key, after)
        """
    )

    page = board.get("/messages").text

    said = "1 日の送信数の上限に達しました"
    assert page.count(said) == 1
    assert re.search(rf"<code>line_works:day</code><br>{said}</td><td>[^<]* 00:00</td>", page)


def test_messages_that_wait_after_a_pause_link_to_their_request(
    board: Board, host: psycopg.Connection
) -> None:
    for number, deferred_for in enumerate(["BATCH-019-01", "BATCH-019-01", None]):
        message(host, f"m{number}", "pending")
        host.execute(
            "UPDATE batch.outbox SET deferred_for = %s WHERE message_id = %s", [deferred_for, f"m{number}"]
        )
    open_resumption(host)
    with board.living_run("approve_resumption", "run+1"):
        text = words_of(board.as_role("viewer").get("/messages").text)
    assert "再開の承認: BATCH-019-01 の通知 2 件を、まだ送っていません。 2 週間止まっていました" in text
    assert 'href="/dags/approve_resumption/runs/run%2B1/required_actions"' in text
    host.execute("UPDATE batch.approval_request SET closed_at = now(), close_reason = 'answered'")
    assert "再開の承認" not in board.get("/messages").text


def test_the_list_is_filtered_by_tenant_channel_state_and_error(
    board: Board, host: psycopg.Connection
) -> None:
    message(host, "m-a")
    message(host, "m-b", tenant_id="B")
    message(host, "m-slack", channel="slack", destination="C1", error_code="channel_not_found")
    for query, found in (
        ({"tenant": "CODE-B"}, {"m-b"}),
        ({"tenant": "B"}, {"m-b"}),
        ({"tenant": "NOBODY"}, set()),
        ({"channel": "slack"}, {"m-slack"}),
        ({"error": "channel_not_found"}, {"m-slack"}),
        ({"state": "expired"}, set()),
    ):
        text = board.get("/messages", params=query).text
        assert {each for each in ("m-a", "m-b", "m-slack") if f'value="{each}"' in text} == found, query
    assert board.get("/messages", params={"channel": "pigeon"}).status_code == 400
    assert board.get("/messages", params={"after_at": "yesterday"}).status_code == 400


def test_the_list_has_pages(board: Board, host: psycopg.Connection) -> None:
    for number in range(30):
        message(host, f"m{number:02}")
    first = board.get("/messages").text
    assert first.count('name="messages"') == 20
    link = first.split('">次の 20 件')[0].rpartition('href="')[2].replace("&amp;", "&")
    second = board.get(link.removeprefix("/skill-batch-board")).text
    assert second.count('name="messages"') == 10
    assert 'value="m00"' not in second


def test_resending_names_the_messages_tenants_so_that_no_other_tenant_is_touched(
    board: Board, host: psycopg.Connection
) -> None:
    message(host, "m1")
    message(host, "m2", tenant_id="B")
    dialog = board.get("/operations/operate_notifications/resend", params={"messages": "m2"}).text
    assert "対象（1 件）" in dialog
    assert "CODE-B メール 送信できず" in words_of(dialog)
    assert '<input type="text" name="reason" value="" required autofocus>' in dialog
    board.as_role("user").press("/operations/operate_notifications/resend", {"messages": "m2", **REASON})
    assert newest_conf(board) == {
        "operation": "resend",
        "messages": ["m2"],
        "tenants": ["CODE-B"],
        "shown": ["m2"],
        **REASON,
    }


def test_a_suppression_is_lifted_by_its_id_and_by_no_forged_one(
    board: Board, host: psycopg.Connection
) -> None:
    suppress(host)
    user = board.as_role("user")
    link = user.get("/messages").text.split("/suppressions/")[1].split('"')[0]
    asked = user.get(f"/suppressions/{link}").text
    assert ADDRESS in asked
    assert '<input type="text" name="reason" value="" required autofocus>' in asked
    assert user.post(f"/suppressions/{link}", REASON).status_code == 200
    assert newest_conf(board) == {
        "operation": "lift",
        "tenants": ["CODE-A"],
        "addresses": [ADDRESS],
        "shown": ["テナント A"],
        **REASON,
    }
    assert board.as_role("viewer").get(f"/suppressions/{link}").status_code == 403
    assert user.get(f"/suppressions/{'0' * 64}").status_code == 404
    assert user.get("/messages/no-such-message").status_code == 404


def test_no_suppression_is_lifted_without_a_reason(board: Board, host: psycopg.Connection) -> None:
    suppress(host)
    link = board.get("/messages").text.split("/suppressions/")[1].split('"')[0]
    before = runs_of(board)
    for values, problem in (
        ({}, "操作「送信を止めた宛先の再開」には「理由」（reason）が必要です"),
        ({"reason": " \u3000"}, "「理由」（reason）が必要です"),
        ({"reason": "x" * 3_000}, "「理由」が長すぎます"),
    ):
        answer = board.post(f"/suppressions/{link}", values)
        assert answer.status_code == 422
        assert problem in answer.text
        # The dialog keeps what was written.
        assert f'name="reason" value="{values.get("reason", "")}" required' in answer.text
    refused = board.as_role("viewer").post(f"/suppressions/{link}", {})
    assert (refused.status_code, ADDRESS in refused.text) == (403, False)
    assert runs_of(board) == before


def runs_of(board: Board) -> Any:
    """The runs of operate_notifications, newest first."""
    newest = board.api("GET", "/dags/operate_notifications/dagRuns", params={"order_by": "-run_after"})
    return newest.json()["dag_runs"]


def newest_conf(board: Board) -> Any:
    """The form of the newest run of operate_notifications."""
    return runs_of(board)[0]["conf"]


def words_of(text: str) -> str:
    return " ".join(re.sub("</?(bdi|span)[^>]*>", "", text).split())


def test_reopening_lists_all_closed_channels_of_the_tenant(board: Board, host: psycopg.Connection) -> None:
    close_channel(host, "A", "slack", "トークンの取り消し")
    close_channel(host, "A", "teams", "<b>停止</b>")
    close_channel(host, "B", "slack", "他社の理由")
    assert "/operate_notifications/reopen?tenants=CODE-A" in board.get("/messages").text
    path = "/operations/operate_notifications/reopen"
    dialog = words_of(board.get(path, params={"tenants": "CODE-A"}).text)
    assert "停止中のチャネルを再開" in dialog
    assert "対象（2 件）" in dialog
    assert "CODE-A Slack トークンの取り消し" in dialog
    assert "CODE-A Teams &lt;b&gt;停止&lt;/b&gt;" in dialog
    assert "他社の理由" not in dialog
    emptied = board.post(path, {"tenants": " ", **REASON})
    assert emptied.status_code == 422
    assert "「テナントコード」（tenants）が必要です" in emptied.text


def test_a_dialog_counts_all_chosen_messages(board: Board, host: psycopg.Connection) -> None:
    ids = [message(host, f"m{number:03}") for number in range(53)]
    dialog = board.get("/operations/operate_notifications/discard", params={"messages": ids}).text
    assert "対象（53 件）" in dialog
    assert "ほか 3 件" in dialog
    assert dialog.count("<li>") == 50


def test_stopping_all_reminders_says_so_and_a_code_precedes_an_id(
    board: Board, host: psycopg.Connection
) -> None:
    # Its code is the id of A.
    tenant(host, "C", tenant_code="A", tenant_name="会社 C")
    for tenant_id, months in (("A", (9,)), ("C", (9, 10))):
        for month in months:
            invoice(host, tenant_id, month)
    path = "/operations/operate_invoices/stop_reminders"
    one = words_of(board.get(path, params={"tenants": "A", "business_date": "2026-10-01"}).text)
    assert "対象（1 件）" in one
    assert "INV-C-10 ✓ 確定 100 JPY" in " ".join(re.sub("<[^>]+>", " ", one).split())
    both = words_of(board.get(path, params={"tenants": "A", "every_month": "on"}).text)
    assert "対象（1 件）" in both
    assert "A 会社 C すべての請求書（未入金 2 件）" in both
    # The application has deleted this tenant.
    invoice(host, "vanished", 10)
    former = board.get(path, params={"tenants": ["vanished", "TYPO"], "every_month": "on"}).text
    assert "対象（1 件）" in former
    assert "vanished すべての請求書（未入金 1 件）" in words_of(former)


def invoice(host: psycopg.Connection, tenant_id: str, month: int) -> None:
    insert(
        host,
        "invoice",
        invoice_id=f"{tenant_id}-{month}",
        tenant_id=tenant_id,
        kind="invoice",
        period_start=date(2026, month, 1),
        period_end=date(2026, month, 28),
        currency="JPY",
        total=100,
        content=Jsonb({}),
        inputs=Jsonb({}),
        input_hash="x",
        execution_id="e",
        status="finalized",
        number=f"INV-{tenant_id}-{month}",
        issued_on=date(2026, 11, 1),
        accrued_on=date(2026, month, 28),
        booked_on=date(2026, month, 28),
        finalized_at="2026-11-01T00:00+09:00",
    )


def test_a_link_by_id_and_a_code_show_no_other_tenants_messages(
    board: Board, host: psycopg.Connection
) -> None:
    tenant(host, "C", tenant_code="A")
    message(host, "m-a")
    message(host, "m-c", tenant_id="C")
    for query, found in (({"tenant": "A"}, {"m-c"}), ({"tenant_id": "A"}, {"m-a"})):
        text = board.get("/messages", params=query).text
        assert {each for each in ("m-a", "m-c") if f'value="{each}"' in text} == found, query
    assert "テナント ID A の通知だけ" in board.get("/messages", params={"tenant_id": "A"}).text
    assert 'name="tenant_id" value="A"' in board.get("/messages", params={"tenant_id": "A"}).text
    # The reader's input replaces the tenant of the link.
    entered = board.get("/messages", params={"tenant": "CODE-B", "tenant_id": "A"}).text
    assert "m-a" not in entered


@pytest.mark.own_database
def test_operations_name_the_id_if_several_tenants_share_the_code(
    board: Board, host: psycopg.Connection
) -> None:
    share_codes(host)
    tenant(host, "twin", tenant_code="CODE-A")
    message(host, "m1", tenant_id="twin")
    close_channel(host, "twin", "slack", "無効")
    suppress(host, "twin")
    text = board.get("/messages").text
    assert "reopen?tenants=twin" in text
    board.press("/operations/operate_notifications/resend", {"messages": "m1", **REASON})
    assert newest_conf(board)["tenants"] == ["twin"]
    suppression = text.split("/suppressions/")[1].split('"')[0]
    board.post(f"/suppressions/{suppression}", REASON)
    assert newest_conf(board)["tenants"] == ["twin"]


def test_messages_to_people_who_want_none_need_no_decision(board: Board, host: psycopg.Connection) -> None:
    message(host, "m-dead")
    suppress(host, reason="unsubscribe")
    message(host, "m-muted", error_code="suppressed")
    suppress(host, address="gone@kaisha.example")
    message(host, "m-bounced", error_code="suppressed", destination="Gone@kaisha.example")
    text = board.get("/messages").text
    assert 'value="m-dead"' in text
    assert 'value="m-bounced"' in text
    assert 'value="m-muted"' not in text
    assert 'value="m-muted"' in board.get("/messages?state=dead").text
    assert "届かなかった通知 2<" in board.get("/tenants?q=CODE-A").text


def test_a_list_of_addresses_that_is_cut_says_so(board: Board, host: psycopg.Connection) -> None:
    host.execute("""
        INSERT INTO batch.suppressed_address (tenant_id, address, error_code)
        SELECT 'A', 'a' || number || '@example.jp', '5.1.1' FROM generate_series(1, 210) AS listed (number)
    """)
    assert "210 件のうち 200 件を表示しています" in board.get("/messages").text


def test_waiting_messages_are_listed_with_those_that_wait_for_a_retry(
    board: Board, host: psycopg.Connection
) -> None:
    for status in ("pending", "retry", "dead"):
        message(host, f"m-{status}", status)
    text = board.get("/messages?state=waiting").text
    assert [f'value="m-{status}"' in text for status in ("pending", "retry", "dead")] == [True, True, False]


def test_the_messages_of_a_tenant_that_has_left_are_decided_about(
    board: Board, host: psycopg.Connection
) -> None:
    tenant(host, "X", status="SUSPENDED")
    message(host, "m-x", tenant_id="X")
    close_channel(host, "X", "slack", "無効")
    suppress(host, "X")
    text = board.get("/messages").text
    assert 'value="m-x"' in text
    assert "/reopen" in text
    assert "/suppressions/" in text
    board.press("/operations/operate_notifications/resend", {"messages": "m-x", **REASON})
    assert newest_conf(board)["tenants"] == ["X"]


@pytest.mark.parametrize(
    "refusal", [pytest.param("同じコード", marks=pytest.mark.own_database), "アプリにない"]
)
def test_a_row_that_no_operation_accepts_has_no_button(
    board: Board, host: psycopg.Connection, refusal: str
) -> None:
    if refusal == "同じコード":
        share_codes(host)
        for tenant_id in ("X", "X2", "X3"):
            tenant(host, tenant_id, tenant_code="CODE-A" if tenant_id == "X" else "X")
    message(host, "m-ok")
    message(host, "m-x", tenant_id="X")
    close_channel(host, "X", "slack", "無効")
    suppress(host, "X")
    text = board.get("/messages").text
    assert "m-x" in text
    assert 'value="m-ok"' in text
    assert 'value="m-x"' not in text
    assert "/reopen" not in text
    assert "/suppressions/" not in text
    assert text.count(f"‖ {refusal}") == 3
    page = board.get("/messages/m-x").text
    assert f"‖ {refusal}" in page
    assert "/resend" not in page
    answer = board.press("/operations/operate_notifications/resend", {"messages": "m-x\nm-ok", **REASON})
    assert answer.status_code == 422
    assert refusal in answer.text
    with host.execute("SELECT suppression_id FROM batch.board_suppressed_address") as rows:
        (suppression_id,) = rows.fetchone() or ("",)
    assert board.post(f"/suppressions/{suppression_id}", {}).status_code == 409


def test_contents_are_read_by_at_most_two_pages_at_a_time(
    board: Board, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    message(host, "m1")
    suppress(host)
    suppression = board.get("/messages").text.split("/suppressions/")[1].split('"')[0]
    monkeypatch.setattr(contents, "_WAIT_SECONDS", 0.0)
    with ExitStack() as others:
        for _ in range(contents.MOST_CONNECTIONS):
            others.enter_context(contents._platform())
        text = board.get("/messages/m1").text
        assert "本文と宛先を読む接続がすべて使われています" in text
        assert TEXT not in text
        assert board.get(f"/suppressions/{suppression}").status_code == 503
    assert TEXT in board.get("/messages/m1").text


def stop(host: psycopg.Connection, tenant_id: str, *still_sent: str) -> None:
    host.execute(
        "INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by, entered_at)"
        " VALUES (%s, %s, '移行中のため', 'sato', '2026-11-20T10:00+09:00')",
        [tenant_id, list(still_sent)],
    )


def test_a_stop_is_shown_with_who_when_why_and_what_waits(board: Board, host: psycopg.Connection) -> None:
    message(host, "m1", "pending", finished_at=None)
    message(host, "m2", "pending", finished_at=None, tenant_id="B")
    stop(host, "A", "invoice")
    resume = "operations/operate_notifications/resume?tenants=CODE-A"
    for path in ("/messages?state=pending", "/tenants/A"):
        text = board.get(path).text
        assert re.search(r"移行中のため.*sato.*11-20 10:00.*待っている通知 1 件", text, re.DOTALL), path
        assert resume in text
        assert resume not in board.as_role("viewer").get(path).text
    listed = board.get("/messages?state=pending").text
    assert listed.count("‖ 停止中") == 1
    assert "通知を停止中" in board.get("/tenants").text
    assert "operate_notifications/stop?tenants=CODE-A" not in board.get("/tenants/A").text
    assert "operate_notifications/stop?tenants=CODE-B" in board.get("/tenants/B").text


def test_the_dialog_of_a_stop_says_how_many_messages_wait(board: Board, host: psycopg.Connection) -> None:
    message(host, "m1", "pending", finished_at=None)
    message(host, "m2", "retry", finished_at=None)
    host.execute("UPDATE batch.outbox SET template_key = 'invoice' WHERE message_id = 'm2'")

    dialog = board.get("/operations/operate_notifications/stop?tenants=CODE-A").text

    assert "待っている通知 2 件（うち契約の通知 1 件）" in dialog
    assert 'name="contract_letters"' in dialog
    host.execute("UPDATE batch.outbox SET template_key = 'invoice'")
    # Nothing but letters that the stop lets pass.
    stop(host, "A", "invoice")
    assert "待っている通知 0 件" in board.get("/tenants/A").text
