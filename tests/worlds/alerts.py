"""Alerts and reports of runs, and stand-ins that take them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from skill_batch.notifiers.alert import Alert
from skill_batch.notifiers.run_report import RunReport
from local_stack.stand_ins import StandIns
from tests.airflow_installation import email_connection, http_connection, slack_connection
from tests.conftest import Database

AROSE_AT = datetime(2026, 11, 1, 17, 13, tzinfo=UTC)


def alert(severity: str = "HIGH", **values: Any) -> Alert:
    made = Alert(
        "バッチ実行失敗: BATCH-018-02",
        ("エラー: 12 件中 1 件",),
        tenants=("• T002 **太字** [銀行](http://evil.example)",),
        actions=("対処: 消去（Clear）してください。",),
        links=(("実行を開く", "http://airflow.example/dags/d/runs/r"),),
        severity=severity,
        arose_at=AROSE_AT,
    )
    return replace(made, **values)


def report(attempt: int = 0) -> RunReport:
    return RunReport(
        "BATCH-018-01_20261031_0a1b2c3d",
        "BATCH-018-01",
        "テナント使用量集計バッチ",
        "batch_018_01_tenant_usage",
        "manual__1",
        attempt,
        "partial",
        "2026-10-31",
        12,
        11,
        1,
        340,
        62.5,
        "2026-11-01T00:00:00+00:00",
        "http://airflow.example/dags/d/runs/r",
        "http://airflow.example/skill-batch-board/runs/d/r",
    )


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch, shared_database: Database) -> Iterator[StandIns]:
    """The table of alerts, and all three channels."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SKILL_BATCH_PLATFORM_DB", shared_database.airflow_connection("batch_platform")
    )
    with StandIns() as stand_ins:
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_SLACK", slack_connection(stand_ins.slack_base_url))
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_EMAIL", email_connection(stand_ins))
        monkeypatch.setenv("AIRFLOW_CONN_SKILL_BATCH_ALERT_HTTP", http_connection(stand_ins.http_port))
        yield stand_ins


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    """The table of alerts can be read and not written, as on a standby."""
    setting = f'ALTER ROLE batch_platform IN DATABASE "{database.name}" {{}} default_transaction_read_only'
    with database.connect() as admin:
        admin.execute((setting.format("SET") + " = on").encode())
        try:
            yield
        finally:
            admin.execute(setting.format("RESET").encode())
