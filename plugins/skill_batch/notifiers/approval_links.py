"""The texts of an alert about an approval request."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from skill_batch.notifiers.run_links import run_url

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

log = logging.getLogger(__name__)

# The task that requests approvals. It returns ``dag_id`` and ``run_id`` of the request, Airflow's reason for rejecting the run
# (``problem``, or None), and ``is_paused`` of the DAG.
REQUEST_TASK = "request_approval"

# The task of an approval's DAG that waits for the answer.
ANSWER_TASK = "ask"


def approval_of(ti: RuntimeTaskInstance) -> dict[str, Any]:
    """The result of this batch's task ``request_approval``; empty if there is no such task, or it was skipped."""
    group = ti.task_id.rpartition(".")[0]
    try:
        asked = ti.xcom_pull(task_ids=f"{group}.{REQUEST_TASK}" if group else REQUEST_TASK)
    except Exception as error:
        # Send the alert without the link. The callback of a killed worker runs in the DAG processor, which cannot pull an XCom.
        log.warning("The request for an approval could not be read: %s", error)
        return {}
    return asked if isinstance(asked, dict) else {}


def answered_by(ti: RuntimeTaskInstance) -> str | None:
    """Airflow's name of the user who answered this run's request. None before the answer, or if it is unknown."""
    try:
        response = ti.xcom_pull(task_ids=ANSWER_TASK)
    except Exception as error:
        # As in approval_of.
        log.warning("Who has answered could not be read: %s", error)
        return None
    user = response.get("responded_by_user") if isinstance(response, dict) else None
    return name_of(user) if user else None


def name_of(user: Mapping[str, Any]) -> str:
    """The user's name in Airflow's response; the id if there is no name."""
    return str(user["name"] or user["id"])


def is_dag_paused(ti: RuntimeTaskInstance, dag_id: str) -> bool:
    """True if the DAG is paused; False if Airflow does not answer."""
    try:
        return bool(ti.get_dag(dag_id).is_paused)
    except Exception as error:
        log.warning("Whether %s is paused is unknown: %s", dag_id, error)
        return False


def approval_links(asked: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The link to the request in Airflow's UI; empty if users do not see it."""
    if not asked or asked.get("problem"):
        return ()
    return (("承認の画面を開く", required_actions_url(asked["dag_id"], asked["run_id"])),)


def approval_problem(asked: Mapping[str, Any]) -> str:
    """Why users do not see the request, and what to do; empty if they see it."""
    if asked.get("is_paused"):
        return f"DAG {asked['dag_id']} が一時停止中のため、承認の確認はまだ画面に出ていません。この DAG の権限がある人が再開してください。"
    if not asked.get("problem"):
        return ""
    return (
        f"承認依頼を出せませんでした: {asked['problem']}。"
        f"DAG {asked['dag_id']} の権限がある人が手で実行すると、今保留中のものを確認できます。"
    )


def required_actions_url(dag_id: str, run_id: str) -> str:
    """The page with the request of a run."""
    return f"{run_url(dag_id, run_id)}/required_actions"
