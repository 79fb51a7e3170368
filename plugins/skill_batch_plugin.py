"""Loads the Airflow plugin from this folder, unless an entry point does. Airflow reports a second plugin of the same name as an error.

``.airflowignore`` excludes the package ``skill_batch`` from the plugin loader.
"""

from skill_batch.wheel import has_entry_point

if not has_entry_point():
    from skill_batch.plugin import SkillBatchPlugin

    __all__ = ["SkillBatchPlugin"]
