"""Alerts are sent once, by each channel of their severity, later if a channel is down, and never change a batch's outcome."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.alert_outbox import send_alert, send_waiting_alerts
from skill_batch.notifiers.channels import load_channels
from skill_batch.statements import SQL
from local_stack.demo.page import rich_texts
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection, slack_connection
from tests.conftest import Database
from tests.messaging.raw_server import ENDLESS, MEBIBYTE, answering, bomb, http, memory_within
from tests.waiting import wait_until
from tests.worlds.alerts import read_only
from tests.worlds.encrypted_servers import encrypted, make_certificate

AROSE_AT = datetime(2026, 11, 1, 17, 13, tzinfo=UTC)


def alert(severity: str = "HIGH", title: str = "バッチ実行失敗: BATCH-018-02") -> Alert:
    return Alert(
        title,
        ("テナント課金計算バッチ", "エラー: <b>12</b> 件中 1 件"),
        tenants=("失敗したテナント:", "• T002 <!channel> & ㈱髙橋: 理由"),
        actions=("対処: 消去（Clear）してください。",),
        links=(("実行を開く", "http://airflow.example/dags/d/runs/r?a=1&b=2"),),
        severity=severity,
        arose_at=AROSE_AT,
    )


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, shared_database: Database) -> Iterator[StandIns]:
    """The operators' Slack and mail, and the table of alerts."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", shared_database.airflow_connection("batch_platform")
    )
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(stand_ins))
        yield stand_ins


@pytest.fixture
def platform(shared_database: Database) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with shared_database.connect("batch_platform") as connection:
        connection.row_factory = dict_row  # type: ignore[assignment]
        yield connection  # type: ignore[misc]


def rows(platform: psycopg.Connection[dict[str, Any]]) -> list[dict[str, Any]]:
    return platform.execute("SELECT * FROM batch.operator_alert ORDER BY alert_key, channel").fetchall()


def make_due(platform: psycopg.Connection[dict[str, Any]]) -> None:
    platform.execute("UPDATE batch.operator_alert SET due_at = now() WHERE due_at IS NOT NULL")


def services_of(stand_ins: StandIns) -> list[str]:
    return [message.channel for message in stand_ins.messages]


def test_critical_goes_to_slack_and_mail_and_the_rest_to_slack(services: StandIns) -> None:
    send_alert(alert("HIGH"), "a", load_channels())
    assert services_of(services) == ["slack"]
    send_alert(alert("CRITICAL"), "b", load_channels())
    assert services_of(services) == ["slack", "slack", "email"]


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_mail_goes_only_to_a_server_that_proves_its_name(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, security: str
) -> None:
    certificate = make_certificate(tmp_path)
    with encrypted(certificate, security) as mail:
        connection = email_connection(mail, disable_ssl=security != "tls", disable_tls=False)
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", connection)

        send_alert(alert("CRITICAL"), "a", load_channels())
        assert (services_of(services), mail.messages) == (["slack"], [])

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send_alert(alert("CRITICAL"), "b", load_channels())
        assert "email" in services_of(mail)


