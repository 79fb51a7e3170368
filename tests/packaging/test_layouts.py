"""The layouts of the platforms, with the packages of production: what Airflow finds, stores and runs (``make layouts``)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from skill_batch.provider_info import get_provider_info
from include.skillreport.core.catalog import (
    TENANT_BILLING,
    TENANT_USAGE,
)
from tests.airflow_installation import PROJECT, AirflowInstallation, connect_metadata
from tests.packaging.production import DAG_IDS, Layout, ProductionEnvironment, run_python

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
REFERENCES = ["skill_batch.deadlines.RunBegins", "skill_batch.deadlines.UsualEnd"]


@dataclass(frozen=True)
class Installed:
    """A layout on the packages of production."""

    layout: Layout
    environment: ProductionEnvironment
    airflow: AirflowInstallation

    def look_around(self, **variables: str) -> Mapping[str, Any]:
        """The DAGs and plugins that Airflow finds; ``variables`` replace variables of the environment."""
        airflow = AirflowInstallation(self.airflow.environment | variables)
        found: Mapping[str, Any] = run_python(self.environment, airflow, HERE / "look_around.py")
        return found


@pytest.fixture(params=["plain", "include_in_dags", "dags_only"])
def installed(
    request: pytest.FixtureRequest,
    without_wheel: ProductionEnvironment,
    with_wheel: ProductionEnvironment,
    metadata: str,
    tmp_path: Path,
) -> Installed:
    """Each layout; the last one needs the wheel."""
    layout: Layout = getattr(Layout, request.param)(tmp_path / "project")
    environment = with_wheel if request.param == "dags_only" else without_wheel
    return Installed(layout, environment, layout.airflow(environment, tmp_path / "home", metadata))


OTHER_DAG = """
from airflow.sdk import DAG

from include.other_team.rules import NAME

with DAG(NAME):
    pass
