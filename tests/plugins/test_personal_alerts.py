"""Alerts about a dry run or an operation reach the person who triggered it, and never the night duty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk import DAG

from skill_batch.batch_flow import BatchFlow, failure_alert
from skill_batch.notifiers.alert_outbox import send_waiting_alerts
from skill_batch.notifiers.channels import load_channels
from skill_batch.notifiers.failure_alert import FailureAlert
from include.skillreport.core.catalog import TENANT_BILLING
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.operation_catalog import (
    APPROVE_INVOICES,
    OPERATE_INVOICES,
    RUN_SPECS,
)
from include.skillreport.core.run_spec import OperationSpec, RunSpec
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection, http_connection, slack_connection
from tests.conftest import Database

DRY_RUN, REAL_RUN = {"dry_run": True}, {"dry_run": False}
NIGHT_DUTY = "night@example.jp"
PEOPLE = {"people": {"keiri": "hanako@example.jp"}, "people_domains": ["example.jp", "Example.com"]}


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, shared_database: Database) -> Iterator[StandIns]:
    """The table of alerts, all three channels, and the addresses of people."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", shared_database.airflow_connection("batch_platform")
    )
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(stand_ins.http_port))
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(stand_ins, **PEOPLE))
        yield stand_ins


def fail(
    spec: RunSpec,
    user: str | None,
    conf: dict[str, Any] | None,
    *,
    worker_is_lost: bool = False,
    response: dict[str, Any] | None = None,
    callback: FailureAlert | None = None,
) -> None:
    """The failure callback of a run. The DAG processor calls that of a lost worker: without an error, and it has no XCom.

    ``response`` is what Airflow keeps of a person's answer.
    """
    xcom = {
        "xcom_push": lambda _key, _value: None,
        "xcom_pull": lambda *, task_ids: {"ask": response}.get(task_ids),
    }
    ti = SimpleNamespace(
        dag_id=spec.dag_id,
        run_id="manual__1",
        task_id="close_run",
        log_url="http://airflow.example/log",
        **({} if worker_is_lost else xcom),
    )
    run = SimpleNamespace(clear_number=0, triggering_user_name=user, conf=conf)
    error = None if worker_is_lost else SettingsError("settings.yaml が読めません。")
    (callback or failure_alert(spec))({"ti": ti, "dag_run": run, "exception": error})


def arrived(services: StandIns) -> list[tuple[str, str]]:
    """Channel and destination of every message."""
    return [(message.channel, message.destination) for message in services.messages]


def test_a_failed_operation_is_mailed_to_the_person_who_triggered_it(services: StandIns) -> None:
    fail(OPERATE_INVOICES, "keiri", REAL_RUN)

    assert arrived(services) == [("email", "hanako@example.jp")]
    (mail,) = services.messages
    assert mail.subject == "[MEDIUM] バッチ実行失敗: OPERATE-INVOICES 請求書の操作"
    assert mail.text.splitlines()[1:4] == [
        "エラー: settings.yaml が読めません。",
        "重要度: MEDIUM",
        "実行した人: keiri（操作）",
    ]


def test_a_failed_dry_run_is_mailed_to_its_person_only(services: StandIns) -> None:
    fail(TENANT_BILLING, "taro@example.com", DRY_RUN)

    assert arrived(services) == [("email", "taro@example.com")]
    assert "実行した人: taro@example.com（ドライラン）" in services.messages[0].text


def test_without_an_address_the_operators_read_in_slack_who_it_was(services: StandIns) -> None:
    fail(TENANT_BILLING, "somebody", DRY_RUN)

    assert arrived(services) == [("slack", "#night-duty")]
    assert "重要度: MEDIUM\n実行した人: somebody（ドライラン）\n" in services.messages[0].text


@pytest.mark.parametrize("started_by", [None, "taro@example.com"])
def test_a_failure_after_an_answer_is_mailed_to_the_person_who_answered(
    services: StandIns, started_by: str | None
) -> None:
    fail(
        APPROVE_INVOICES,
        started_by,
        {"request": "1"},
        response={"responded_by_user": {"id": "7", "name": "keiri"}},
    )

    assert arrived(services) == [("email", "hanako@example.jp")]
    assert services.messages[0].subject.startswith("[MEDIUM] ")
    assert "実行した人: keiri（操作）" in services.messages[0].text


@pytest.mark.parametrize("response", [None, {"responded_by_user": None}])
def test_before_an_answer_the_night_duty_reads_of_a_scheduled_request(
    services: StandIns, response: dict[str, Any] | None
) -> None:
    fail(APPROVE_INVOICES, None, {"request": "1"}, response=response)

    assert ("email", NIGHT_DUTY) in arrived(services)


@pytest.mark.parametrize(
    ("spec", "user", "conf"),
    [
        (TENANT_BILLING, None, None),
        (TENANT_BILLING, None, DRY_RUN),
        (TENANT_BILLING, "keiri", REAL_RUN),
        (TENANT_BILLING, "keiri", {"dry_run": "true"}),
        (OPERATE_INVOICES, None, REAL_RUN),
        (OPERATE_INVOICES, " ", DRY_RUN),
    ],
    ids=["scheduled", "dry run of nobody", "real run", "no dry run", "operation of nobody", "blank name"],
)
def test_all_other_runs_alert_the_night_duty(
    services: StandIns, spec: RunSpec, user: str | None, conf: dict[str, Any] | None
) -> None:
    fail(spec, user, conf)

    assert arrived(services)[:2] == [("slack", "#night-duty"), ("email", NIGHT_DUTY)]
    assert [channel for channel, _ in arrived(services)[2:]] == ["alerts"]
    assert services.messages[1].subject.startswith("[CRITICAL]")
    assert "実行した人" not in services.messages[0].text


