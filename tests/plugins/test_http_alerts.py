"""The operators' channel over HTTP: the requests that a receiver gets. A failing receiver does not affect the other channels."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.sdk.log import mask_logs
from psycopg.rows import dict_row
from standardwebhooks import WebhookVerificationError

from skill_batch.http_presets import PRESETS
from skill_batch.notifiers import http_bodies, http_channel
from skill_batch.notifiers.alert_outbox import send_alert, send_result, send_waiting_alerts
from skill_batch.notifiers.channels import load_channels
from include.skillreport.schema.checks.airflow_dags import is_signing_key
from local_stack.stand_ins import StandIns
from local_stack.stand_ins.alert_receiver import RECEIVER_KEY
from tests.airflow_installation import PROJECT, http_connection
from tests.conftest import Database
from tests.serving import serving
from tests.waiting import wait_until
from tests.worlds.alerts import AROSE_AT, alert, report, services
from tests.worlds.encrypted_servers import make_certificate

__all__ = ["services"]

OTHER_KEY = "whsec_" + base64.b64encode(b"another key of the receiver").decode()
KEY = "failure:batch_018_02:manual__2026-11-02:BATCH-018-02:0"

Platform = psycopg.Connection[dict[str, Any]]


@dataclass(frozen=True)
class Request:
    """A request to the redirecting server; the names of headers are in lower case."""

    headers: dict[str, str]
    body: bytes


@pytest.fixture
def platform(shared_database: Database) -> Iterator[Platform]:
    with shared_database.connect("batch_platform") as connection:
        connection.row_factory = dict_row  # type: ignore[assignment]
        yield connection  # type: ignore[misc]


def define(monkeypatch: pytest.MonkeyPatch, services: StandIns, **fields: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(services.http_port, **fields))


def received(services: StandIns) -> list[dict[str, Any]]:
    """The bodies that the receiver took."""
    return [message.rich for message in services.messages if message.channel == "alerts"]


def row(platform: Platform, key: str = "a") -> dict[str, Any]:
    (found,) = platform.execute(
        "SELECT * FROM batch.operator_alert WHERE alert_key = %s AND channel = 'http'", [key]
    ).fetchall()
    return found


def make_due(platform: Platform) -> None:
    platform.execute("UPDATE batch.operator_alert SET due_at = now() WHERE due_at IS NOT NULL")


# The bodies ------------------------------------------------------------------------------------------------------------------


def test_an_alert_arrives_as_json_with_all_its_fields(services: StandIns) -> None:
    assert send_alert(alert(), KEY, load_channels())
    assert received(services) == [
        {
            "version": 1,
            "type": "alert",
            "key": KEY,
            "title": "バッチ実行失敗: BATCH-018-02",
            "lines": ["エラー: 12 件中 1 件"],
            "tenants": ["• T002 **太字** [銀行](http://evil.example)"],
            "actions": ["対処: 消去（Clear）してください。"],
            "links": [{"label": "実行を開く", "url": "http://airflow.example/dags/d/runs/r"}],
            "severity": "HIGH",
            "arose_at": "2026-11-01T17:13:00+00:00",
            "kinds": [],
            "ids": [],
        }
    ]


def test_a_receiver_that_follows_the_documentation_takes_genuine_messages_only(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (PROJECT / "docs/admin/alerts.md").read_text("utf-8"), re.DOTALL
    )
    namespace: dict[str, Any] = {}
    exec(code, namespace)  # noqa: S102 - the documentation of this project
    message_of = namespace["message_of"]
    with redirecting("/") as (port, requests):
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(port))
        send_alert(alert(), KEY, load_channels())
    (request,) = requests
    headers = dict(request.headers)

    assert message_of(headers, request.body, RECEIVER_KEY)["key"] == KEY
    old = str(int(headers["webhook-timestamp"]) - 600)
    for changed, body, secret in (
        (headers, request.body + b" ", RECEIVER_KEY),
        (headers, request.body, OTHER_KEY),
        (headers | {"webhook-timestamp": old}, request.body, RECEIVER_KEY),
        (headers | {"webhook-id": "0" * 64}, request.body, RECEIVER_KEY),
    ):
        with pytest.raises(WebhookVerificationError):
            message_of(changed, body, secret)
    assert services.messages


@pytest.mark.parametrize(
    ("encoded", "usable"),
    [
        *(
            (f"whsec_{base64.b64encode(b'x' * size).decode()}", 24 <= size <= 64)
            for size in (0, 23, 24, 64, 65)
        ),
        (RECEIVER_KEY.removeprefix("whsec_"), False),
        ("whsec_" + "!" * 40, False),
        ("whsec_鍵", False),
    ],
)
def test_the_check_accepts_the_keys_that_alerts_accept(encoded: str, usable: bool) -> None:
    assert is_signing_key(encoded) is usable
    refusal = nullcontext() if usable else pytest.raises(ValueError, match="whsec_")
    with refusal:
        http_bodies.signature_headers(b"{}", encoded, KEY, AROSE_AT)


def test_each_attempt_has_its_own_signature_and_a_key_of_any_characters() -> None:
    body = http_bodies.json_body(alert(), KEY)
    first, second = (
        http_bodies.signature_headers(
            body, RECEIVER_KEY, "実行.1\r\nX: 1", AROSE_AT + timedelta(seconds=seconds)
        )
        for seconds in (0, 1)
    )
    assert first["webhook-signature"] != second["webhook-signature"]
    assert first["webhook-id"] == second["webhook-id"]
    assert re.fullmatch("[0-9a-f]{64}", first["webhook-id"])


def test_pagerduty_gets_a_trigger_event(services: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"preset": "pagerduty", "endpoint": "/v2/enqueue", "source": "airflow-prod", "results": True}
    define(monkeypatch, services, password="R0UT1NGKEY" + "0" * 22, extra=extra)
    for severity in ("MEDIUM", "HIGH", "CRITICAL"):
        send_alert(alert(severity, title="長" * 2_000), f"{severity}:{'x' * 300}", load_channels())
    send_result(report(), load_channels())  # an event would be an incident

    events = received(services)
    assert [event["payload"]["severity"] for event in events] == ["warning", "error", "critical"]
    event = events[-1]
    assert event["event_action"] == "trigger"
    assert len(event["payload"]["summary"]) == 1_024
    assert event["payload"]["source"] == "airflow-prod"
    assert event["payload"]["timestamp"] == "2026-11-01T17:13:00+00:00"
    assert event["payload"]["custom_details"].keys() == {"lines", "tenants", "actions", "ids"}
    assert event["links"] == [{"href": "http://airflow.example/dags/d/runs/r", "text": "実行を開く"}]
    assert event["dedup_key"] == hashlib.sha256(f"CRITICAL:{'x' * 300}".encode()).hexdigest()
    assert json.loads(http_bodies.pagerduty_body(alert(), KEY, "R", "s"))["dedup_key"] == KEY


def test_a_teams_workflow_gets_a_card_without_markup_of_tenants(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(monkeypatch, services, password=services.teams_webhook_url, extra={"preset": "teams_workflow"})
    send_alert(alert(), "a", load_channels())
    (card,) = [message.rich["body"] for message in services.messages if message.channel == "teams"]
    assert {block["type"] for block in card} == {"TextBlock"}
    assert [block["text"] for block in card[:3]] == [
        r"バッチ実行失敗: BATCH\-018\-02",
        "エラー: 12 件中 1 件",
        r"• T002 \*\*太字\*\* \[銀行\]\(http://evil.example\)",
    ]


def test_a_long_alert_fits_into_a_card() -> None:
    long = alert(lines=tuple(f"{number}: {'長' * 2_000}" for number in range(300)))
    body = http_bodies.teams_body(long)
    assert 8_000 < len(body) < 28 * 1024
    content = json.loads(body)["attachments"][0]["content"]
    assert content["body"][-1]["text"].startswith("（長いため")
    assert content["actions"] == [
        {"type": "Action.OpenUrl", "title": "実行を開く", "url": "http://airflow.example/dags/d/runs/r"}
    ]


def test_a_long_alert_fits_into_an_event_of_pagerduty() -> None:
    long = alert(
        lines=tuple("𠮷" * 2_000 for _ in range(300)), tenants=tuple("長" * 2_000 for _ in range(300))
    )
    body = http_bodies.pagerduty_body(long, KEY, "R", "s")
    assert 128 * 1024 < len(body) <= 512_000
    assert json.loads(body)["payload"]["custom_details"]["tenants"][-1].startswith("（長いため")


def test_a_report_links_to_the_board_first() -> None:
    card = json.loads(http_bodies.teams_body(report()))["attachments"][0]["content"]
    assert [(action["title"], action["url"]) for action in card["actions"]] == [
        ("ボードで見る", "http://airflow.example/skill-batch-board/runs/d/r"),
        ("実行を開く", "http://airflow.example/dags/d/runs/r"),
    ]


# Who gets what ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("services")
def test_without_the_connection_nothing_is_stored(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP")
    send_alert(alert(), "a", load_channels())
    send_result(report(), load_channels())
    assert platform.execute("SELECT channel FROM batch.operator_alert").fetchall() == [{"channel": "slack"}]
    assert [each for each in caplog.records if each.name.startswith("skill_batch")] == []


@pytest.mark.parametrize(
    ("least", "expected"),
    [("MEDIUM", ["MEDIUM", "HIGH", "CRITICAL"]), ("HIGH", ["HIGH", "CRITICAL"]), ("CRITICAL", ["CRITICAL"])],
)
def test_the_connection_says_from_which_severity_on(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, least: str, expected: list[str]
) -> None:
    define(monkeypatch, services, extra={"min_severity": least})
    for severity in ("MEDIUM", "HIGH", "CRITICAL"):
        send_alert(alert(severity), severity, load_channels())
    assert [message["severity"] for message in received(services)] == expected


def test_each_closing_of_a_run_is_one_result(
    services: StandIns, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_result(report(), load_channels())  # results are off
    define(monkeypatch, services, extra={"results": True})
    services.fail_next("alerts", 500)
    for attempt in (0, 0, 1):
        send_result(report(attempt), load_channels())
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 1
    results = received(services)
    assert [(result["type"], result["attempt"]) for result in results] == [("result", 1), ("result", 0)]
    assert (results[0]["status"], results[0]["error_count"], results[0]["key"]) == (
        "partial",
        1,
        "result:batch_018_01_tenant_usage:manual__1:BATCH-018-01:1",
    )


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"extra": {"preset": "opsgenie"}}, "json、pagerduty、teams_workflow のどれか"),
        ({"extra": {"min_severity": "high"}}, "MEDIUM、HIGH、CRITICAL のどれか"),
        ({"password": ""}, "署名の鍵"),
        ({"password": "key"}, "whsec_"),
        ({"password": "whsec_" + base64.b64encode(b"x" * 23).decode()}, "24〜64 バイト"),
        ({"password": RECEIVER_KEY.removeprefix("whsec_")}, "whsec_"),
        ({"host": ""}, "アドレスが正しくありません"),
        ({"schema": "ftp"}, "アドレスが正しくありません"),
        ({"password": "not a URL", "extra": {"preset": "teams_workflow"}}, "アドレスが正しくありません"),
    ],
)
def test_a_wrong_setting_is_named_and_the_alert_kept(
    services: StandIns,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    reason: str,
) -> None:
    define(monkeypatch, services, **fields)
    assert send_alert(alert(), "a", load_channels())
    assert reason in row(platform)["last_error"]
    assert row(platform)["due_at"] is not None


# Trouble ---------------------------------------------------------------------------------------------------------------------


def test_a_refused_alert_arrives_later_once_with_a_new_signature(
    services: StandIns, platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    services.fail_next("alerts", 500)
    send_alert(alert(), "a", load_channels())
    send_alert(alert(), "a", load_channels())  # a second clear of the same failure
    assert "could not be delivered by http and is kept" in caplog.text
    assert [message.channel for message in services.messages] == ["slack"]
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 1
    assert send_waiting_alerts(load_channels()) == 0
    assert [message["title"] for message in received(services)] == ["バッチ実行失敗: BATCH-018-02"]
    assert (row(platform)["attempts"], row(platform)["due_at"]) == (2, None)


@pytest.mark.parametrize("is_date", [False, True])
def test_a_receiver_that_limits_the_rate_says_when(
    services: StandIns, platform: Platform, *, is_date: bool
) -> None:
    asked = format_datetime(datetime.now(UTC) + timedelta(seconds=1_800)) if is_date else "1800"
    services.fail_next("alerts", 429, retry_after=asked)
    send_alert(alert(), "a", load_channels())
    assert row(platform)["due_at"] - datetime.now(UTC) > timedelta(minutes=25)


def test_a_sender_that_was_killed_leaves_its_alert_to_the_next(
    services: StandIns, platform: Platform
) -> None:
    with services.held("alerts"):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - is killed while the receiver does not answer
            send_alert(alert(), "a", load_channels())
            os._exit(0)
        wait_until(lambda: bool(received(services)), "the first alert arrives")
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert send_waiting_alerts(load_channels()) == 0  # its lease has not ended
    make_due(platform)
    assert send_waiting_alerts(load_channels()) == 1
    assert [message["title"] for message in received(services)] == [
        "バッチ実行失敗: BATCH-018-02",
        "（再送）バッチ実行失敗: BATCH-018-02",
    ]


def test_a_lost_answer_leaves_doubt_and_a_closed_port_none(
    services: StandIns, platform: Platform, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    services.drop_connection("alerts")
    send_alert(alert(), "lost", load_channels())
    monkeypatch.setattr(http_channel, "HTTP_TIMEOUT_SECONDS", 0.3)
    with services.held("alerts"):
        send_alert(alert(), "slow", load_channels())
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(unused_port))
    send_alert(alert(), "closed", load_channels())
    assert [row(platform, key)["in_doubt"] for key in ("lost", "slow", "closed")] == [True, True, False]


def test_the_other_channels_go_on_while_it_is_down(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(unused_port))
    assert send_alert(alert("CRITICAL"), "a", load_channels())
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", f"postgres://x:y@127.0.0.1:{unused_port}/z")
    # Without the table the alert over HTTP is lost. Slack and email have it, so it is not sent to them again.
    assert send_alert(alert("CRITICAL"), "b", load_channels())
    assert [message.channel for message in services.messages] == ["slack", "email", "slack", "email"]


def test_a_redirect_gets_no_signature(
    services: StandIns, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirecting(f"http://127.0.0.1:{services.http_port}/alerts") as (port, requests):
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(port))
        send_alert(alert(), "a", load_channels())
    assert received(services) == []
    assert len(requests) == 1
    assert "リダイレクト" in row(platform)["last_error"]


@pytest.mark.usefixtures("services")
def test_the_key_of_the_signature_is_no_password_of_http_basic(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"X-Team": "night", "results": True}
    with redirecting("/") as (port, requests):
        monkeypatch.setenv(
            "AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(port, login="operator", extra=extra)
        )
        send_alert(alert(), "a", load_channels())
    headers = requests[0].headers
    assert "authorization" not in headers
    assert headers["x-team"] == "night"  # a header of the connection's extra
    assert not headers.keys() & {"results", "endpoint", "preset"}


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("scheme", ["http", "all"])
def test_the_connection_s_proxy_wins_over_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, unused_port: int, scheme: str
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with redirecting("/") as (port, requests):
        extra = {"proxies": {scheme: f"http://127.0.0.1:{port}"}}
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(unused_port, extra=extra))
        send_alert(alert(), "a", load_channels())
    assert len(requests) == 1


@pytest.mark.usefixtures("services")
def test_the_connection_s_certificates_win_over_the_environment_s(
    monkeypatch: pytest.MonkeyPatch, platform: Platform, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    ours, others = make_certificate(tmp_path), make_certificate(tmp_path / "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(others))
    with redirecting("/", ours) as (port, requests):
        for key, verify in (("ours", str(ours)), ("none", False), ("others", str(others))):
            extra = {"verify": verify}
            connection = http_connection(port, schema="https", extra=extra)
            monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", connection)
            send_alert(alert(), key, load_channels())
    assert len(requests) == 2
    assert "SSLError" in row(platform, "others")["last_error"]


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize("preset", PRESETS)
def test_no_secret_comes_into_a_log_or_a_row(
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    unused_port: int,
    preset: str,
) -> None:
    secret = "verySecret0123456789" + "A" * 20
    passwords = {
        "json": f"whsec_{secret}",
        "teams_workflow": f"http://127.0.0.1:{unused_port}/w?sig={secret}",
    }
    password = passwords.get(preset, secret)
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP",
        http_connection(unused_port, password=password, extra={"preset": preset}),
    )
    caplog.set_level("DEBUG")
    send_alert(alert(), "a", load_channels())
    assert row(platform)["last_error"].startswith("接続できません")
    for text in (caplog.text, str(row(platform)), repr(load_channels())):
        assert secret not in text


def test_an_http_library_that_logs_a_workflows_path_shows_no_signature(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://default1.aa.environment.api.powerplatform.com/workflows/1/invoke?api-version=1&sig=a%2Fb-0123456789"
    define(monkeypatch, services, password=url, extra={"preset": "teams_workflow"})
    load_channels()
    for line in (url, "POST /workflows/1/invoke?api-version=1&sig=a%2Fb-0123456789", "sig: a/b-0123456789"):
        assert "0123456789" not in str(mask_logs(None, "debug", {"event": line}))


@contextmanager
def redirecting(location: str, certificate: Path | None = None) -> Iterator[tuple[int, list[Request]]]:
    """The port of a server that answers each request with a redirect, and its requests. With a certificate it speaks HTTPS."""
    requests: list[Request] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(Request({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(307)
            self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server.server_port, requests
