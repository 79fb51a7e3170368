"""The deployment pages name what exists: connections, variables, files, commands and the sentences of refusals."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from airflow.sdk import Connection

from include.skillreport.core.postgres_programs import UnsuitableProgramsError, find_programs
from local_stack.airflow_settings import load_airflow_settings
from tests.airflow_installation import PROJECT
from tests.batches.data_management.backups import programs

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
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {heading_anchor(heading) for heading in headings}, f"{target}#{anchor}"


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
