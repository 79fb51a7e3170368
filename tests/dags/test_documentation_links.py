"""The pages of the DAGs in Airflow's UI link to the documentation, if an installation has a site."""

from __future__ import annotations

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG

from skill_batch.notifiers.run_links import SITE_VARIABLE
from include.skillreport.core.catalog import (
    BATCHES,
    FAMILIES,
)
from include.skillreport.core.operation_catalog import OPERATIONS
from tests.airflow_installation import PROJECT
from tests.docs.generated_blocks import DOCS

SITE = "https://docs.example.jp/batches-site"


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> dict[str, DAG]:
    monkeypatch.setenv(SITE_VARIABLE, f"{SITE}/")
    bag = DagBag(dag_folder=str(PROJECT / "dags"))
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_every_dag_links_to_a_page_that_exists(linked: dict[str, DAG]) -> None:
    pages = {spec.dag_id: f"batches/{spec.id.lower()}" for spec in BATCHES}
    pages |= {spec.dag_id: f"batches/{spec.batch.id.lower()}" for spec in OPERATIONS}
    pages |= {family.dag_id: "operating" for family in FAMILIES}
    assert linked.keys() == pages.keys()
    for dag_id, page in pages.items():
        assert f"[詳しい説明]({SITE}/{page}.html)" in str(linked[dag_id].doc_md)
        assert (DOCS / f"{page}.md").exists()


def test_without_a_site_there_is_no_link(dags: dict[str, DAG]) -> None:
    assert [dag_id for dag_id, dag in dags.items() if "詳しい説明" in str(dag.doc_md)] == []


def test_an_invalid_site_address_is_an_import_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SITE_VARIABLE, "javascript:alert(1)")
    bag = DagBag(dag_folder=str(PROJECT / "dags" / "operations" / "restore_backup.py"))
    assert SITE_VARIABLE in "".join(bag.import_errors.values())
