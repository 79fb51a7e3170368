"""The product uses the names that Airflow lists as public, and all others only through ``skill_batch.airflow_private``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import airflow.sdk
import pytest

from skill_batch import airflow_private
from tests.airflow_installation import PROJECT
from tests.packaging.private_names import USES, moved_names

ADAPTER = PROJECT / "plugins" / "skill_batch" / "airflow_private"
# `include` imports nothing of Airflow: import-linter.
PRODUCT = [
    file for folder in ("dags", "deploy", "docs", "plugins") for file in (PROJECT / folder).rglob("*.py")
]

# Besides ``airflow.sdk.__all__`` and providers. The docstring of the adapter says which pages list them.
PUBLIC = {
    "airflow.plugins_manager.AirflowPlugin",
    "airflow.sdk.exceptions.AirflowNotFoundException",
    "airflow.sdk.exceptions.AirflowSkipException",
    "airflow.sdk.exceptions.AirflowTaskTimeout",
    "airflow.sdk.log.mask_secret",
    "airflow.sdk.types.RuntimeTaskInstanceProtocol",
}
# The first Airflow that is supported, 3.3.1, does not list them yet.
NEWER = {"BaseDeadlineReference", "deadline_reference"}


def imported_names(text: str) -> Iterator[str]:
    """Each name that a module imports from Airflow, also for types only; a name of ``import`` is the module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        yield from (name for name in names if name.partition(".")[0] == "airflow")


def is_public(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return (
        name in PUBLIC
        or name.startswith("airflow.providers.")
        or (module == "airflow.sdk" and last in airflow.sdk.__all__ and last not in NEWER)
    )


def private_names(file: Path) -> set[str]:
    return {name for name in imported_names(file.read_text(encoding="utf-8")) if not is_public(name)}


def test_only_the_adapter_imports_names_that_airflow_does_not_list() -> None:
    assert len(PRODUCT) > 100
    found = {
        str(file.relative_to(PROJECT)): names
        for file in PRODUCT
        if ADAPTER not in file.parents and (names := private_names(file))
    }
    assert found == {}, "import them in plugins/skill_batch/airflow_private, or take a public name"


@pytest.mark.parametrize(
    "line",
    [
        "import airflow.models",
        "from airflow.sdk import deadline_reference",
        "from airflow.sdk.definitions.deadline import DeadlineAlert",
        "from airflow.sdk.exceptions import ErrorType",
        "if TYPE_CHECKING:\n    from airflow.models import DagRun",
    ],
)
def test_a_private_name_is_noticed(line: str) -> None:
    assert [is_public(name) for name in imported_names(line)] == [False]


def test_the_adapter_gives_each_name_a_reason_and_a_test() -> None:
    listed = re.findall(
        r"^- ``(airflow\.\S+)``: .+\. Test: ``(\S+)``$", airflow_private.__doc__ or "", re.MULTILINE
    )
    used = {name for file in ADAPTER.glob("*.py") for name in private_names(file)}
    assert [name for name, _ in listed] == sorted(used)
    assert used == set(USES)
    assert {test for _, test in listed if not (PROJECT / "tests" / test).is_file()} == set()


def test_airflow_has_each_private_name_as_the_adapter_uses_it() -> None:
    assert moved_names() == []


@pytest.mark.parametrize(
    ("name", "use", "problem"),
    [
        ("airflow.sdk.execution_time.gone.GetConnection", "", "has no attribute 'gone'"),
        ("airflow.sdk.execution_time.comms.Gone", "", "has no attribute 'Gone'"),
        ("airflow.sdk.execution_time.task_runner", "GONE", "has no attribute 'GONE'"),
        ("airflow.sdk.execution_time.comms.GetVariable", "(gone)", "unexpected keyword argument 'gone'"),
    ],
)
def test_a_name_that_has_moved_is_reported(name: str, use: str, problem: str) -> None:
    (sentence,) = moved_names({name: use})
    assert name in sentence
    assert problem in sentence
