"""The texts that operators read in Airflow: on each task, and on each DAG with Python's optimisation too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from airflow.sdk import DAG

from tests.airflow_installation import PROJECT

PRINT_DOCS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(dag_folder=sys.argv[1])
print(json.dumps({"docs": {dag_id: dag.doc_md for dag_id, dag in bag.dags.items()}, "errors": bag.import_errors}))
"""


def test_every_task_says_what_it_does_and_whether_to_clear_it(dags: dict[str, DAG]) -> None:
    texts = {task: task.doc_md or "" for dag in dags.values() for task in dag.tasks}
    assert [task.task_id for task, text in texts.items() if "消去" not in text] == []
    # Two sentences, and why it may be cleared.
    assert [task.task_id for task, text in texts.items() if not 2 <= text.count("。") <= 4] == []


def test_an_opening_of_an_operation_warns_of_a_new_operation(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        for task in dag.tasks:
            if task.task_id.rpartition(".")[2] == "open_run":
                assert ("新しい操作" in str(task.doc_md)) == ("operation" in dag.tags), dag.dag_id


def test_the_pages_survive_without_docstrings(dags: dict[str, DAG]) -> None:
    """Python drops docstrings with PYTHONOPTIMIZE=2. The tables of the operations are made from docstrings as well."""
    printed = subprocess.run(
        [sys.executable, "-c", PRINT_DOCS, str(PROJECT / "dags")],
        env=os.environ | {"PYTHONOPTIMIZE": "2", "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(printed.stdout.splitlines()[-1])
    assert found["errors"] == {}
    assert found["docs"] == {dag_id: dag.doc_md for dag_id, dag in dags.items()}
