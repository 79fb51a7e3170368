"""The trigger form of BATCH-019-03, in its own DAG only: whoever runs the whole family has not looked at one tenant's directory."""

from __future__ import annotations

from airflow.sdk import Param


def external_sync_params() -> dict[str, Param]:
    """What only BATCH-019-03 asks for."""
    return {
        "allow_many": Param(
            False,
            type="boolean",
            title="大量の解除を許可",
            description="名簿から消えたアカウントが上限を超えていても、この実行に限り連携を解除します。"
            "サービスの管理画面で名簿を確認し、テナントコードを指定してください。",
        ),
    }
