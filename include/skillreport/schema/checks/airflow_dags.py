"""Check in Airflow that people see the requests for approvals, since a paused DAG shows none, and that the key of the MACs exists."""

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

# As data_backup.mac names it; this layer does not import batches.
MAC_CONNECTION = "skill_batch_backup_mac"

# What the command says of a connection that neither the environment nor a secrets backend nor the metadata database has.
_NOT_FOUND = "Connection not found"


def check_airflow() -> list[Finding]:
    """The DAGs of approvals that are paused, and the missing key of the MACs, as Airflow's own command says.

    Nothing on a machine without an Airflow.
    """
    try:
        answer = _airflow("dags", "list", "--columns", "dag_id,is_paused", "--output", "json")
        if answer is None:
            return []
        answer.check_returncode()
        listed = answer.stdout
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
    # Without its metadata database, Airflow says of every connection that there is none.
    return _missing_mac_key() + [
        remark(
            "approval-paused",
            f"承認の DAG {dag_id} が一時停止中です。確認が画面に出ません。",
            f"再開してください（airflow dags unpause {dag_id}）。",
            dag_id,
        )
        for dag_id in dict.fromkeys(spec.dag_id for spec in APPROVALS.values())
        if paused.get(dag_id)
    ]


def _missing_mac_key() -> list[Finding]:
    try:
        # It prints the password, which stays here.
        answer = _airflow("connections", "get", MAC_CONNECTION)
    except (OSError, subprocess.SubprocessError):
        return []
    if answer is None or _NOT_FOUND not in answer.stderr:
        return []
    return [
        remark(
            "backup-mac",
            f"接続 '{MAC_CONNECTION}' がありません。データベースを失うと、保存先のバックアップと退会の記録が本物かを確かめられません。",
            "種類 Generic で作成し、パスワードに `openssl rand -hex 32` の値を設定してください。控えを Airflow の外にも保管してください。",
            MAC_CONNECTION,
        )
    ]


def _airflow(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """The answer of Airflow's own command; None on a machine without an Airflow."""
    program = shutil.which(
        "airflow", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    )
    # Without a home, the command would create one.
    if program is None or "AIRFLOW_HOME" not in os.environ:
        return None
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
