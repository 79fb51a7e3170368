"""All batches with the packages of production, in the layout with the wheel alone (``make matrix``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from include.skillreport.core.catalog import BATCHES
from tests.conftest import Database
from tests.packaging.all_batches import run_batches
from tests.packaging.production import Layout, ProductionEnvironment

pytestmark = pytest.mark.long


def test_all_batches_run(
    with_wheel: ProductionEnvironment,
    metadata: str,
    database: Database,
    connections: Mapping[str, str],
    tmp_path: Path,
) -> None:
    layout = Layout.dags_only(tmp_path / "project")
    airflow = layout.airflow(with_wheel, tmp_path / "home", metadata, **connections)
    run_batches(with_wheel, airflow, database, BATCHES)
