"""The only Airflow plugin. ``.airflowignore`` keeps the plugin loader out of the package ``skill_batch``."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from skill_batch.deadlines import RunBegins, UsualEnd


class SkillBatchPlugin(AirflowPlugin):
    """Registers the custom deadline references, which Airflow stores with a run's deadline."""

    name = "skill_batch"
    deadline_references = (RunBegins, UsualEnd)
