"""The texts that operators read in Airflow on each task."""

from __future__ import annotations

from airflow.sdk import DAG


def test_every_task_says_what_it_does_and_whether_to_clear_it(dags: dict[str, DAG]) -> None:
    texts = {task: task.doc_md or "" for dag in dags.values() for task in dag.tasks}
    assert [task.task_id for task, text in texts.items() if "消去" not in text] == []
    assert [task.task_id for task, text in texts.items() if text.count("。") != 2] == []


def test_an_opening_of_an_operation_warns_of_a_new_operation(dags: dict[str, DAG]) -> None:
    for dag in dags.values():
        for task in dag.tasks:
            if task.task_id.rpartition(".")[2] == "open_run":
                assert ("新しい操作" in str(task.doc_md)) == ("operation" in dag.tags), dag.dag_id
