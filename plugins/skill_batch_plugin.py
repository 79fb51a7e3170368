"""The only plugin: what Airflow has to know by name. ``.airflowignore`` keeps the plugin loader out of the package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from skill_batch.deadlines import RunBegins, UsualEnd


class SkillBatchPlugin(AirflowPlugin):
    """The custom deadline references, which Airflow reads back from a run's stored deadline."""

    name = "skill_batch"
    deadline_references = (RunBegins, UsualEnd)