"""


def add_other_team(layout: Layout, folder: Path) -> Path:
    """A DAG of another team, which has an ``include`` of its own in ``folder``; returns that ``include``."""
    (folder / "include" / "other_team").mkdir(parents=True)
    (folder / "include" / "other_team" / "rules.py").write_text('NAME = "other_team"\n', encoding="utf-8")
    (layout.folder / "dags" / "other_team.py").write_text(OTHER_DAG, encoding="utf-8")
    return folder / "include"


def test_each_layout_has_all_dags_one_plugin_and_the_deadlines(installed: Installed, tmp_path: Path) -> None:
    """Also beside another team with an ``include`` of its own."""
    add_other_team(installed.layout, tmp_path / "other")
    found = installed.look_around(PYTHONPATH=f"{tmp_path / 'other'}:{installed.layout.python_path or ''}")
    assert (found["import_errors"], found["plugin_errors"]) == ({}, {})
    assert found["dags"] == sorted([*DAG_IDS, "other_team"])
    assert found["plugins"] == ["skill_batch"]
    assert found["deadline_references"] == REFERENCES


def local_bundle(layout: Layout) -> dict[str, str]:
    """The second example of docs/install/upgrade.md, with the layout's DAG files."""
    page = (PROJECT / "docs/install/upgrade.md").read_text(encoding="utf-8")
    _, example = re.findall(r"DAG_BUNDLE_CONFIG_LIST='(.*?)'", page, re.DOTALL)
    (bundle,) = json.loads(example)
    bundle["kwargs"]["path"] = str(layout.folder / "dags")
    return {"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle])}


@pytest.mark.parametrize(
    ("installed", "bundle"), [("plain", "skill-batch"), ("dags_only", "dags-folder")], indirect=["installed"]
)
def test_a_triggered_run_has_its_deadline(
    installed: Installed, bundle: str, metadata: str, tmp_path: Path
) -> None:
    variables = local_bundle(installed.layout) if bundle == "skill-batch" else {}
    airflow = AirflowInstallation(installed.airflow.environment | variables)
    for command in (
        ["reserialize"],
        ["trigger", "batch_018_01_tenant_usage", "--run-id", tmp_path.name],
    ):
        done = airflow.run("dags", *command)
        assert done.returncode == 0, done.stdout
    with connect_metadata(metadata) as connection:
        bundles = connection.execute("SELECT DISTINCT bundle_name FROM dag WHERE NOT is_stale").fetchall()
        assert bundles == [(bundle,)]
        stored = connection.execute(
            "SELECT count(*) FROM deadline JOIN dag_run ON dag_run.id = deadline.dagrun_id WHERE run_id = %s",
            [tmp_path.name],
        ).fetchone()
    # The usual duration is not known yet, so the run has its time limit only.
    assert stored == (1,)


@pytest.mark.parametrize("installed", ["plain", "dags_only"], indirect=True)
def test_scheduler_and_triggerer_register_deadlines_from_plugins_or_wheel(
    installed: Installed, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    found = installed.look_around(
        AIRFLOW__CORE__DAGS_FOLDER=str(tmp_path / "nothing"), PYTHONPATH=str(tmp_path / "nothing")
    )
    assert (found["dags"], found["plugin_errors"]) == ([], {})
    assert found["deadline_references"] == REFERENCES


def test_airflow_has_each_private_name_as_the_adapter_uses_it(
    without_wheel: ProductionEnvironment, metadata: str, tmp_path: Path
) -> None:
    """In each cell of the matrix, so also in the next Airflow."""
    airflow = Layout.plain(tmp_path / "project").airflow(without_wheel, tmp_path / "home", metadata)
    assert run_python(without_wheel, airflow, HERE / "private_names.py") == []


def test_the_wheel_names_the_fields_of_its_connection_forms(
    with_wheel: ProductionEnvironment, metadata: str, tmp_path: Path
) -> None:
    layout = Layout.dags_only(tmp_path / "project")
    airflow = layout.airflow(with_wheel, tmp_path / "home", metadata)

    listed = airflow.run("providers", "list")
    assert "skill-report-batches" in listed.stdout, listed.stdout

    found = Installed(layout, with_wheel, airflow).look_around()
    types = get_provider_info()["connection-types"]
    assert found["providers"] == ["skill-report-batches"]
    assert found["hooks"] == sorted(kind["connection-type"] for kind in types)
    assert found["fields"] == sorted(
        f"{kind['connection-type']}__{name}" for kind in types for name in kind["conn-fields"]
    )


def test_the_wheel_beside_the_same_folders_registers_everything_once(
    with_wheel: ProductionEnvironment, metadata: str, tmp_path: Path
) -> None:
    layout = Layout.plain(tmp_path / "project")
    # Only one of the two may have the help of the board.
    site = layout.folder / "plugins/skill_batch/board/site"
    site.mkdir(exist_ok=True)
    (site / "other.html").touch()
    installed = Installed(layout, with_wheel, layout.airflow(with_wheel, tmp_path / "home", metadata))
    found = installed.look_around()
    assert (found["import_errors"], found["plugin_errors"]) == ({}, {})
    assert (found["plugins"], found["dags"]) == (["skill_batch"], DAG_IDS)


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("plugins/skill_batch/performance.py", "plugins/skill_batch"),
        ("include/skillreport/sql/new.sql", "include/skillreport"),
    ],
)
def test_a_wheel_beside_folders_of_another_version_refuses_to_run(
    with_wheel: ProductionEnvironment, metadata: str, tmp_path: Path, file: str, package: str
) -> None:
    layout = Layout.plain(tmp_path / "project")
    changed = layout.folder / file
    changed.parent.mkdir(exist_ok=True)
    with changed.open("a", encoding="utf-8") as source:
        source.write("\n-- or # another version\n" if changed.suffix == ".sql" else "\n# another version\n")

    installed = Installed(layout, with_wheel, layout.airflow(with_wheel, tmp_path / "home", metadata))
    found = installed.look_around()

    inside = changed.relative_to(layout.folder / package)
    errors = found["import_errors"].values()
    assert found["dags"] == []
    assert len(errors) == len(DAG_IDS)
    assert all(f"別の版です（最初の違い: {inside.as_posix()}）" in error for error in errors), errors
    # Scheduler and triggerer keep the deadlines: they need no restart when the versions fit again.
    assert (found["plugins"], found["deadline_references"]) == (["skill_batch"], REFERENCES)


