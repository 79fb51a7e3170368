"""Undo a run of BATCH-018-05: texts and fields of the form. The DAG file imports this module."""

from __future__ import annotations

from typing import Annotated

from include.skillreport.core.form import Operation, OperationForm, Shows
from include.skillreport.core.form_fields import Code, Lines, ReasonField
from include.skillreport.core.operation_catalog import UNDO_SETTINGS_SYNC

FORM = OperationForm(UNDO_SETTINGS_SYNC)


@FORM.add("undo", "取り消し")
class Undo(Operation):
    """その実行が変えた設定を元の値に戻します。その後に変わった設定は戻しません。"""

    unchanged = "戻す設定は、実行のときに決まり、結果の画面に出ます。"
    shows = Shows(ids=("execution",))

    execution: Annotated[
        str,
        Code(
            "取り消す実行",
            "取り消す実行の実行ID（BATCH-018-05_…）。必須です。DAG batch_018_05_settings_sync の "
            "その実行の sync_settings のログと、batch.setting_change にあります。",
            example="BATCH-018-05_20261101_2533da8f",
            is_target=True,
        ),
    ]
    reason: Annotated[str, ReasonField(example="誤った一覧を適用したため")]
    tenants: Annotated[
        tuple[str, ...],
        Lines(
            "テナントコード", "一部のテナントの変更だけを取り消すときに、そのコードを書きます（1行に1件）。"
        ),
    ] = ()
