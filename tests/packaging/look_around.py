"""Run by an environment of production: writes as JSON what Airflow has registered, into the file of its argument."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow import plugins_manager
from airflow.configuration import conf
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.providers_manager import ProvidersManager

# As the DAG processor reads a bundle: its folder is on the path, and so `include` may lie in it.
folder = Path(conf.get_mandatory_value("core", "dags_folder"))
bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
plugins, plugin_errors = plugins_manager._get_plugins()
manager = ProvidersManager()  # type: ignore[no-untyped-call]
manager.initialize_providers_hooks()
widgets = manager.connection_form_widgets
found = {
    "python": sys.version.split()[0],
    "dags": sorted(bag.dags),
    "import_errors": bag.import_errors,
    "plugins": [plugin.name for plugin in plugins if plugin.name == "skill_batch"],
    "plugin_errors": plugin_errors,
    "deadline_references": sorted(plugins_manager.get_deadline_references_plugins()),
    "providers": [name for name in manager.providers if name == "skill-report-batches"],
    "fields": sorted(
        name.removeprefix("extra__") for name in widgets if name.startswith("extra__skill_batch_")
    ),
    "hooks": sorted(
        name for name in manager.hooks if name.startswith("skill_batch_") and manager.hooks[name]
    ),
}
Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
