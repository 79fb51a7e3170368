"""The deployment pages name what exists: connections, variables, files, commands and the sentences of refusals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from airflow.sdk import Connection

from include.skillreport.core.postgres_programs import UnsuitableProgramsError, find_programs
from local_stack.airflow_settings import load_airflow_settings
from tests.airflow_installation import PROJECT
from tests.worlds.backups import programs

PAGES = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((PROJECT / "docs/deploy").glob("*.md"))
}
OVERVIEW = PAGES["README"]
TRIED = (PROJECT / "docs/measured/platforms.md").read_text(encoding="utf-8")
README = (PROJECT / "README.md").read_text(encoding="utf-8")
SETTINGS = load_airflow_settings(PROJECT / "airflow_settings.yaml")
ENVIRONMENT_FILE = (PROJECT / "deploy/systemd/connections.env").read_text(encoding="utf-8")

# Defined where backups are encrypted. The local stack does not encrypt.
NOT_LOCAL = {"skill_batch_backup_key"}


def test_the_pages_have_every_connection_of_the_settings_and_no_other() -> None:
    table = set(re.findall(r"^\| `(\w+)` \| .* \| .*(?:tasks|API server)", OVERVIEW, flags=re.MULTILINE))
    assert table == set(SETTINGS.connections) | NOT_LOCAL
    assert set(examples(OVERVIEW, "CONN")) == table


def test_the_pages_have_every_variable_of_the_settings_and_no_other() -> None:
    assert set(examples(OVERVIEW, "VAR")) == set(SETTINGS.variables)


@pytest.mark.parametrize("page", ["README", "astro", "connections.env"])
def test_every_connection_of_a_page_parses_with_its_type(page: str) -> None:
    found = examples(PAGES.get(page, ENVIRONMENT_FILE), "CONN")
    assert found
    for conn_id, text in found.items():
        connection = (
            Connection.from_json(text, conn_id=conn_id)
            if text.startswith("{")
            else Connection.from_uri(text, conn_id=conn_id)
        )
        assert (
            connection.conn_type == SETTINGS.connections.get(conn_id, {"conn_type": "generic"})["conn_type"]
        )
        assert connection.password, conn_id
        assert isinstance(connection.extra_dejson, dict)
        if connection.conn_type == "postgres":
            assert (connection.login, connection.schema) == (
                conn_id.removeprefix("skill_").removesuffix("_db"),
                "skill_report",
            )


def test_the_services_have_the_connections_that_are_always_needed() -> None:
    always = {
        "skill_batch_tenant_db",
        "skill_batch_platform_db",
        "skill_batch_board_db",
        "skill_batch_backup_db",
        "skill_batch_smtp",
    }
    assert set(examples(ENVIRONMENT_FILE, "CONN")) == always | {
        "skill_batch_alert_slack",
        "skill_batch_alert_email",
    }
    assert set(examples(ENVIRONMENT_FILE, "VAR")) <= set(SETTINGS.variables)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_heading(page: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", PAGES[page]):
        file = (PROJECT / "docs/deploy" / target).resolve() if target else PROJECT / f"docs/deploy/{page}.md"
        assert file.exists(), target
        if anchor:
            text = file.read_text(encoding="utf-8")
            headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
            anchors = {*map(heading_anchor, headings), *re.findall(r'<a id="([\w-]+)">', text)}
            assert anchor in anchors, f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_valid_shell_with_existing_files(page: str, tmp_path: Path) -> None:
    script = tmp_path / "page.sh"
    script.write_text(
        "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE))
    )
    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    for name in re.findall(r"(?<![\w./-])(?:deploy|docs)/[\w./-]*\w", script.read_text()):
        assert (PROJECT / name).exists(), name


@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"README", "bundles"}))
def test_every_platform_page_says_what_was_tried_and_what_fails(page: str) -> None:
    assert "\n## What does not work\n" in PAGES[page]
    assert f"(../measured/platforms.md#{page})" in PAGES[page]
    assert f"\n## {page}\n\n| step | run here | only written |\n" in TRIED
    assert f"({page}.md)" in OVERVIEW
    assert f"docs/deploy/{page}.md" in README


@pytest.mark.parametrize("page", PAGES)
def test_a_command_deletes_only_in_a_folder_of_this_project(page: str) -> None:
    for command in re.findall(r"^.*(?<= )--delete.*$", PAGES[page], flags=re.MULTILINE):
        assert "skill" in command.split()[4], command


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_switches_fab_on_creates_an_administrator(page: str) -> None:
    if "FabAuthManager" in PAGES[page]:
        assert re.search(r"airflow users create .*--role Admin\b", PAGES[page])


def test_nothing_with_a_schedule_is_unpaused_before_the_dry_run() -> None:
    (steps,) = re.findall(r"^## After a deployment\n\n(.*?)\n\n", OVERVIEW, flags=re.DOTALL | re.MULTILINE)
    before, _, after = steps.partition("ドライラン")
    first = set(re.findall(r"`(batch_\w+)`", before))
    assert first == {"batch_018_tenant_management"}
    for dag_id in first:
        snapshot = PROJECT / f"tests/dags/snapshots/{dag_id}.json"
        assert json.loads(snapshot.read_text(encoding="utf-8"))["schedule"] is None
    assert "Unpause the other batches" in after


@pytest.mark.long
def test_the_packages_of_a_private_web_server_install_without_a_network(tmp_path: Path) -> None:
    """The page's commands with small packages of the same names, and with a folder in place of the container's."""
    page = PAGES["mwaa"]
    index, plugins, folder = tmp_path / "index", tmp_path / "plugins", tmp_path / ".local/mwaa"
    for each in (index, plugins, folder):
        each.mkdir(parents=True)
    names = ["skill-report-batches", *re.findall(r"^(apache-airflow-[\w-]+)", page, flags=re.MULTILINE)]
    for name in names:
        small_wheel(folder if name == names[0] else index, name)
    constraints = index / "constraints.txt"
    constraints.write_text("".join(f"{name}==0.1.0\n" for name in names))
    (written,) = re.findall(
        r"^cat > \.local/mwaa/requirements.txt.*?^END$", page, flags=re.DOTALL | re.MULTILINE
    )
    (private,) = re.findall(r"^```sh\n([^`]*pip download[^`]*)^```", page, flags=re.DOTALL | re.MULTILINE)
    script = f"{written}\n(cd .local/mwaa && zip plugins.zip ./*.whl)\n{private}"
    script = re.sub(r"https://raw\S+?\.txt", constraints.as_uri(), script)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    offline = environment | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, env=offline, check=True)

    with ZipFile(folder / "plugins.zip") as archive:
        archive.extractall(plugins)
    file = folder / "requirements.txt"
    file.write_text(file.read_text().replace("/usr/local/airflow/plugins", str(plugins)))
    install = ["pip", "install", "--target", str(tmp_path / "installed"), "--requirement", str(file)]
    subprocess.run(install, env=environment, check=True)

    assert {each.name for each in (tmp_path / "installed").glob("*.dist-info")} == {
        f"{name.replace('-', '_')}-0.1.0.dist-info" for name in names
    }


def small_wheel(folder: Path, name: str) -> None:
    """A package without any module."""
    module = name.replace("-", "_")
    about = f"{module}-0.1.0.dist-info"
    with ZipFile(folder / f"{module}-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\nProvides-Extra: s3fs\n",
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def test_the_page_quotes_the_refusals_without_a_suitable_pg_dump(tmp_path: Path) -> None:
    only_18 = programs(tmp_path / "18", "exit 1", version="echo 'pg_dump (PostgreSQL) 18.4'")
    for bin_dir in ("/nowhere", only_18):
        with pytest.raises(UnsuitableProgramsError) as refusal:
            find_programs(bin_dir, 15)
        assert str(refusal.value) in OVERVIEW


def examples(text: str, kind: str) -> dict[str, str]:
    """By name, the values of the lines ``AIRFLOW_<kind>_<NAME>=…``."""
    lines = re.findall(rf"^(?:# dev: )?AIRFLOW_{kind}_([A-Z_]+)=('?)(.*)\2$", text, flags=re.MULTILINE)
    return {name.lower(): value for name, _, value in lines}


def heading_anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
