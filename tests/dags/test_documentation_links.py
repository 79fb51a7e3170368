"""The pages of the DAGs in Airflow's UI, and alerts, link to the documentation, if an installation has a site."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from skill_batch.notifiers import run_links
from skill_batch.notifiers.run_links import NIGHT, SITE_VARIABLE
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
)
from include.skillreport.core.operation_catalog import OPERATIONS
from tests.airflow_installation import PROJECT
from tests.docs.generated_blocks import DOCS

OWN_SITE = "https://docs.example.jp/batches-site"
HELP = "http://airflow.example/batch/skill-batch-board/help"
RUN = ("batch_018_01_tenant_usage", "manual__1")


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/batch")


@pytest.fixture
def built_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pages that a built site has, without content."""
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    monkeypatch.setattr(run_links, "SITE", tmp_path)
    for page in [NIGHT, *(f"batches/{spec.id.lower()}" for spec in BATCHES)]:
        file = tmp_path / f"{page}.html"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return tmp_path


def dags_of(folder: str) -> dict[str, DAG]:
    bag = DagBag(dag_folder=str(PROJECT / "dags" / folder))
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.mark.usefixtures("built_site")
@pytest.mark.parametrize(("folder", "address"), [("", HELP), ("operations", OWN_SITE)])
def test_every_dag_links_to_the_operators_page_and_to_its_batch(
    monkeypatch: pytest.MonkeyPatch, folder: str, address: str
) -> None:
    if address == OWN_SITE:
        monkeypatch.setenv(SITE_VARIABLE, f"{OWN_SITE}/")
    batches = {spec.dag_id: spec for spec in BATCHES} | {spec.dag_id: spec.batch for spec in OPERATIONS}
    dags = dags_of(folder)
    assert folder or dags.keys() == batches.keys() | {family.dag_id for family in FAMILIES}
    for dag_id, dag in dags.items():
        links = f"詳しい説明: [夜間対応]({address}/{NIGHT}.html)"
        if dag_id in batches:
            page = f"batches/{batches[dag_id].id.lower()}"
            assert (DOCS / f"{page}.md").exists()
            links += f"、[バッチの説明（英語）]({address}/{page}.html)"
        assert str(dag.doc_md).splitlines()[-1] == links


def test_an_alert_leads_to_the_operators_page(built_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dict(run_links.run_links(*RUN))["手順を開く"] == f"{HELP}/{NIGHT}.html"
    monkeypatch.setenv(SITE_VARIABLE, OWN_SITE)
    assert dict(run_links.run_links(*RUN))["手順を開く"] == f"{OWN_SITE}/{NIGHT}.html"
    monkeypatch.delenv(SITE_VARIABLE)
    (built_site / f"{NIGHT}.html").unlink()
    assert dict(run_links.run_links(*RUN))["手順を開く"] == f"http://airflow.example/batch/dags/{RUN[0]}"


def test_without_a_site_there_is_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SITE_VARIABLE, raising=False)
    monkeypatch.setattr(run_links, "SITE", tmp_path)
    (dag,) = dags_of("operations/restore_backup.py").values()
    assert "詳しい説明" not in str(dag.doc_md)


def test_an_invalid_site_address_is_an_import_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SITE_VARIABLE, "javascript:alert(1)")
    bag = DagBag(dag_folder=str(PROJECT / "dags" / "operations" / "restore_backup.py"))
    assert SITE_VARIABLE in "".join(bag.import_errors.values())
