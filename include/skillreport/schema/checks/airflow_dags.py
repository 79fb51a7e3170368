"""Check in Airflow that approval DAGs are not paused (they would show no requests), and that keys exist and are valid."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from include.skillreport.core.operation_catalog import APPROVALS
from include.skillreport.schema.checks.findings import Finding, remark

# Airflow's command first loads its providers.
_SECONDS = 120

# The name in data_backup.mac; this layer does not import batches.
MAC_CONNECTION = "skill_batch_backup_mac"

# The receiver of HTTP alerts, its signed preset, and the key length of Standard Webhooks 1.0. skill_batch.notifiers has the same rules, but
# imports nothing from here (decision 0010).
ALERT_CONNECTION = "skill_batch_alert_http"
_SIGNED_PRESET = "json"
_KEY_SCHEME, _KEY_BYTES = "whsec_", range(24, 65)

_NOT_FOUND = "Connection not found"


def check_airflow() -> list[Finding]:
    """Paused approval DAGs and missing or invalid keys, according to Airflow's command. Empty without Airflow."""
    try:
        answer = _airflow("dags", "list", "--columns", "dag_id,is_paused", "--output", "json")
        if answer is None:
            return []
        answer.check_returncode()
        listed = answer.stdout
        # Airflow's log may come first.
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
    # Without its metadata database, Airflow reports every connection as missing.
    return [
        *_missing_mac_key(),
        *_unusable_signing_key(),
        *(
            remark(
                "approval-paused",
                f"承認の DAG {dag_id} が一時停止中です。確認が画面に出ません。",
                f"再開してください（airflow dags unpause {dag_id}）。",
                dag_id,
            )
            for dag_id in dict.fromkeys(spec.dag_id for spec in APPROVALS.values())
            if paused.get(dag_id)
        ),
    ]


def is_signing_key(password: str) -> bool:
    """True if the key can sign requests: ``whsec_`` and 24 to 64 bytes in Base64 (Standard Webhooks 1.0)."""
    try:
        key = base64.b64decode(password.removeprefix(_KEY_SCHEME), validate=True)
    except ValueError:
        return False
    return password.startswith(_KEY_SCHEME) and len(key) in _KEY_BYTES


def _missing_mac_key() -> list[Finding]:
    if _connection(MAC_CONNECTION) != {}:
        return []
    return [
        remark(
            "backup-mac",
            f"接続 '{MAC_CONNECTION}' がありません。データベースを失うと、保存先のバックアップと退会の記録が本物かを確かめられません。",
            "種類 Generic で作成し、パスワードに `openssl rand -hex 32` の値を設定してください。控えを Airflow の外にも保管してください。",
            MAC_CONNECTION,
        )
    ]


def _unusable_signing_key() -> list[Finding]:
    receiver = _connection(ALERT_CONNECTION)
    if not receiver:
        return []
    preset = (receiver.get("extra_dejson") or {}).get("preset") or _SIGNED_PRESET
    if preset != _SIGNED_PRESET or is_signing_key((receiver.get("password") or "").strip()):
        return []
    return [
        remark(
            "alert-key",
            f"接続 '{ALERT_CONNECTION}' の Password では署名できません。運用アラートは受信側に届きません。",
            'whsec_ と 24〜64 バイトの Base64 にしてください。`echo "whsec_$(openssl rand -base64 32)"` で作れます。',
            ALERT_CONNECTION,
        )
    ]


def _connection(conn_id: str) -> dict[str, Any] | None:
    """The connection with its secrets. It is empty if there is none, and None if Airflow does not answer."""
    try:
        answer = _airflow("connections", "get", conn_id, "--output", "json")
    except (OSError, subprocess.SubprocessError):
        return None
    if answer is None:
        return None
    if _NOT_FOUND in answer.stderr:
        return {}
    try:
        # Airflow's log may come first.
        (found,) = json.loads(answer.stdout[answer.stdout.index("[{") :])
    except ValueError:
        return None
    return dict(found)


def _airflow(*arguments: str) -> subprocess.CompletedProcess[str] | None:
    """Returns None without Airflow."""
    program = shutil.which(
        "airflow", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    )
    # Without AIRFLOW_HOME, the command would create a folder.
    if program is None or "AIRFLOW_HOME" not in os.environ:
        return None
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