def test_mail_says_the_same_as_text_and_html_and_escapes_data(services: StandIns) -> None:
    send_alert(alert("CRITICAL"), "a", load_channels())
    slack, mail = services.messages
    assert mail.subject == "[CRITICAL] バッチ実行失敗: BATCH-018-02"
    assert mail.destination == "night@example.jp"
    assert "発生: 2026-11-02 02:13:00（日本時間）" in mail.text
    assert "発生: 2026-11-02 02:13:00（日本時間）" in slack.text
    assert "• T002 <!channel> & ㈱髙橋: 理由" in mail.text
    assert slack.options == {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
    assert slack.rich[-1]["elements"][0]["text"].startswith(
        "<http://airflow.example/dags/d/runs/r?a=1&amp;b=2|実行を開く>"
    )
    assert "<b>エラー: </b>&lt;b&gt;12&lt;/b&gt; 件中" in mail.rich
    assert 'href="http://airflow.example/dags/d/runs/r?a=1&amp;b=2"' in mail.rich


def test_alerts_with_one_key_are_sent_once_even_at_the_same_time(services: StandIns) -> None:
    channels = load_channels()
    threads = [threading.Thread(target=send_alert, args=(alert("CRITICAL"), "a", channels)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send_alert(alert("CRITICAL"), "a", channels)
    assert sorted(services_of(services)) == ["email", "slack"]


def test_an_alert_that_slack_refused_arrives_later_once_with_its_time(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    services.fail_next("slack", 503)
    send_alert(alert("CRITICAL"), "a", load_channels())
    assert services_of(services) == ["email"]
    assert "could not be delivered by slack and is kept for another attempt" in caplog.text

    assert send_waiting_alerts(load_channels()) == 0  # not yet: a minute has to pass
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 1
    assert send_waiting_alerts(load_channels()) == 0
    assert services_of(services) == ["email", "slack"]
    assert "発生: 2026-11-02 02:13:00（日本時間）" in services.messages[-1].text
    assert [(row["channel"], row["attempts"], row["due_at"]) for row in rows(platform)] == [
        ("email", 1, None),
        ("slack", 2, None),
    ]
    assert all(row["delivered_at"] for row in rows(platform))


def test_an_alert_leaves_although_its_table_cannot_grow(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], shared_database: Database
) -> None:
    """The disk of the database's server is full, which the alert may be about."""
    with shared_database.connect() as admin:
        admin.execute(
            """
            CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
            CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON batch.operator_alert EXECUTE FUNCTION no_room()
            """
        )
        try:
            assert send_alert(alert("CRITICAL"), "a", load_channels())
        finally:
            admin.execute("DROP FUNCTION no_room CASCADE")
    assert sorted(services_of(services)) == ["email", "slack"]
    assert rows(platform) == []


def test_attempts_grow_apart_and_end_after_three_days(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    waits = []
    services.fail_next("slack", "channel_not_found", times=9)
    send_alert(alert(), "a", load_channels())
    for _ in range(7):
        (row,) = rows(platform)
        waits.append(round((row["due_at"] - datetime.now(UTC)).total_seconds() / 60))
        make_due(platform)
        send_waiting_alerts(load_channels())
    assert waits == [1, 2, 4, 8, 16, 32, 60]

    platform.execute(
        "UPDATE batch.operator_alert SET created_at = created_at - interval '73 hours', due_at = now()"
    )
    caplog.clear()
    assert send_waiting_alerts(load_channels()) == 1
    (row,) = rows(platform)
    assert (row["due_at"], row["delivered_at"]) == (None, None)
    assert "channel_not_found" in row["last_error"]
    assert "will not be tried again" in caplog.text
    assert send_waiting_alerts(load_channels()) == 0


@pytest.mark.parametrize("has_waited", [False, True])
def test_a_sender_that_was_killed_leaves_its_alert_to_the_next(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], has_waited: bool
) -> None:
    if has_waited:
        services.fail_next("slack", "channel_not_found")
        send_alert(alert(), "a", load_channels())
        make_due(platform)
    with services.held("slack"):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - is killed while Slack does not answer
            if has_waited:
                send_waiting_alerts(load_channels())
            else:
                send_alert(alert(), "a", load_channels())
            os._exit(0)
        wait_until(lambda: bool(services.messages), "the first alert arrives")
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    assert send_waiting_alerts(load_channels()) == 0  # its lease has not run out
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 1
    assert [row["delivered_at"] is not None for row in rows(platform)] == [True]
    # It is unknown whether the first one arrived.
    assert services.messages[-1].text.startswith("（再送）バッチ実行失敗")


def test_the_lease_of_the_next_channel_begins_when_it_is_used(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]]
) -> None:
    with services.held("slack") as answer, services.held("email"):
        arguments = (alert("CRITICAL"), "a", load_channels())
        sender = threading.Thread(target=send_alert, args=arguments)
        sender.start()
        wait_until(lambda: len(services.messages) == 1, "the alert arrives at Slack")
        # Slack has not answered for as long as the lease.
        platform.execute("UPDATE batch.operator_alert SET due_at = now() WHERE channel = 'email'")
        answer()
        wait_until(lambda: len(services.messages) == 2, "the alert arrives by mail")
        row = platform.execute(
            "SELECT due_at > clock_timestamp() AS is_leased FROM batch.operator_alert WHERE channel = 'email'"
        ).fetchone()
    sender.join()
    assert row == {"is_leased": True}


def test_an_alert_without_an_answer_is_repeated_once_and_says_so(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    services.drop_connection("slack")
    services.fail_next("slack", 503)
    services.drop_connection("slack")
    send_alert(alert(), "a", load_channels())
    for _ in range(2):
        make_due(platform)
        assert send_waiting_alerts(load_channels()) == 1
    assert [message.text.splitlines()[0] for message in services.messages] == [
        "バッチ実行失敗: BATCH-018-02",
        "（再送）バッチ実行失敗: BATCH-018-02",
    ]
    assert "will not be tried again" in caplog.text
    assert send_waiting_alerts(load_channels()) == 0


def test_a_slow_answer_is_none_and_a_refusal_leaves_no_doubt(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as impatient, services.held("slack"):
        impatient.setattr("skill_batch.notifiers.channels.TIMEOUT_SECONDS", 2)
        send_alert(alert(title="slow"), "a", load_channels())
        wait_until(lambda: len(services.messages) == 1, "the alert arrives")
    services.fail_next("slack", "channel_not_found")
    send_alert(alert(title="refused"), "b", load_channels())
    assert [row["in_doubt"] for row in rows(platform)] == [True, False]
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 2
    assert [message.text.splitlines()[0] for message in services.messages] == [
        "slow",
        "（再送）slow",
        "refused",
    ]


@pytest.mark.parametrize("answer", ["bomb", "large", "endless"])
def test_an_answer_is_read_no_further_than_one_can_be(
    platform: psycopg.Connection[dict[str, Any]],
    services: StandIns,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    raw = {"bomb": bomb(), "large": http("application/json", b"x" * 32 * MEBIBYTE), "endless": ENDLESS}[
        answer
    ]
    with answering(raw, and_then=b"x" * 65_536 if answer == "endless" else b"") as services.http_port:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(services.slack_base_url))
        channels = load_channels()
        with memory_within(8 * MEBIBYTE):
            assert send_alert(alert(), "a", channels) is True  # it is kept

    [row] = rows(platform)
    assert (row["in_doubt"], row["due_at"] is not None) == (False, True)
    assert "Slack" in row["last_error"]


def test_an_answer_that_breaks_off_leaves_doubt(
    platform: psycopg.Connection[dict[str, Any]], services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(http("application/json", b'{"ok": true}')[:-1]) as services.http_port:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(services.slack_base_url))
        send_alert(alert(), "a", load_channels())

    assert [row["in_doubt"] for row in rows(platform)] == [True]


def test_a_long_alert_reaches_slack_whole(services: StandIns) -> None:
    lines = tuple(f"{number} {'長' * 90}" for number in range(100))
    send_alert(Alert("title", lines, tenants=("x" * 5_000,)), "a", load_channels())
    (message,) = services.messages
    sections = [text for block in message.rich if block["type"] == "rich_text" for text in rich_texts(block)]
    assert "\n".join(sections[:-1]).splitlines() == list(lines)
    assert max(map(len, sections)) <= 3_000


def test_a_backlog_arrives_in_the_order_in_which_it_arose(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]]
) -> None:
    services.fail_next("slack", 503, times=25)
    for number in range(25):
        send_alert(alert(title=f"{number}"), f"{number:02}", load_channels())
    make_due(platform)
    services.fail_next("slack", 503)
    assert send_waiting_alerts(load_channels()) == 1  # while Slack is down, one attempt is enough
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 20
    assert send_waiting_alerts(load_channels()) == 5
    assert [message.text.splitlines()[0] for message in services.messages] == [
        str(number) for number in range(25)
    ]


def test_both_channels_down_is_an_error_in_the_log_and_nothing_else(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL",
        '{"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {}}',
    )
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK")
    assert send_alert(alert("CRITICAL"), "a", load_channels()) is True  # later
    assert services.messages == []
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 2
    assert "Airflow の接続 'skill_batch_alert_slack' が定義されていません" in errors[0]
    assert "宛先（to_email）" in errors[1]


def test_without_the_database_the_alert_goes_out_all_the_same(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unused_port: int
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", f"postgres://x:y@127.0.0.1:{unused_port}/z")
    assert send_alert(alert(), "a", load_channels()) is True
    assert services_of(services) == ["slack"]
    assert "The table of alerts cannot be reached" in caplog.text
    assert send_waiting_alerts(load_channels()) == 0
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK")
    assert send_alert(alert(), "a", load_channels()) is False  # no alert was sent, and nothing is stored


@pytest.mark.usefixtures("services")
def test_an_alert_is_stored_at_the_second_of_two_hosts(
    platform: psycopg.Connection[dict[str, Any]],
    shared_database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = shared_database.airflow_connection("batch_platform").replace("127.0.0.1", "127.0.0.1,127.0.0.1")
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", f"{uri}&port=1,{shared_database.server.port}")
    assert send_alert(alert(), "a", load_channels()) is True
    assert [row["alert_key"] for row in rows(platform)] == ["a"]


def test_an_alert_that_is_neither_stored_nor_sent_is_lost(
    services: StandIns, shared_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    services.fail_next("slack", 503)
    with read_only(shared_database):
        assert send_alert(alert(), "a", load_channels()) is False
    assert "will not be tried again" in caplog.text


def test_no_secret_comes_into_a_log_or_a_row(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    services.fail_next("slack", "invalid_auth")
    send_alert(alert(), "a", load_channels())
    assert "xoxb" not in caplog.text
    assert "xoxb" not in str(rows(platform))
    assert "xoxb" not in repr(load_channels())


def test_a_claim_leases_one_alert_whatever_the_plan(
    services: StandIns, platform: psycopg.Connection[dict[str, Any]], shared_database: Database
) -> None:
    """With the statistics of a table of one row, the planner repeats a subquery for each row."""
    for key in ("a", "b"):
        services.fail_next("slack", "internal_error")
        send_alert(alert(), key, load_channels())
        if key == "a":
            with shared_database.connect() as owner:
                owner.execute("ANALYZE batch.operator_alert")
    make_due(platform)

    claimed = platform.execute(SQL["claim_alert"], {"lease": 60, "excluded": []}).fetchall()

    assert [row["alert_key"] for row in claimed] == ["a"]
    assert sum(row["due_at"] > datetime.now(UTC) for row in rows(platform)) == 1
