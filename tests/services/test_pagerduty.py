"""The operators' channel and PagerDuty's Events API v2: what the channel sends, and what the stand-in refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from airflow.sdk import Connection

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.http_bodies import pagerduty_body
from skill_batch.notifiers.http_channel import RefusedError, send_over_http
from local_stack.stand_ins import StandIns, faults
from local_stack.stand_ins.facts import documented_answers
from tests.virtual_time import VirtualTime
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.long

NOW = datetime(2026, 11, 1, 17, 13, tzinfo=UTC)
ROUTING_KEY = "R0" * 16


@pytest.fixture
def services() -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        yield stand_ins


def alert(severity: str = "HIGH", title: str = "バッチ実行失敗", times: int = 1, **fields: Any) -> Alert:
    line = "𠮷" * 2_000 if times > 1 else "エラー"
    links = (("実行を開く", "http://airflow.example/dags/d/runs/r"),)
    return Alert(
        title, (line,) * times, (line,) * times, (line,) * times, links, severity, arose_at=NOW, **fields
    )


def send(services: StandIns, message: Alert, key: str = "failure:1", routing_key: str = ROUTING_KEY) -> None:
    """Send the alert by the operators' channel."""
    extra = json.dumps({"preset": "pagerduty"})
    connection = Connection(
        conn_id="pagerduty",
        conn_type="http",
        host="127.0.0.1",
        schema="http",
        port=services.http_port,
        password=routing_key,
        extra=extra,
    )
    send_over_http(message, key, connection, NOW)


@pytest.mark.parametrize("severity", ["CRITICAL", "HIGH", "MEDIUM", "INFO"])
def test_any_alert_is_an_event_that_pagerduty_takes(services: StandIns, severity: str) -> None:
    send(services, alert(severity))
    send(services, alert(severity, title="長" * 2_000, times=300), key="x" * 300)
    # 128 lines of 4,000 bytes: more than 512,000 bytes, less than 512 KiB.
    send(services, Alert("長い", ("𠮷" * 2_000,) * 128, severity=severity), key="failure:2")

    assert len(services.messages) == 3


@pytest.mark.parametrize("answer", documented_answers("pagerduty"), ids=str)
def test_a_documented_answer_is_a_refusal_that_is_tried_again(services: StandIns, answer: Any) -> None:
    services.fail_next("alerts", answer.status, retry_after=90)

    with pytest.raises(RefusedError, match=f"HTTP {answer.status}") as refused:
        send(services, alert())

    assert refused.value.wait == (90 if answer.kind == "rate" else 0)
    send(services, alert())
    assert len(services.messages) == 1


def test_a_routing_key_has_32_characters(services: StandIns) -> None:
    with pytest.raises(RefusedError, match="HTTP 400"):
        send(services, alert(), routing_key=ROUTING_KEY[1:])


def test_a_key_takes_120_events_a_minute(services: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    VirtualTime().replace_clock(monkeypatch, faults)
    services.limit_rates(True)
    for number in range(120):
        send(services, alert(), key=f"{number}")

    with pytest.raises(RefusedError, match="HTTP 429"):
        send(services, alert())


def post(services: StandIns, event: Any) -> tuple[int, Any]:
    """Status and JSON of the answer."""
    answer = requests.post(f"{services.page_url}v2/enqueue", json=event, timeout=LIMIT_SECONDS)
    return answer.status_code, answer.json()


def event(payload: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The product's event with changes."""
    made: dict[str, Any] = json.loads(pagerduty_body(alert(), "failure:1", ROUTING_KEY, "airflow"))
    return {**made, **fields, "payload": {**made["payload"], **(payload or {})}}


def test_an_event_that_is_taken_is_answered_with_its_key(services: StandIns) -> None:
    taken = {"status": "success", "message": "Event processed", "dedup_key": "failure:1"}
    without_key = {name: value for name, value in event().items() if name != "dedup_key"}

    assert post(services, event()) == (202, taken)
    assert post(services, without_key)[1]["dedup_key"]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        event(routing_key=""),
        event(event_action="open"),
        event(dedup_key="x" * 256),
        event({"summary": ""}),
        event({"summary": "x" * 1_025}),
        event({"source": ""}),
        event({"severity": "high"}),
        event({"custom_details": {"lines": "x" * 512_000}}),
        event(links=[{"text": "no address"}]),
    ],
)
def test_an_event_that_is_wrong_is_refused_with_its_errors(services: StandIns, wrong: object) -> None:
    status, answer = post(services, wrong)

    assert (status, services.messages) == (400, [])
    assert {"status", "message"} <= answer.keys()
    assert len(answer["errors"]) == 1
