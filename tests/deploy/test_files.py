"""The files of deploy/: systemd units, Helm values, the pod template, Dockerfiles and the lock."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from configparser import RawConfigParser
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.cli.cli_parser import get_parser
from airflow.configuration import conf

from skill_batch.masking import ADAPTER
from include.skillreport.core.operation_catalog import APPROVALS
from tests.airflow_installation import PROJECT
from tests.deploy.cleanup import cleanup_commands
from tests.packaging.matrix import SERVERS

SYSTEMD, HELM = PROJECT / "deploy/systemd", PROJECT / "deploy/helm"
CLEANUP = SYSTEMD / "skill-batch-cleanup.service"
UNITS = sorted(unit for unit in SYSTEMD.glob("*.service") if unit != CLEANUP)
DOCKERFILES = [PROJECT / "Dockerfile", HELM / "Dockerfile"]

# Keys of the chart apache-airflow/airflow 1.22.0, after its parameters reference; below a key with `*` everything is free or Kubernetes's.
CHART_KEYS = [
    "airflowVersion",
    "defaultAirflowRepository",
    "defaultAirflowTag",
    "executor",
    "podTemplate",
    "extraEnvFrom",
    "env*",
    "volumes*",
    "volumeMounts*",
    "config*",
    "fernetKeySecretName",
    "apiSecretKeySecretName",
    "jwtSecretName",
    "data.metadataSecretName",
    "postgresql.enabled",
    "redis.enabled",
    "createUserJob.enabled",
    "dags.persistence.enabled",
    "dags.gitSync.enabled",
    "databaseCleanup.enabled",
    "databaseCleanup.schedule",
    "databaseCleanup.args",
    "apiServer.replicas",
    "apiServer.resources*",
    "scheduler.replicas",
    "scheduler.resources*",
    "dagProcessor.enabled",
    "dagProcessor.resources*",
    "triggerer.replicas",
    "triggerer.persistence.enabled",
    "triggerer.resources*",
    "workers.celery.replicas",
    "workers.celery.persistence.enabled",
    "workers.celery.terminationGracePeriodSeconds",
    "workers.celery.resources*",
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_every_unit_starts_a_command_of_airflow_with_its_options(unit: Path) -> None:
    service = sections(unit)["Service"]
    program, *arguments = service["execstart"][0].split()
    assert program == "/opt/skill-batch/current/venv/bin/airflow"
    assert unit.stem == f"skill-batch-{get_parser().parse_args(arguments).subcommand}"
    assert service["environmentfile"] == ["/etc/skill-batch/airflow.env", "/etc/skill-batch/connections.env"]
    assert all((SYSTEMD / Path(name).name).exists() for name in service["environmentfile"])
    assert service["user"] == ["skill-batch"]


def test_all_units_have_the_same_hardening_and_belong_to_the_target() -> None:
    hardening = {unit.name: _hardening(unit) for unit in UNITS}
    assert len(hardening) == 4
    assert {*hardening.values()} == {_hardening(CLEANUP)}
    wanted = sections(SYSTEMD / "skill-batch.target")["Unit"]["wants"][0].split()
    assert sorted(wanted) == sorted(hardening)
    assert all(sections(unit)["Unit"]["partof"] == ["skill-batch.target"] for unit in UNITS)


@pytest.mark.parametrize("file", ["airflow.env", "connections.env"])
def test_systemd_and_a_shell_read_the_same_from_an_environment_file(file: str) -> None:
    shell = subprocess.run(
        ["env", "-i", "bash", "-c", 'set -a; . "$0"; env -0', SYSTEMD / file],
        capture_output=True,
        text=True,
        check=True,
    )
    read = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    assert {name: read[name] for name in as_systemd_reads(SYSTEMD / file)} == as_systemd_reads(SYSTEMD / file)


@pytest.mark.parametrize("file", ["airflow.env", "connections.env"])
def test_every_option_of_airflow_in_an_environment_file_exists(file: str) -> None:
    for name in as_systemd_reads(SYSTEMD / file):
        if name.startswith("AIRFLOW__"):
            _, section, option = name.lower().split("__")
            assert option in conf.configuration_description[section]["options"], name


def _hardening(unit: Path) -> str:
    return unit.read_text().partition("# Hardening")[2].partition("[Install]")[0].strip()


def test_the_pages_cleaning_of_airflow_leaves_the_approvals_out() -> None:
    """``airflow db clean`` deletes runs that wait for a person, too."""
    commands = cleanup_commands()
    runs, events = (get_parser().parse_args(command) for command in commands)
    assert runs.exclude_dag_ids == sorted({spec.dag_id for spec in APPROVALS.values()})
    assert events.tables == ["asset_event"]

    *units, logs, folders = sections(CLEANUP)["Service"]["execstart"]
    assert {logs.split()[0], folders.split()[0]} == {"/usr/bin/find"}
    bash, option, chart = load(HELM / "values.yaml")["databaseCleanup"]["args"]
    assert (bash, option) == ("bash", "-c")
    assert all("'exec " in each for each in units)
    unit = "\n".join(shlex.split(each.replace("$$", "$").replace("%%", "%"))[2] for each in units)
    wanted = [argument for command in commands for argument in command]
    for shell in (chart, unit):
        printed = subprocess.run(
            ["bash", "-c", re.sub(r"(exec )?\S*airflow ", "printf '%s\\n' ", shell)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert printed.stdout.splitlines() == wanted


@pytest.mark.parametrize("file", ["values.yaml", "values-celery.yaml"])
def test_the_chart_knows_every_key_of_the_values(file: str) -> None:
    assert [
        path
        for path in key_paths(load(HELM / file))
        if not any(
            path == key or (key.endswith("*") and f"{path}.".startswith(f"{key[:-1]}.")) for key in CHART_KEYS
        )
    ] == []


def test_every_option_of_airflow_in_the_values_exists() -> None:
    for file in ("values.yaml", "values-celery.yaml"):
        for section, options in load(HELM / file)["config"].items():
            # The provider of Celery adds its section.
            if section != "celery":
                assert options.keys() <= conf.configuration_description[section]["options"].keys(), section
    assert load(HELM / "values.yaml")["config"]["logging"]["secret_mask_adapter"] == ADAPTER


def test_the_pod_of_a_task_matches_the_helm_values() -> None:
    values, pod = load(HELM / "values.yaml"), load(HELM / "pod_template.yaml")
    (container,) = pod["spec"]["containers"]
    assert (pod["apiVersion"], pod["kind"], pod["spec"]["restartPolicy"]) == ("v1", "Pod", "Never")
    # Airflow runs the task in the container with this name.
    assert container["name"] == "base"
    assert container["image"] == f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    assert [entry for entry in values["env"] if entry not in container["env"]] == []
    assert container["envFrom"] == yaml.safe_load(values["extraEnvFrom"])
    assert [entry for entry in values["volumes"] if entry not in pod["spec"]["volumes"]] == []
    assert [entry for entry in values["volumeMounts"] if entry not in container["volumeMounts"]] == []
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        entry["name"] for entry in pod["spec"]["volumes"]
    }


def test_the_page_creates_every_secret_that_the_values_name() -> None:
    values = load(HELM / "values.yaml")
    page = (PROJECT / "docs/install/helm.md").read_text(encoding="utf-8")
    secrets = {value for key, value in values.items() if key.endswith("SecretName")} | {
        values["data"]["metadataSecretName"],
        yaml.safe_load(values["extraEnvFrom"])[0]["secretRef"]["name"],
    }
    assert secrets == set(re.findall(r"^secret ([\w-]+) --from", page, flags=re.MULTILINE))


def test_the_page_names_every_value_of_the_chart_that_is_an_example() -> None:
    values = load(HELM / "values.yaml")
    page = (PROJECT / "docs/install/helm.md").read_text(encoding="utf-8")
    examples = [path for path in key_paths(values) if "example" in str(value_at(values, path))]
    assert len(examples) == 3
    assert [path for path in examples if path.rpartition(".")[2] not in page] == []


def test_both_images_take_the_client_of_each_server_from_the_postgresql_project() -> None:
    """BATCH-001 takes the one that fits. ``make matrix`` tests the same servers."""
    wanted = [f"postgresql-client-{major}={major}.*" for major in SERVERS]
    for file in DOCKERFILES:
        assert re.findall(r"postgresql-client-\S+", file.read_text()) == wanted
        assert f"for major in {' '.join(SERVERS)}; do" in file.read_text()
    assert all("/pgdg/apt.postgresql.org.sh -y" in file.read_text() for file in DOCKERFILES)
    assert (PROJECT / "packages.txt").read_text() == ""
    assert all(f"SECRET_MASK_ADAPTER={ADAPTER}" in file.read_text() for file in DOCKERFILES)


def test_everything_is_of_the_same_airflow() -> None:
    version = re.findall(
        r"^apache-airflow==([\d.]+)", (PROJECT / "deploy/requirements.txt").read_text(), re.MULTILINE
    )
    assert version == [pins(PROJECT / "requirements.lock")["apache-airflow"]]
    assert load(HELM / "values.yaml")["airflowVersion"] == version[0]
    assert f"FROM apache/airflow:slim-{version[0]}-python" in (HELM / "Dockerfile").read_text()


def test_the_lock_of_our_own_installations_has_the_tested_versions_with_hashes() -> None:
    lock = PROJECT / "deploy/requirements.lock"
    tested, deployed = pins(PROJECT / "requirements.lock"), pins(lock)
    assert {name: version for name, version in deployed.items() if tested.get(name, version) != version} == {}
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 200
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize(
    ("component", "installs"),
    [("scheduler", False), ("webserver", False), ("worker", True), ("hybrid", True)],
)
def test_the_startup_script_of_mwaa_installs_pg_dump_where_tasks_run(
    component: str, installs: bool, tmp_path: Path
) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\necho "$@"\n')
    sudo.chmod(0o755)
    sourced = subprocess.run(
        [
            "bash",
            "-c",
            '. "$0"; echo $SKILL_BATCH_WORKER_SLOTS $SKILL_BATCH_SETTINGS',
            PROJECT / "deploy/mwaa/startup.sh",
        ],
        env={"MWAA_AIRFLOW_COMPONENT": component, "PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    installed = "dnf install --assumeyes postgresql17\n" if installs else ""
    # The file may not be there yet.
    exported = "5 /usr/local/airflow/dags/settings.yaml\n"
    assert (sourced.stdout, sourced.stderr) == (f"{installed}{exported}", "")


def sections(unit: Path) -> dict[str, dict[str, list[str]]]:
    """By section and option in lower case, the values: systemd permits an option several times."""
    found: dict[str, dict[str, list[str]]] = {}
    for section, lines in re.findall(
        r"^\[(\w+)\]\n(.*?)(?=^\[|\Z)", unit.read_text(), flags=re.DOTALL | re.MULTILINE
    ):
        options = found.setdefault(section, {})
        for name, value in re.findall(r"^(\w+)=(.*)$", lines, flags=re.MULTILINE):
            options.setdefault(name.lower(), []).append(value)
    assert RawConfigParser(strict=False).read(unit) == [str(unit)]
    return found


def as_systemd_reads(file: Path) -> dict[str, str]:
    """The variables of an ``EnvironmentFile=``: no expansion; single quotes around a whole value are removed."""
    lines = re.findall(r"^([A-Z_]+)=(.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: value[1:-1] if value.startswith("'") else value for name, value in lines}


def load(file: Path) -> dict[str, Any]:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert json.loads(json.dumps(document)) == document
    assert isinstance(document, dict)
    return document


def key_paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted paths of all values that are no mappings."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from key_paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def value_at(values: dict[str, Any], path: str) -> Any:
    return reduce(lambda found, key: found[key], path.split("."), values)


def pins(lock: Path) -> dict[str, str]:
    return dict(
        re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", lock.read_text(), flags=re.MULTILINE)
    )
