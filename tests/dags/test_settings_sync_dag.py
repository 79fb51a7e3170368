"""BATCH-018-05 through ``airflow dags test``: with the sample of a list it says what it would do, and touches nothing."""

from __future__ import annotations

from include.demo.stand_ins import StandIns
from tests import host_rows
from tests.airflow_installation import AirflowInstallation
from tests.conftest import Database

DAG_ID = "batch_018_05_settings_sync"


def test_a_sample_is_never_applied_and_an_undo_of_nothing_is_refused(
    airflow: AirflowInstallation, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", subscription_plan="BASIC")
    installation = airflow.with_connections(database, slack.slack_base_url)

    planned = installation.run("dags", "test", DAG_ID, "2026-11-01")
    undo = installation.run(
        "dags", "test", DAG_ID, "2026-11-02", "--conf", '{"action": "undo", "execution": "BATCH-018-05_x"}'
    )

    assert planned.returncode == 0, planned.stdout
    assert "T001: 予定: 追加 limits.max_users: （なし） → 20（プラン BASIC の設定がない）" in planned.stdout
    assert "見本の一覧のため書き込みません" in planned.stdout
    with database.connect() as host:
        assert host.execute('SELECT count(*) FROM "MST_TenantSettings"').fetchone() == (0,)
    assert undo.returncode != 0
    (alert,) = slack.messages
    assert "実行 'BATCH-018-05_x' が対象のテナントの設定を変えた記録はありません" in alert.text
