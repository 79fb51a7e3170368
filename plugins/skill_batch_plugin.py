"""Loads the Airflow plugin from this folder, unless an entry point does: Airflow reports a second one as an error.

``.airflowignore`` keeps the plugin loader out of the package ``skill_batch``.
"""

from skill_batch.wheel import has_entry_point

if not has_entry_point():
    from skill_batch.plugin import SkillBatchPlugin

    __all__ = ["SkillBatchPlugin"]
