"""Check that people see the requests for approvals: a paused DAG shows none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.schema.checks.findings import Finding, remark

# Airflow's command loads its providers first.
_SECONDS = 120


def find_paused_approvals() -> list[Finding]:
    """The DAGs of approvals that are paused, as Airflow's own command says. Nothing on a machine without an Airflow."""
    program = shutil.which(
        "airflow", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    )
    # Without a home, the command would create one.
    if program is None or "AIRFLOW_HOME" not in os.environ:
        return []
    try:
        listed = subprocess.run(
            [program, "dags", "list", "--columns", "dag_id,is_paused", "--output", "json"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        ).stdout
        # Its log may come first.
        paused = {
            row["dag_id"]: str(row["is_paused"]) == "True" for row in json.loads(listed[listed.index("[{") :])
        }
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return [
            remark(
                "approvals-unchecked",
                "承認の DAG が一時停止中かは、調べられませんでした（airflow dags list が答えません）。",
                "Airflow のメタデータデータベースに接続できる所で check を実行してください。",
                "airflow",
            )
        ]
    return [
        remark(
            "approval-paused",
            f"承認の DAG {dag_id} が一時停止中です。確認が画面に出ません。",
            f"再開してください（airflow dags unpause {dag_id}）。",
            dag_id,
        )
        for dag_id in dict.fromkeys(spec.dag_id for spec in APPROVALS.values())
        if paused.get(dag_id)
    ]
