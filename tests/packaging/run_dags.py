"""Run by an environment of production: runs DAGs as ``airflow dags test`` does, in one process; writes their states as JSON.

The arguments are the file for the states, and a JSON list of runs: DAG id, logical date (ISO 8601), values of the form.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

states = {}
for dag_id, date, conf in json.loads(sys.argv[2]):
    run = DagBag().dags[dag_id].test(logical_date=datetime.fromisoformat(date), run_conf=conf)
    states[dag_id] = str(run.state)
Path(sys.argv[1]).write_text(json.dumps(states), encoding="utf-8")
