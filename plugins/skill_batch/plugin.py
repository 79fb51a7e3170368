"""The Airflow plugin. The wheel's entry point or ``plugins/skill_batch_plugin.py`` loads it."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

# The scheduler loads the plugin before it forks the task processes. Otherwise, each of them would spend 0.2 s on these two imports.
import airflow.providers.postgres.hooks.postgres  # noqa: F401
import psycopg  # noqa: F401
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import conf

from skill_batch import marked_runs
from skill_batch.deadlines import RunBegins, UsualEnd
from skill_batch.operator_links import BoardLink
from skill_batch.wheel import MixedVersionsError, refuse_mixed_versions

log = logging.getLogger(__name__)

try:
    refuse_mixed_versions(Path(conf.get("core", "plugins_folder")))
except MixedVersionsError as error:
    # The DAG files raise the error. A failed plugin would be missing until a restart.
    log.error("%s", error)


class SkillBatchPlugin(AirflowPlugin):
    """Registers the deadline references, which Airflow stores with a run's deadline, the operators' board and its links, and the listener
    for runs that a user marks as failed.
    """

    name = "skill_batch"
    deadline_references = [RunBegins, UsualEnd]  # noqa: RUF012  # the type that Airflow declares
    global_operator_extra_links = [BoardLink()]  # noqa: RUF012  # the type that Airflow declares
    listeners = [marked_runs]  # noqa: RUF012  # the type that Airflow declares

    # An address without a leading slash is below the path prefix of the API server.
    external_views = [  # noqa: RUF012  # Airflow removes views from the list
        {
            "name": "バッチ運用ボード",
            "href": "skill-batch-board/",
            "destination": "nav",
            "url_route": "skill-batch-board",
            "icon": "skill-batch-board/static/board.svg",
            "nav_top_level": True,
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The board's app. Only the API server calls this and imports the board.

        An error of the board is only logged, because Airflow's UI must start without it.
        """
        try:
            from skill_batch.board.application import create_app

            return [{"app": create_app(), "url_prefix": "/skill-batch-board", "name": "skill-batch-board"}]
        except Exception:
            log.exception("The operators' board cannot be built")
            return []