@pytest.mark.parametrize(
    "name",
    [
        "taro@evil.example",
        "taro@sub.example.jp",
        "taro@example.jp.evil.example",
        "taro@example.jp\nBcc: x@evil.example",
        "taro@example.jp\n",
        "x@evil.example,taro@example.jp",
        "x@evil.example taro@example.jp",
        "<taro@example.jp>",
        "太郎 <taro@example.jp>",
        '"x@evil.example"@example.jp',
        "x%evil.example@example.jp",
        "evil.example!x@example.jp",
        "x@evil.example@example.jp",
        "@example.jp",
        "-x@example.jp",
        "x..y@example.jp",
        "太郎@example.jp",
        f"{'x' * 250}@example.jp",
        "<!channel> \u202etxt.evil",
    ],
)
def test_a_user_name_selects_no_address_outside_the_allowed_domains(services: StandIns, name: str) -> None:
    fail(OPERATE_INVOICES, name, REAL_RUN)

    assert arrived(services) == [("slack", "#night-duty")]
    text = services.messages[0].text
    (line,) = [line for line in text.splitlines() if line.startswith("実行した人: ")]
    assert line.endswith("（操作）")
    assert len(line) < 120
    assert line.isprintable()
    assert "<!channel>" not in text
    assert not any(line.startswith("Bcc") for line in text.splitlines())


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"people_domains": "example.org, example.jp"}, "taro@EXAMPLE.jp"),
        ({"people": {"taro@EXAMPLE.jp": "t@elsewhere.example"}}, "t@elsewhere.example"),
        ({"people": {"taro@EXAMPLE.jp": ""}, "people_domains": ["example.jp"]}, None),
        ({"people": {"taro@EXAMPLE.jp": "a@x.example,b@x.example"}}, None),
        ({"people": ["taro@EXAMPLE.jp"], "people_domains": {"example.jp": 1}}, None),
        ({}, None),
    ],
    ids=["text of domains", "people first", "no mail for one", "two addresses", "wrong types", "nothing"],
)
def test_the_extra_of_ops_email_gives_the_addresses(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], expected: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(services, **extra))

    fail(OPERATE_INVOICES, "taro@EXAMPLE.jp", REAL_RUN)

    assert arrived(services) == [("email", expected) if expected else ("slack", "#night-duty")]


def test_a_mail_to_a_person_needs_no_address_of_the_night_duty(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(services, **PEOPLE, to_email="")
    )

    fail(OPERATE_INVOICES, "keiri", REAL_RUN)

    assert arrived(services) == [("email", "hanako@example.jp")]


def test_without_the_mail_connection_slack_gets_it(
    services: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL")

    fail(OPERATE_INVOICES, "keiri", REAL_RUN)

    assert arrived(services) == [("slack", "#night-duty")]


def test_a_lost_worker_alerts_the_person_too_and_once(services: StandIns) -> None:
    for _ in range(2):
        fail(OPERATE_INVOICES, "keiri", REAL_RUN, worker_is_lost=True)
    fail(OPERATE_INVOICES, "keiri", REAL_RUN)

    assert arrived(services) == [("email", "hanako@example.jp")]
    assert "エラー: タスクのプロセスが応答しなくなりました" in services.messages[0].text


@pytest.mark.parametrize("is_still_known", [True, False])
def test_a_waiting_mail_goes_to_the_same_person_or_is_not_sent(
    services: StandIns, monkeypatch: pytest.MonkeyPatch, shared_database: Database, is_still_known: bool
) -> None:
    services.fail_next("email", "421")
    fail(OPERATE_INVOICES, "keiri", REAL_RUN)
    assert arrived(services) == []
    if not is_still_known:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(services))

    with shared_database.connect("batch_platform") as platform:
        make_due(platform)
        assert send_waiting_alerts(load_channels()) == 1
        (stored,) = platform.execute("SELECT severity, message FROM batch.operator_alert").fetchall()

    assert arrived(services) == ([("email", "hanako@example.jp")] if is_still_known else [])
    # The address is looked up when the mail is sent, so the table has no address.
    assert stored[0] == "MEDIUM"
    assert "hanako@example.jp" not in json.dumps(stored[1])


def make_due(platform: psycopg.Connection) -> None:
    platform.execute("UPDATE batch.operator_alert SET due_at = now() WHERE due_at IS NOT NULL")


def test_the_alerts_of_every_operation_know_that_it_is_one() -> None:
    assert {spec.id for spec in RUN_SPECS.values() if failure_alert(spec).is_operation} == {
        spec.id for spec in RUN_SPECS.values() if isinstance(spec, OperationSpec)
    }


def test_a_failed_request_does_not_withhold_the_list_of_failed_tenants(services: StandIns) -> None:
    with DAG("request"):
        request = BatchFlow(TENANT_BILLING).request_approval().operator
    fail(TENANT_BILLING, None, None, callback=request.on_failure_callback[0])
    fail(TENANT_BILLING, None, None)

    assert len([each for each in services.messages if each.channel == "slack"]) == 2
