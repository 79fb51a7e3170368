"""BATCH-018-05 through ``airflow dags test``: with the sample list it reports the changes and writes nothing."""

from __future__ import annotations

from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import host_rows

DAG_ID = "batch_018_05_settings_sync"


def test_a_sample_is_never_applied_and_an_undo_of_nothing_is_refused(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", subscription_plan="BASIC")

    planned = runs.test(DAG_ID, "2026-11-01")
    undo = runs.test("undo_settings_sync", "2026-11-02", execution="BATCH-018-05_x", reason="誤った一覧")

    assert planned.state == "success"
    assert "T001: 予定: 追加 limits.max_users: （なし） → 20（プラン BASIC の設定がない）" in planned.log
    assert "見本の一覧のため書き込みません" in planned.log
    with database.connect() as host:
        assert host.execute('SELECT count(*) FROM "MST_TenantSettings"').fetchone() == (0,)
    assert undo.state == "failed"
    (alert,) = slack.messages
    assert "実行 'BATCH-018-05_x' が対象のテナントの設定を変えた記録はありません" in alert.text
