"""通知: sent messages, kinds and subjects, and the search by an exact address."""

from __future__ import annotations

import psycopg
import pytest

from tests.board.conftest import Board
from tests.worlds.board_messages import message

pytestmark = pytest.mark.tenants("A", "B", tenant_code="CODE-{}", tenant_name="会社 {}")

ADDRESS = "hanako.sato@customer.example"


@pytest.fixture(autouse=True)
def messages(host: psycopg.Connection) -> None:
    """A mail to the address for each tenant, and one to another address."""
    for message_id, tenant_id, address, status in (
        ("m-a", "A", ADDRESS, "sent"),
        ("m-b", "B", ADDRESS.upper(), "dead"),
        ("m-c", "A", f"x{ADDRESS}", "sent"),
    ):
        message(host, message_id)
        host.execute(
            """
            UPDATE batch.outbox
            SET tenant_id = %s, destination = %s, status = %s, finished_at = now(), template_key = 'invoice', subject = %s,
                channel = 'email'
            WHERE message_id = %s
            """,
            [tenant_id, address, status, f"件名 {message_id}", message_id],
        )


def search(board: Board, address: str) -> str:
    answer = board.post("/messages/to", {"address": address})
    assert answer.status_code == 200, answer.text
    return answer.text


def test_an_exact_address_finds_its_messages_of_all_tenants(board: Board) -> None:
    found = search(board, f" {ADDRESS.title()} ")
    assert ["/messages/m-a" in found, "/messages/m-b" in found, "/messages/m-c" in found] == [
        True,
        True,
        False,
    ]
    assert all(shown in found for shown in ("CODE-A", "CODE-B", "請求書", "件名 m-a"))
    assert "この宛先への通知はありません" in search(board, "other@customer.example")
    for part in ("hanako.sato", "h***@customer.example", "%"):
        assert "全体を入力してください" in search(board, part)


def test_the_audit_log_has_who_searched_and_not_for_whom(board: Board) -> None:
    search(board, ADDRESS)
    entries = board.api(
        "GET", "/eventLogs", params={"event": "skill_batch_message_search", "order_by": "-when", "limit": 1}
    ).json()["event_logs"]
    assert [entry["owner"] for entry in entries] == ["admin"]
    everything = board.api("GET", "/eventLogs", params={"limit": 100, "order_by": "-when"}).text
    assert "hanako" not in everything.lower()


def test_only_who_may_operate_on_messages_searches_and_sees_subjects(board: Board) -> None:
    viewer = board.as_role("viewer")
    assert viewer.post("/messages/to", {"address": ADDRESS}).status_code == 403
    assert board.get("/messages/to").status_code == 404
    for reader, sees in ((board, True), (viewer, False)):
        text = reader.get("/messages?state=sent&tenant=CODE-A").text
        assert ("件名 m-a" in text) is sees
        assert "請求書" in text
        assert ADDRESS not in text


def test_sent_messages_are_those_of_a_tenant(board: Board) -> None:
    listed = board.get("/messages?state=sent&tenant=CODE-A").text
    assert ["/messages/m-a" in listed, "/messages/m-c" in listed, "/messages/m-b" in listed] == [
        True,
        True,
        False,
    ]
    assert 'name="messages"' not in listed or "再送" not in listed.split("通知の一覧")[1]
    assert "テナントコードを入れると出ます" in board.get("/messages?state=sent").text


def test_a_messages_way_is_a_line(board: Board) -> None:
    way = board.get("/messages/m-b").text.partition('<ol class="way">')[2].partition("</ol>")[0]
    assert [each in way for each in ("登録", "予定", "送信できず")] == [True, True, True]
