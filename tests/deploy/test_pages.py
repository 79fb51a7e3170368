"""The pages about the installation name what exists: connections, variables, versions, files and commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from airflow.sdk import Connection

from local_stack.airflow_settings import load_airflow_settings
from local_stack.bootstrap import supported_versions
from tests.airflow_installation import PROJECT
from tests.needs import need
from tests.packaging.matrix import PYTHONS, SERVERS

PAGES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in [PROJECT / "docs/try.md", *sorted((PROJECT / "docs/install").glob("*.md"))]
}
OVERVIEW = PAGES["airflow"]
PLATFORMS = ("astro", "mwaa", "composer", "helm", "systemd")
HEADINGS = ["Needs", "First install", "Settings", "Rights", "Upgrade", "Roll back", "Limits"]
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


@pytest.mark.parametrize("page", ["airflow", "astro", "connections.env"])
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
def test_every_command_of_a_page_is_valid_shell_with_existing_files(page: str, tmp_path: Path) -> None:
    script = tmp_path / "page.sh"
    script.write_text(
        "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGES[page], flags=re.DOTALL | re.MULTILINE))
    )
    checked = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    for name in re.findall(r"(?<![\w./-])(?:deploy|docs)/[\w./-]*\w", script.read_text()):
        assert (PROJECT / name).exists(), name


@pytest.mark.parametrize("page", PLATFORMS)
def test_all_platforms_have_the_same_headings_and_say_what_was_tried(page: str) -> None:
    assert re.findall(r"^## (.+)$", PAGES[page], flags=re.MULTILINE) == HEADINGS
    assert "](../../benchmarks/README.md#platforms)" in PAGES[page]
    assert f"]({page}.md)" in OVERVIEW


def test_the_supported_versions_are_those_that_are_tested() -> None:
    (_, first), (_, end) = supported_versions(str(PROJECT / "pyproject.toml"))
    assert tuple(f"3.{minor}" for minor in range(first, end)) == PYTHONS
    accepted = (PROJECT / "requirements-airflow.txt").read_text(encoding="utf-8")
    assert re.findall(r"^apache-airflow(.*)$", accepted, flags=re.MULTILINE) == [">=3.3.1,<3.4"]
    for versions in (f"Python | {', '.join(PYTHONS)} |", f"PostgreSQL | {', '.join(SERVERS)} |"):
        assert f"\n| {versions}" in OVERVIEW
    assert "\n| Airflow | 3.3.1 and later versions of 3.3;" in OVERVIEW


@pytest.mark.parametrize("page", ["airflow", "connections.env"])
def test_port_587_has_starttls_and_port_465_tls(page: str) -> None:
    values = examples(PAGES.get(page, ENVIRONMENT_FILE), "CONN").values()
    mail = [Connection.from_json(text) for text in values if '"smtp"' in text]
    assert len(mail) == 2
    for connection in mail:
        starts_tls = bool(connection.extra_dejson.get("disable_ssl"))
        assert connection.port == (587 if starts_tls else 465)


@pytest.mark.parametrize("page", PAGES)
def test_a_command_deletes_only_in_a_folder_of_this_project(page: str) -> None:
    for command in re.findall(r"^.*(?<= )--delete.*$", PAGES[page], flags=re.MULTILINE):
        assert "skill" in command.split()[4], command


@pytest.mark.parametrize("page", PAGES)
def test_a_page_that_switches_fab_on_creates_an_administrator(page: str) -> None:
    if "FabAuthManager" in PAGES[page]:
        assert re.search(r"airflow users create .*--role Admin\b", PAGES[page])


def test_nothing_with_a_schedule_is_unpaused_before_the_dry_run() -> None:
    (steps,) = re.findall(
        r"^## After the installation\n\n(.*?)\n\n", OVERVIEW, flags=re.DOTALL | re.MULTILINE
    )
    before, _, after = steps.partition("ドライラン")
    first = set(re.findall(r"`(batch_\w+)`", before))
    assert first == {"batch_018_tenant_management"}
    for dag_id in first:
        snapshot = PROJECT / f"tests/dags/snapshots/{dag_id}.json"
        assert json.loads(snapshot.read_text(encoding="utf-8"))["schedule"] is None
    assert "Unpause the other batches" in after


@pytest.mark.long
@pytest.mark.parametrize("page", ["systemd.md", "upgrade.md"])
def test_the_lock_installs_with_the_pip_of_the_page(page: str, tmp_path: Path) -> None:
    """On the oldest Python, which brings the oldest pip."""
    oldest = shutil.which(f"python{PYTHONS[0]}") or ""
    need(oldest, f"there is no python{PYTHONS[0]}")
    subprocess.run([oldest, "-m", "venv", tmp_path], check=True)
    text = (PROJECT / "docs/install" / page).read_text(encoding="utf-8")
    upgrade, install = re.findall(r"pip (install (?:pip==|--require-hashes)[^#\n]*)", text)
    for command in (upgrade, f"{install} --dry-run"):
        subprocess.run([tmp_path / "bin/pip", "--quiet", *command.split()], cwd=PROJECT, check=True)


@pytest.mark.long
def test_the_packages_of_a_private_web_server_install_without_a_network(tmp_path: Path) -> None:
    """The page's commands with small packages of the same names, and with a folder in place of the container's."""
    page = PAGES["mwaa"]
    index, plugins, folder = tmp_path / "index", tmp_path / "plugins", tmp_path / ".local/mwaa"
    for each in (index, plugins, folder):
        each.mkdir(parents=True)
    (own,) = re.findall(r"^skill-report-batches==(\S+)", page, flags=re.MULTILINE)
    packages = re.findall(r"^(apache-airflow-[\w-]+)", page, flags=re.MULTILINE)
    small_wheel(folder, "skill-report-batches", own)
    for name in packages:
        small_wheel(index, name)
    constraints = index / "constraints.txt"
    constraints.write_text("".join(f"{name}==0.1.0\n" for name in packages))
    (written,) = re.findall(
        r"^cat > \.local/mwaa/requirements.txt.*?^END$", page, flags=re.DOTALL | re.MULTILINE
    )
    (private,) = re.findall(r"^```sh\n([^`]*pip download[^`]*)^```", page, flags=re.DOTALL | re.MULTILINE)
    script = f"{written}\n(cd .local/mwaa && zip plugins.zip ./*.whl)\n{private}"
    script = re.sub(r"https://raw\S+?\.txt", constraints.as_uri(), script)
    # pip chooses packages for the Python that runs it. The small ones fit any.
    assert "\npython3.12 -m pip download " in script
    script = script.replace("python3.12 -m pip", "pip")
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
        f"skill_report_batches-{own}.dist-info",
        *(f"{name.replace('-', '_')}-0.1.0.dist-info" for name in packages),
    }


def small_wheel(folder: Path, name: str, version: str = "0.1.0") -> None:
    """A package without any module."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    with ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: s3fs\n",
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def examples(text: str, kind: str) -> dict[str, str]:
    """By name, the values of the lines ``AIRFLOW_<kind>_<NAME>=…``."""
    lines = re.findall(rf"^(?:# dev: )?AIRFLOW_{kind}_([A-Z_]+)=('?)(.*)\2$", text, flags=re.MULTILINE)
    return {name.lower(): value for name, _, value in lines}
