"""The pages of docs/ match the code: each batch has a page, its statements run, and lists are complete."""

from __future__ import annotations

import re

import pytest

from include.skillreport.batches.log_cleanup.settings import LogCleanupSettings
from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.core.yaml_files import load_yaml
from tests.airflow_installation import PROJECT
from tests.conftest import Database
from tests.docs.generated_blocks import DOCS, page_of

SETTINGS = DOCS / "admin" / "settings.md"


@pytest.mark.parametrize("spec", BATCHES, ids=lambda spec: spec.id)
def test_each_batch_has_a_page_with_its_name_and_its_facts(spec: BatchSpec) -> None:
    page = page_of(spec).read_text(encoding="utf-8")
    assert page.startswith(f"# {spec.id} {spec.name}\n\nThis page is for ")
    assert f"<!-- generated: batch {spec.id} -->" in page
    assert {"## Read the result", "## Limits"} <= set(re.findall(r"^## .*$", page, flags=re.MULTILINE))


def test_every_statement_of_the_pages_runs_as_it_is_written(database: Database) -> None:
    statements = {
        path.name: re.findall(
            r"^```sql\n(.*?)^```", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for path in [*(DOCS / "batches").glob("batch-*.md"), DOCS / "develop" / "people.md"]
    }
    assert all(statements.values())
    with database.connect() as connection:
        for page in statements.values():
            for statement in page:
                connection.execute(statement.encode())


def test_the_log_cleanup_page_has_the_days_of_the_settings() -> None:
    page = (DOCS / "batches/batch-002.md").read_text(encoding="utf-8")
    settings = LogCleanupSettings.load()
    listed = {
        name: (int(days), archived == "yes")
        for names, days, archived in re.findall(
            r"^\| (`.+`) \| (\d+) days \| (yes|no) \|$", page, flags=re.MULTILINE
        )
        for name in re.findall(r"`(\w+)`", names)
    }
    assert listed == {name: (each.retention_days, each.archived) for name, each in settings.classes.items()}
    days = {int(each.replace(",", "")) for each in re.findall(r"^\| ([\d,]+) \| ", page, flags=re.MULTILINE)}
    assert days == set(settings.row_days.model_dump().values())


def test_the_pages_name_every_environment_variable_of_the_code() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (SETTINGS, DOCS / "install" / "airflow.md"))
    sources = [
        path for folder in ("include", "plugins", "local_stack") for path in (PROJECT / folder).rglob("*.py")
    ]
    used = {
        name
        for source in sources
        for name in re.findall(
            r"\b(?:SKILL_BATCH_[A-Z_]+|BATCH_[A-Z]+_(?:DSN|KEY|PASSWORD))\b",
            source.read_text(encoding="utf-8"),
        )
    }
    assert "SKILL_BATCH_SETTINGS" in used
    assert [name for name in sorted(used) if f"`{name}`" not in text] == []


def test_the_settings_page_names_every_template() -> None:
    keys = load_yaml(PROJECT / "include/skillreport/messaging/default_templates.yaml")
    section = SETTINGS.read_text(encoding="utf-8").partition("\n## Templates\n")[2].partition("\n- ")[0]
    assert set(re.findall(r"`(\w+)`", section)) - {"MST_NotificationTemplate"} == set(keys)


@pytest.mark.parametrize("page", ["operate/board.md", "install/rights.md"])
def test_the_pages_about_approvals_name_every_dag_that_asks(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")

    rows = set(re.findall(r"^\|.*`(approve_\w+)`", text, re.M))
    assert rows == {spec.dag_id for spec in APPROVALS.values()}
