"""The steps of BATCH-001 between opening the run and its tenants: the dump, and the proof that it can be restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import Param, get_current_context, task

from skill_batch.tenant_flow import failure_alert, run_step

if TYPE_CHECKING:
    from include.catalog import BatchSpec
    from include.data_management.data_backup.batch import DataBackupBatch


def dump_and_check(spec: BatchSpec, run: Any, _: Any) -> list[Any]:
    """``dump``, then ``check``; the tenants' exports are read from the database that ``check`` restores."""

    @task(task_id="dump", task_display_name="ダンプ", on_failure_callback=failure_alert(spec))
    def dump(run: dict[str, Any]) -> None:
        run_step(
            spec,
            run,
            get_current_context(),
            lambda batch, *step: cast("DataBackupBatch", batch).dump(*step),
        )

    @task(task_id="check", task_display_name="復元検証", on_failure_callback=failure_alert(spec))
    def check(run: dict[str, Any]) -> None:
        run_step(
            spec,
            run,
            get_current_context(),
            lambda batch, *step: cast("DataBackupBatch", batch).check(*step),
        )

    return [dump(run), check(run)]


def backup_params() -> dict[str, Param]:
    """What only BATCH-001 asks for."""
    return {
        "action": Param(
            "backup",
            type="string",
            enum=["backup", "compare", "merge", "restore_database"],
            values_display={
                "backup": "バックアップを取る",
                "compare": "テナントを別スキーマに復元して比べる",
                "merge": "テナントを復元し、現在のデータに反映する",
                "restore_database": "全体を新しいデータベースに復元する",
            },
            title="操作",
            description="復元の結果（現在のデータとの違い）は process のログに出ます。",
        ),
        "backup": Param(
            "",
            type=["null", "string"],
            title="バックアップID",
            description="復元するバックアップ（BKP_YYYYMMDD_NNN）。空欄なら最新の検証済みのもの。",
        ),
        "target": Param(
            "",
            type=["null", "string"],
            title="復元先データベース",
            description="全体を復元するときの新しいデータベース名。既にある名前は使えません。",
        ),
        "accept_smaller": Param(
            False,
            type="boolean",
            title="小さいダンプを認める",
            description="大量に削除した後など、前回の半分より小さくても正しいと確認できたときだけ付けます。",
        ),
    }
