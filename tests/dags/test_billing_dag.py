"""BATCH-018-02 as ``airflow dags test`` runs it: real PostgreSQL, real files."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.worlds import host_rows
from tests.worlds.billing_rows import close_month

DAG_ID = "batch_018_02_tenant_billing"
FAMILY_DAG_ID = "batch_018_tenant_management"
RUN_DATE = "2026-11-01"
OCTOBER = date(2026, 10, 1)


@pytest.fixture
def tenants(database: Database) -> list[str]:
    """Two tenants on BASIC with all of October closed."""
    names = ["T001", "T002"]
    with database.connect() as host:
        for name in names:
            host_rows.tenant(
                host,
                name,
                tenant_name=f"㈱{name}",
                subscription_plan="BASIC",
                contact_email="keiri@customer.example",
            )
            close_month(host, name, OCTOBER)
    return names


@pytest.fixture
def runs(runs: DagRuns, tmp_path: Path) -> DagRuns:
    """Runs with this test's folder for files."""
    runs.set_variable("skill_batch_storage_url", f"file://{tmp_path / 'storage'}")
    return runs


def numbers(database: Database) -> list[tuple[str, str, str | None]]:
    """Tenant, status and number of all invoices, in the order of the numbers."""
    with database.connect() as connection:
        return connection.execute(
            "SELECT tenant_id, status, number FROM batch.invoice ORDER BY number, tenant_id"
        ).fetchall()


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_a_second_billing_run_of_the_month_changes_nothing(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    first = runs.test(DAG_ID, RUN_DATE)
    assert first.state == "success"
    invoiced = numbers(database)
    folder = tmp_path / "storage" / "invoices" / "2026-10"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}

    second = runs.test(DAG_ID, "2026-11-02")

    assert second.state == "success"
    # Airflow starts a run's mapped instances in any order.
    assert sorted(tenant_id for tenant_id, _, _ in invoiced) == ["T001", "T002"]
    assert [entry[1:] for entry in invoiced] == [
        ("finalized", "INV-2026-10-001"),
        ("finalized", "INV-2026-10-002"),
    ]
    assert numbers(database) == invoiced
    assert sorted(files) == [
        "INV-2026-10-001.json",
        "INV-2026-10-001.pdf",
        "INV-2026-10-002.json",
        "INV-2026-10-002.pdf",
        "index.csv",
    ]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    assert json.loads(files["INV-2026-10-001.json"])["issued_on"] == str(datetime.now(JAPAN).date())
    assert "請求書 INV-2026-10-001 は確定済みのため、そのままです" in second.log
    assert slack.messages == []


@pytest.mark.slow("runs whole DAGs")
def test_a_tenant_with_an_open_day_is_named_and_invoiced_later(
    runs: DagRuns, database: Database, slack: StandIns, tenants: list[str]
) -> None:
    with database.connect() as host:
        host.execute("DELETE FROM batch.usage_day WHERE tenant_id = 'T001' AND usage_date = '2026-10-17'")

    failed = runs.test(DAG_ID, RUN_DATE)

    assert failed.state == "failed"
    assert numbers(database) == [("T002", "finalized", "INV-2026-10-001")]
    (message,) = slack.messages
    assert "バッチ実行失敗: BATCH-018-02" in message.text
    assert "T001 ㈱T001: 使用量が締まっていない日があります（1 日: 2026-10-17）" in message.text

    with database.connect() as host:
        close_month(host, tenants[0], OCTOBER, first=17, last=17)
    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "success"
    assert numbers(database) == [
        ("T002", "finalized", "INV-2026-10-001"),
        ("T001", "finalized", "INV-2026-10-002"),
    ]


@pytest.mark.usefixtures("tenants")
def test_a_dry_run_explains_the_calculation_in_the_log_and_writes_nothing(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    runs.post_results_to(slack)

    done = runs.test(DAG_ID, RUN_DATE, dry_run=True, tenants=["T001"])

    assert done.state == "success"
    assert "1. ベーシックプラン 基本料金: 10,000" in done.log
    assert "2026-10-31" in done.log
    assert slack.messages == []
    assert numbers(database) == []
    assert not (tmp_path / "storage").exists()


@pytest.mark.usefixtures("tenants")
def test_without_file_storage_nothing_is_invoiced_and_the_alert_says_why(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    runs.set_variable("skill_batch_storage_url", None)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "failed"
    (message,) = slack.messages
    assert "Variable 'skill_batch_storage_url'" in message.text
    assert numbers(database) == []


@pytest.mark.usefixtures("tenants")
def test_shipped_samples_invoice_nothing_and_operators_get_one_message(
    runs: DagRuns, database: Database, slack: StandIns, tmp_path: Path
) -> None:
    runs.environment.delenv(SETTINGS_VARIABLE)

    done = runs.test(DAG_ID, RUN_DATE)

    assert done.state == "success"
    assert [entry[1:] for entry in numbers(database)] == [("draft", None), ("draft", None)]
    assert [path.name for path in (tmp_path / "storage").iterdir()] == ["samples"]
    (message,) = slack.messages
    assert (
        "請求書を確定していません（2026-10 分）: 料金表と発行者が見本（sample: true）のため" in message.text
    )
    assert "見本の下書き 2 テナント" in message.text


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize(
    ("conf", "problem"),
    [
        (
            {"operation": "void", "reason": "テスト", "tenants": [""]},
            "操作「請求書の取消（入金前のみ）」には「テナントコード」（tenants）が必要です",
        ),
        (
            {"operation": "explain", "reason": "テスト", "tenants": ["T001"]},
            "「理由」（reason）は操作「内訳の表示」では使いません",
        ),
        ({"action": "void", "tenants": ["T001"]}, "パラメータ action は、この DAG のフォームにありません"),
    ],
)
def test_an_operation_with_an_unsuitable_form_is_refused_before_writing(
    runs: DagRuns, database: Database, slack: StandIns, conf: dict[str, Any], problem: str
) -> None:
    done = runs.test("operate_invoices", RUN_DATE, **conf)

    assert done.state == "failed"
    (message,) = slack.messages
    assert problem in message.text
    assert numbers(database) == []


@pytest.mark.usefixtures("tenants")
def test_the_batchs_own_form_takes_no_operation(runs: DagRuns, slack: StandIns) -> None:
    assert runs.test(DAG_ID, RUN_DATE, operation="void", tenants=["T001"]).state == "failed"
    (message,) = slack.messages
    assert "パラメータ operation は、この DAG のフォームにありません" in message.text


@pytest.mark.slow("runs whole DAGs")
def test_the_family_dag_closes_the_last_day_and_then_bills_the_month(
    runs: DagRuns, database: Database, tenants: list[str]
) -> None:
    with database.connect() as host:
        host.execute("DELETE FROM batch.usage_day WHERE usage_date = '2026-10-31'")

    done = runs.test(FAMILY_DAG_ID, "2026-11-05", business_date="2026-10-31")

    assert done.state == "success"
    assert sorted(tenant_id for tenant_id, _, number in numbers(database) if number) == tenants


@pytest.mark.slow("runs whole DAGs")
@pytest.mark.usefixtures("tenants")
def test_the_family_dag_leaves_a_month_alone_that_is_not_over(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    today = datetime.now(UTC).astimezone(JAPAN).date()

    done = runs.test(
        FAMILY_DAG_ID,
        str(today + timedelta(days=1)),
        **{"business_date": str(today), "batches": ["BATCH-018-02"]},
    )

    assert done.state == "success"
    assert numbers(database) == []
    assert slack.messages == []
