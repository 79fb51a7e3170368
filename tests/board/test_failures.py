"""Which failures are still open, for whom, and how many there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from skill_batch.board.failures import load_failures
from skill_batch.notifiers.run_links import Links, run_links
from include.skillreport.core.catalog import (
    EXTERNAL_SYNC,
    TENANT_BILLING,
    TENANT_USAGE,
)
from tests.board.conftest import Board
from tests.conftest import Database
from tests.worlds.night_rows import outcome, performance, run

pytestmark = pytest.mark.tenants("A", "B", "C", tenant_code="CODE-{}")

NO_PRICE = ("NO_PRICE", "価格がありません")


@pytest.fixture
def reader(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect("batch_board") as connection:
        yield connection


def test_dry_runs_never_push_a_failure_out_of_sight(board: Board, host: psycopg.Connection) -> None:
    run(host, TENANT_BILLING, hours_ago=30, failed={"A": NO_PRICE})
    for number in range(20):
        run(host, TENANT_BILLING, hours_ago=20 - number, succeeded=("A",), dry_run=True)
    assert "CODE-A" in "".join(
        re.findall(r'<article class="card.*?</article>', board.get("/").text, re.DOTALL)
    )


def test_many_failures_are_counted_by_reason_and_some_named(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    failed = {f"T{number:03}": ("22003", "範囲を超えました") for number in range(300)}
    execution_id = run(host, TENANT_USAGE, failed=failed | {"Z1": NO_PRICE, "Z2": NO_PRICE})
    first, second = load_failures(reader, [execution_id])[execution_id]
    assert (first.error_code, first.count, len(first.tenants), first.further) == ("22003", 300, 20, 280)
    assert (second.error_code, second.count, second.further) == ("NO_PRICE", 2, 0)


def test_a_tenant_without_a_result_is_found_beside_failed_parts_of_another(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    execution_id = run(host, EXTERNAL_SYNC, failed={"A": ("TIMEOUT", "応答なし")}, pending=("B",))
    outcome(host, execution_id, "A", "failed", part="teams", error_code="TIMEOUT", error_message="応答なし")
    codes = {
        each.code for group in load_failures(reader, [execution_id])[execution_id] for each in group.tenants
    }
    assert codes == {"CODE-A", "CODE-B"}


def test_a_tenant_that_is_run_again_is_not_called_stopped(
    host: psycopg.Connection, reader: psycopg.Connection
) -> None:
    execution_id = run(
        host, TENANT_USAGE, failed={"A": NO_PRICE}, pending=("B",), reopened_at="2026-11-26T12:00+09:00"
    )
    (group,) = load_failures(reader, [execution_id])[execution_id]
    assert [each.code for each in group.tenants] == ["CODE-A"]


def test_a_run_that_was_mended_in_the_morning_is_not_slow(board: Board, host: psycopg.Connection) -> None:
    for night in range(6):
        run(host, TENANT_USAGE, hours_ago=24 * (night + 2), minutes=10, succeeded=("A",))
    mended = run(host, TENANT_USAGE, hours_ago=9, minutes=520, failed={"A": NO_PRICE}, succeeded=("B",))
    performance(host, mended, 600)
    text = board.get("/").text
    assert 'title="通常 10:00">10:00</span>' in text
    assert "×</small>" not in text


def alert(
    host: psycopg.Connection,
    title: str,
    *,
    severity: str = "HIGH",
    hours_ago: float = 1,
    is_sent: bool = True,
    user: str | None = None,
    links: Links = (),
) -> None:
    """An alert about the billing run, by Slack."""
    message = {"title": title, "lines": [], "links": links, **({"triggering_user": user} if user else {})}
    host.execute(
        """
        INSERT INTO batch.operator_alert (alert_key, channel, severity, message, created_at, delivered_at)
        VALUES (
            'failure:batch_018_02_tenant_billing:' || %(title)s, 'slack', %(severity)s, %(message)s,
            now() - interval '1 hour' * %(hours)s, CASE WHEN %(is_sent)s THEN now() END
        )
        """,
        {
            "title": title,
            "severity": severity,
            "message": Jsonb(message),
            "hours": hours_ago,
            "is_sent": is_sent,
        },
    )


def shown_alerts(board: Board) -> tuple[list[str], list[str]]:
    """The titles of the alerts to the operators and to persons, as the page lists them."""
    (section,) = re.findall(
        r'<section aria-labelledby="alerts">.*?</section>', board.get("/").text, re.DOTALL
    )
    to_operators, _, to_persons = section.partition("<h3>")

    def titles(rows: str) -> list[str]:
        found = re.findall(r"<tr[^>]*>(?:<td>.*?</td>){2}<td>(.*?)</td>", rows)
        return [re.sub("<[^>]+>", "", title) for title in found]

    return titles(to_operators), titles(to_persons)


def test_undelivered_critical_alerts_come_first_however_many_newer_ones_there_are(
    board: Board, host: psycopg.Connection
) -> None:
    for number in range(25):
        alert(host, f"sent {number:02}", hours_ago=number / 10)
        alert(host, f"lost {number:02}", severity="CRITICAL", hours_ago=60 + number, is_sent=False)
    alert(host, "waits", hours_ago=40, is_sent=False)
    alert(host, "forgotten", severity="CRITICAL", hours_ago=24 * 8, is_sent=False)

    to_operators, _ = shown_alerts(board)

    assert to_operators == [
        *(f"lost {number:02}" for number in range(25)),
        "waits",
        *(f"sent {number:02}" for number in range(19)),
    ]
    assert "ほかに未送信" not in board.get("/").text


def test_undelivered_alerts_that_are_not_listed_are_counted(board: Board, host: psycopg.Connection) -> None:
    for number in range(23):
        alert(host, f"waits {number:02}", is_sent=False)

    assert len(shown_alerts(board)[0]) == 20
    assert "ほかに未送信 3 件" in board.get("/").text


def test_alerts_to_one_person_stand_apart(board: Board, host: psycopg.Connection) -> None:
    for number in range(25):
        alert(host, f"dry run {number:02}", severity="MEDIUM", hours_ago=number / 10, user="<keiri>")
    alert(host, "to all", hours_ago=30)

    to_operators, to_persons = shown_alerts(board)

    assert to_operators == ["to all"]
    assert to_persons == [f"dry run {number:02} → &lt;keiri&gt;" for number in range(20)]


def test_alerts_need_the_right_to_their_dag_and_name_unsent_channels(
    board: Board, host: psycopg.Connection
) -> None:
    for channel, delivered, error in (
        ("slack", "now()", None),
        ("email", None, "550 <duty@ops.example> refused"),
    ):
        host.execute(
            """
            INSERT INTO batch.operator_alert (alert_key, channel, severity, message, delivered_at, last_error)
            VALUES (
                'failure:batch_018_02_tenant_billing:r:BATCH-018-02:0', %s, 'CRITICAL', '{"title": "請求が失敗", "lines": []}',
                %s::timestamptz, %s
            )
            """,
            [channel, delivered and "now", error],
        )
    host.execute(
        """
        INSERT INTO batch.operator_alert (alert_key, channel, severity, message)
        VALUES ('failure:somebodys_dag:r:X:0', 'slack', 'HIGH', '{"title": "よその DAG", "lines": []}')
        """
    )
    text = board.get("/").text
    assert "請求が失敗" in text
    assert "未送信: email" in re.sub(r"<[^>]+>", "", text)
    assert "duty@ops.example" not in text
    assert "よその DAG" not in text


def test_an_alert_leads_to_the_page_of_its_run(board: Board, host: psycopg.Connection) -> None:
    run_id = "scheduled__2026-11-01T17:00:00+00:00"
    alert(host, "料金がありません", links=run_links(TENANT_BILLING.dag_id, run_id))
    alert(host, "前の版の警報")
    text = board.get("/").text
    page = "/skill-batch-board/runs/batch_018_02_tenant_billing/scheduled__2026-11-01T17%3A00%3A00%2B00%3A00"
    assert f'<a href="{page}"><span lang="ja">料金がありません</span></a>' in text
    assert '<td><span lang="ja">前の版の警報</span></td>' in text
