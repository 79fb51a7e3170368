"""The alert about a request after a pause that Airflow does not show."""

from __future__ import annotations

from skill_batch.resumption_alerts import refused_alert
from include.skillreport.core.catalog import SCHEDULED_NOTIFICATIONS


def test_a_refused_request_says_which_dag_a_person_runs() -> None:
    shown = {"dag_id": "approve_resumption", "run_id": "r", "problem": "権限がありません", "is_paused": False}

    alert = refused_alert(SCHEDULED_NOTIFICATIONS, "止まっていました", shown)

    assert (alert.title, alert.severity) == ("再開の承認: BATCH-019-01 定期通知送信バッチ", "HIGH")
    assert alert.lines == ("理由: 止まっていました", "重要度: HIGH")
    assert alert.actions == (
        "承認依頼を出せませんでした: 権限がありません。"
        "DAG approve_resumption の権限がある人が手で実行すると、今保留中のものを確認できます。",
    )
