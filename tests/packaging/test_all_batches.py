"""All batches with the packages of production, in the layout with the wheel alone (``make matrix``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from include.catalog import BATCHES, EXTERNAL_SYNC, NOTIFICATION_RETRY, TENANT_BILLING
from tests.conftest import Database
from tests.packaging.production import Layout, ProductionEnvironment, run_python

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]


def test_all_batches_run(
    with_wheel: ProductionEnvironment,
    metadata: str,
    database: Database,
    connections: Mapping[str, str],
    tmp_path: Path,
) -> None:
    layout = Layout.dags_only(tmp_path / "project")
    airflow = layout.airflow(with_wheel, tmp_path / "home", metadata, **connections)
    forms = {TENANT_BILLING.id: {"allow_incomplete": True}}
    runs = [[batch.dag_id, "2026-11-01T00:00:00+00:00", forms.get(batch.id, {})] for batch in BATCHES]

    states = run_python(with_wheel, airflow, Path(__file__).with_name("run_dags.py"), json.dumps(runs))

    # The demo's tenants have broken channels, which these two report.
    reports_faults = {NOTIFICATION_RETRY, EXTERNAL_SYNC}
    assert states == {batch.dag_id: "failed" if batch in reports_faults else "success" for batch in BATCHES}
    with database.connect() as connection:
        outcomes = connection.execute(
            "SELECT DISTINCT error_code FROM batch.tenant_outcome WHERE status = 'failed' ORDER BY error_code"
        ).fetchall()
    assert outcomes == [("CHANNEL_CLOSED",), ("ListingError",)]
