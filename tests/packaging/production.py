"""Environments with the packages of production and nothing else, and the layouts in which platforms lay out the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.skillreport.core.catalog import BATCHES, FAMILIES
from include.skillreport.core.operation_catalog import OPERATIONS
from tests.airflow_installation import PROJECT, AirflowInstallation, environment_of

# The interpreter and the Airflow version to test, for one cell of `make matrix`; without them, this interpreter and the locked version.
PYTHON_VARIABLE, AIRFLOW_VARIABLE = "PACKAGING_PYTHON", "PACKAGING_AIRFLOW"

UV = (str(Path(sys.executable).with_name("uv")), "--system-certs")

DAG_IDS = sorted(
    [
        *(batch.dag_id for batch in BATCHES),
        *(family.dag_id for family in FAMILIES),
        *(operation.dag_id for operation in OPERATIONS),
    ]
)


@dataclass(frozen=True)
class ProductionEnvironment:
    """A virtual environment without development tools."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def install(self, *arguments: str) -> None:
        """``uv pip install ...`` into it."""
        _run(*UV, "pip", "install", "--quiet", "--python", str(self.python), *arguments)

    def uninstall(self, package: str) -> None:
        """``uv pip uninstall ...`` from it."""
        _run(*UV, "pip", "uninstall", "--quiet", "--python", str(self.python), package)


def build_wheel(folder: Path, project: Path = PROJECT) -> Path:
    """Build the wheel with the locked build backend, without a network; returns its path."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    _run(*command, folder=project)
    (wheel,) = folder.glob("*.whl")
    return wheel


def create_environment(folder: Path) -> ProductionEnvironment:
    """Install what production needs: the lock with its hashes, or, for another version of Airflow, what requirements.txt allows.

    If the list of versions that the Airflow project pins for it is in this repository, it applies, as on a platform.
    """
    _run(
        *UV,
        "venv",
        "--quiet",
        "--python",
        os.environ.get(PYTHON_VARIABLE, sys.executable),
        "--",
        str(folder),
    )
    environment = ProductionEnvironment(folder)
    version = os.environ.get(AIRFLOW_VARIABLE)
    if version:
        pinned = _constraints_of(version, environment)
        environment.install("-r", str(PROJECT / "requirements.txt"), f"apache-airflow=={version}", *pinned)
    else:
        environment.install("--require-hashes", "-r", str(PROJECT / "requirements-production.lock"))
    return environment


def _constraints_of(airflow: str, environment: ProductionEnvironment) -> list[str]:
    (python,) = re.findall(
        r"^version_info = (3\.\d+)", (environment.folder / "pyvenv.cfg").read_text(), re.MULTILINE
    )
    constraints = PROJECT / "tests" / "deploy" / f"airflow-{airflow}-python{python}.constraints.txt"
    return [f"--constraints={constraints}"] if constraints.exists() else []


@dataclass(frozen=True)
class Layout:
    """A copy of the folders that a platform has, and the environment of its processes."""

    folder: Path
    python_path: Path | None = None

    @classmethod
    def plain(cls, folder: Path) -> Layout:
        """Astro, Helm, a virtual machine: ``dags``, ``plugins`` and ``include`` side by side, their parent on PYTHONPATH."""
        return cls(_copy(folder, "dags", "plugins", "include"), folder)

    @classmethod
    def include_in_dags(cls, folder: Path) -> Layout:
        """MWAA and Composer without the wheel: ``include`` is copied into ``dags``."""
        layout = cls(_copy(folder, "dags", "plugins", "include"))
        (folder / "include").rename(folder / "dags" / "include")
        return layout

    @classmethod
    def dags_only(cls, folder: Path) -> Layout:
        """MWAA and Composer with the wheel: no folder but ``dags``; Airflow's folder of plugins is empty."""
        (folder / "plugins").mkdir(parents=True)
        return cls(_copy(folder, "dags"))

    def airflow(
        self, environment: ProductionEnvironment, home: Path, metadata_url: str, **variables: str
    ) -> AirflowInstallation:
        """Airflow's commands in this layout, with the environment's packages."""
        home.mkdir(exist_ok=True)
        values = environment_of(home, metadata_url)
        values |= {
            "PATH": f"{environment.folder / 'bin'}{os.pathsep}{os.defpath}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.folder / "plugins"),
            **variables,
        }
        values.pop("PYTHONPATH")
        if self.python_path:
            values["PYTHONPATH"] = str(self.python_path)
        return AirflowInstallation(values)


def run_python(
    environment: ProductionEnvironment, airflow: AirflowInstallation, script: Path, *arguments: str
) -> Any:
    """Run a script of this folder in the environment; returns the JSON that it writes into the file of its first argument."""
    answer = Path(airflow.environment["AIRFLOW_HOME"]) / "answer.json"
    done = subprocess.run(
        [str(environment.python), str(script), str(answer), *arguments],
        env=airflow.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:]
    return json.loads(answer.read_text(encoding="utf-8"))


def _copy(folder: Path, *names: str) -> Path:
    for name in names:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _run(*command: str, folder: Path = PROJECT) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4_000:]}"
