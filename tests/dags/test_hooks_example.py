"""The DAG of the page about hooks, as ``airflow dags test`` runs it: real PostgreSQL, real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from local_stack.stand_ins import StandIns
from tests.airflow_installation import PROJECT, smtp_connection
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds.billing_rows import close_month, customer, everything_written
from tests.worlds.outbox_rows import unsigned

DAG_ID = "billing_preview"
EXAMPLES = PROJECT / "docs" / "examples"


@pytest.fixture
def runs(runs: DagRuns, slack: StandIns) -> DagRuns:
    """Runs of the example, from its folder, with this test's mail server."""
    runs.environment.setattr("airflow.settings.DAGS_FOLDER", str(EXAMPLES))
    runs.set_variable("skill_batch_allowed_hosts", ",".join(slack.allowed_hosts))
    runs.set_connection("skill_batch_smtp", smtp_connection(slack))
    return replace(runs, files={DAG_ID: str(EXAMPLES / f"{DAG_ID}.py")}, synced=[])


def test_the_example_prices_with_one_hook_and_sends_with_the_other(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        customer(host, "A", tenant_code="CODE-A")
        customer(host, "B", tenant_code="CODE-B", months=())
        close_month(host, "B", last=30)

        for code in ("CODE-A", "CODE-B", "CODE-A"):
            done = runs.test(DAG_ID, "2026-11-01", tenant=code, to=f"{code}@example.jp")
            assert done.state == "success"

        written = everything_written(host)
    assert not any(written.values()), written
    priced, unpriced = slack.messages
    assert (priced.destination, priced.subject, unsigned(priced.text).strip()) == (
        "CODE-A@example.jp",
        "2026-10 の請求予定額",
        "11,000 JPY です。",
    )
    assert unpriced.destination == "CODE-B@example.jp"
    assert "使用量が締まっていない日があります（1 日: 2026-10-31）" in unpriced.text
