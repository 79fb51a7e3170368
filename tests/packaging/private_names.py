"""The private names of Airflow that ``skill_batch.airflow_private`` imports, and what it uses of each.

Run by an environment of production: writes what this Airflow has moved as JSON into the file of its argument.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from inspect import signature
from operator import attrgetter
from pathlib import Path
from pkgutil import resolve_name

_AUTH = "airflow.api_fastapi.auth.managers"
_TASK = "airflow.sdk.execution_time"

# For each name its attributes, and ``part(arguments)`` for a call, also of the name itself.
USES = {
    "airflow.api_fastapi.app.get_auth_manager": "",
    f"{_AUTH}.base_auth_manager.COOKIE_NAME_JWT_TOKEN": "",
    f"{_AUTH}.models.base_user.BaseUser": "get_name",
    f"{_AUTH}.models.resource_details.AccessView": "WEBSITE",
    f"{_AUTH}.models.resource_details.DagAccessEntity": "RUN TASK_INSTANCE",
    f"{_AUTH}.models.resource_details.DagDetails": "(id,team_name)",
    "airflow.api_fastapi.core_api.security.get_user": "",
    "airflow.listeners.hookimpl": "",
    "airflow.models.DagRun": "dag_id run_id run_type state conf queued_at run_after start_date end_date"
    " clear_number triggered_by triggering_user_name",
    "airflow.models.dag.DagModel": "get_team_name(dag_id)",
    "airflow.models.log.Log": "(event,owner,owner_display_name,extra)",
    "airflow.sdk.definitions.deadline.BaseDeadlineReference": "serialize_reference deserialize_reference(reference_data)",
    "airflow.sdk.definitions.deadline.deadline_reference": "(deadline_reference_type)",
    "airflow.sdk.exceptions.AirflowRuntimeError": "(error)",
    "airflow.sdk.exceptions.ErrorType": "API_SERVER_ERROR CONNECTION_NOT_FOUND VARIABLE_NOT_FOUND"
    " DAGRUN_ALREADY_EXISTS",
    f"{_TASK}.comms.ErrorResponse": "(error,detail)",
    f"{_TASK}.comms.GetConnection": "(conn_id)",
    f"{_TASK}.comms.GetPreviousDagRun": "(dag_id,logical_date)",
    f"{_TASK}.comms.GetVariable": "(key)",
    f"{_TASK}.comms.PreviousDagRunResult": "(dag_run)",
    f"{_TASK}.comms.TriggerDagRun": "(dag_id,run_id,conf)",
    f"{_TASK}.secrets.execution_api.ExecutionAPISecretsBackend": "",
    f"{_TASK}.supervisor.ensure_secrets_backend_loaded": "",
    f"{_TASK}.task_runner": "SUPERVISOR_COMMS CommsDecoder.send(msg)",
    f"{_TASK}.task_runner.RuntimeTaskInstance": "get_dr_count(dag_id,run_ids,states) get_task_states(dag_id,run_ids)",
    f"{_TASK}.timeout.timeout": "(seconds,error_message)",
    "airflow.sdk.observability.stats.Stats": "incr(count,tags) timing(tags)",
    "airflow.utils.session.create_session": "",
    "airflow.utils.types.DagRunTriggeredByType": "TEST",
}


def moved_names(all_uses: dict[str, str] = USES) -> list[str]:
    """A sentence for each name that this Airflow does not have in this form."""
    return [
        f"Airflow {version('apache-airflow')} has no {name} as plugins/skill_batch/airflow_private uses it: {problem}"
        for name, uses in all_uses.items()
        if (problem := _problem(name, uses))
    ]


def _problem(name: str, uses: str) -> str:
    try:
        target = resolve_name(name)
        for use in uses.split():
            part, _, arguments = use.rstrip(")").partition("(")
            # SUPERVISOR_COMMS has a value only in a task.
            if part in getattr(target, "__annotations__", ()):
                continue
            found = attrgetter(part)(target) if part else target
            if arguments:
                signature(found).bind_partial(**dict.fromkeys(arguments.split(",")))
    except (ImportError, AttributeError, TypeError) as error:
        return str(error)
    return ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(moved_names()), encoding="utf-8")
