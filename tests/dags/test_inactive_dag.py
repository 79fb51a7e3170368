"""BATCH-018-04 through ``airflow dags test``: the operators' digest arrives on the day on which a stage is reached, and only then."""

from __future__ import annotations

from datetime import datetime

import pytest

from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import host_rows

DAG_ID = "batch_018_04_inactive_tenants"


@pytest.mark.slow("runs whole DAGs")
def test_the_operators_read_once_who_has_fallen_silent(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        host_rows.tenant(host, "T001", tenant_name="㈱髙橋 <!channel>", created_at=datetime(2026, 4, 1))
        host_rows.user(host, "T001", "hanako", last_login_at=datetime(2026, 8, 1))
        host_rows.tenant(host, "T002", created_at=datetime(2026, 10, 31))

    first = runs.test(DAG_ID, "2026-11-01")
    second = runs.test(DAG_ID, "2026-11-02")

    assert (first.state, second.state) == ("success", "success")
    (digest,) = slack.messages
    assert digest.text.startswith("非アクティブテナント（2026-11-01）: 重大 1、警告 0、注意 0、うち新規 1")
    assert "【重大】T001 ㈱髙橋 &lt;!channel&gt;: 92 日（最終利用 2026-08-01）" in digest.text
    links = [line.partition(": ")[0] for line in digest.text.splitlines()[-4:-1]]
    assert links == ["ボードで見る", "実行を開く", "手順を開く"]