# Where the wheel is installed, the other team's folder always comes first.
@pytest.mark.parametrize(
    ("installed", "comes_first"),
    [("plain", True), ("plain", False), ("dags_only", True)],
    indirect=["installed"],
)
def test_an_include_that_is_a_package_is_named_by_each_dag(
    installed: Installed, tmp_path: Path, comes_first: bool
) -> None:
    hiding = add_other_team(installed.layout, tmp_path / "other") / "__init__.py"
    hiding.touch()
    path = [tmp_path / "other", installed.layout.python_path or tmp_path]
    found = installed.look_around(PYTHONPATH=":".join(map(str, path if comes_first else reversed(path))))
    assert found["dags"] == ["other_team"]
    assert len(found["import_errors"]) == len(DAG_IDS)
    sentence = (
        f"{hiding} があるため、Python は include/skillreport を見つけられません。このファイルを消してください"
    )
    assert all(sentence in error for error in found["import_errors"].values()), found["import_errors"]


@pytest.fixture
def editable(without_wheel: ProductionEnvironment) -> Iterator[ProductionEnvironment]:
    """The environment with the project as an editable installation, until the test ends."""
    without_wheel.install("--no-deps", "--editable", str(PROJECT))
    yield without_wheel
    without_wheel.uninstall("skill-report-batches")


def test_an_editable_installation_is_no_wheel(
    editable: ProductionEnvironment, metadata: str, tmp_path: Path
) -> None:
    layout = Layout.plain(tmp_path / "project")
    installed = Installed(layout, editable, layout.airflow(editable, tmp_path / "home", metadata))
    found = installed.look_around()
    assert (found["import_errors"], found["plugin_errors"]) == ({}, {})
    assert (found["plugins"], found["dags"], found["providers"]) == (
        ["skill_batch"],
        DAG_IDS,
        ["skill-report-batches"],
    )


def test_a_dag_file_of_another_version_refuses_to_run(
    with_wheel: ProductionEnvironment, metadata: str, tmp_path: Path
) -> None:
    layout = Layout.dags_only(tmp_path / "project")
    folder = layout.folder / "dags" / "tenant_management"
    original = (folder / "batch_018_01_tenant_usage.py").read_text(encoding="utf-8")
    (folder / "batch_018_01_tenant_usage.py").write_text(f"{original}\n# edited\n", encoding="utf-8")
    (folder / "batch_of_ours.py").write_text(original, encoding="utf-8")

    found = Installed(
        layout, with_wheel, layout.airflow(with_wheel, tmp_path / "home", metadata)
    ).look_around()

    ((_, error),) = found["import_errors"].items()
    assert "別の版です（最初の違い: tenant_management/batch_018_01_tenant_usage.py）" in error
    assert found["dags"] == DAG_IDS


def test_an_invoice_is_made_with_the_packages_of_production(
    without_wheel: ProductionEnvironment,
    metadata: str,
    connections: Mapping[str, str],
    storage: Path,
    tmp_path: Path,
) -> None:
    layout = Layout.plain(tmp_path / "project")
    airflow = layout.airflow(without_wheel, tmp_path / "home", metadata, **connections)

    runs = [
        [TENANT_USAGE.dag_id, "2026-11-01T00:00:00+00:00", {}],
        [TENANT_BILLING.dag_id, "2026-11-01T00:00:00+00:00", {"allow_incomplete": True}],
    ]

    states = run_python(without_wheel, airflow, HERE / "run_dags.py", json.dumps(runs))

    assert set(states.values()) == {"success"}, states
    invoices = (storage / "invoices").rglob("*.pdf")
    texts = "".join(PdfReader(invoice).pages[0].extract_text() for invoice in invoices)
    assert "髙橋﨑デザイン合同会社 御中" in texts
