"""Restore from a backup: texts and fields of the operations. The DAG file imports this module."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import Operation, OperationForm, Shows
from include.skillreport.core.form_fields import Code, Field, Flag, Lines, ReasonField
from include.skillreport.core.operation_catalog import RESTORE_BACKUP

FORM = OperationForm(RESTORE_BACKUP)

Backup = Annotated[
    str,
    Code(
        "バックアップID",
        "復元するバックアップ（BKP_YYYYMMDD_NNN）。空欄なら最新の検証済みのもの。",
        example="BKP_20261101_001",
        is_target=True,
    ),
]
Tenants = Annotated[
    tuple[str, ...],
    Lines(
        "テナントコード",
        "復元するテナントのコード（1行に1件）。全体の復元では、今の行とも比べるテナントだけ（任意）。ほかは必須です。",
        is_target=True,
    ),
]
WithoutMac = Annotated[
    bool,
    Flag(
        "検証コードのないバックアップを認める",
        "データベースに記録がなく、検証コード（MAC）も正しくないバックアップを使います。保存先に書ける人は、復元のときに任意の SQL を"
        "実行させられます。出所を確かめたときだけ選んでください。認めた人は実行ログに残ります。",
    ),
]
Target = Annotated[
    str,
    Field(
        "復元先データベース",
        "新しいデータベースの名前。必須です。既にある名前は使えません。",
        example="skillreport_restored",
    ),
]
Reason = Annotated[str, ReasonField(example="誤って消した行を戻すため")]
Archive = Annotated[
    str,
    Code(
        "書庫",
        "復元する書庫。「削除済みの行の書庫の一覧」に出る名前。必須です。",
        example="2026-11-22/BATCH-002_20261122-TRN_SkillRecord-0123456789ab",
    ),
]


@FORM.add("list_deleted_rows", "削除済みの行の書庫の一覧", is_read_only=True)
class ListDeletedRows(Operation):
    """何も変わりません。BATCH-002 が削除した行の書庫が、実行のログに出ます。"""

    shows = Shows()

    tenants: Tenants


class Restore(Operation):
    """A restore of the named backup, or of the newest one."""

    shows = Shows(ids=("backup",))

    backup: Backup = ""
    without_mac: WithoutMac = False

    def check(self, _: date) -> None:
        """A backup without proof must be named."""
        if self.without_mac and not self.backup:
            raise ParameterError(
                "「検証コードのないバックアップを認める」（without_mac）には「バックアップID」（backup）を指定してください。"
            )


@FORM.add("compare", "テナントの復元と比較")
class Compare(Restore):
    """別のスキーマに復元して、現在の行との違いをログに出します。現在の行は変わりません。"""

    unchanged = "現在の行は変わりません。"

    tenants: Tenants


@FORM.add("merge", "テナントの復元と反映")
class Merge(Restore):
    """復元した行を現在の表に反映します。先に「テナントの復元と比較」で違いを確認してください。取得後に増えた行は残ります。
    スキーマ batch の表（請求書、送信待ちの通知など）は反映しません。
    """

    unchanged = "変わる行は、比較の結果のとおりです。"

    tenants: Tenants
    reason: Reason


@FORM.add("new_database", "新しいデータベースへの全体の復元", button="新しいデータベースへ復元")
class NewDatabase(Restore):
    """新しいデータベースを作って全体を復元し、取得時と照合します。テナントを書くと、そのテナントの現在の行との違いも出ます。
    所有者と権限は、スーパーユーザーの接続のときだけ復元します。
    """

    unchanged = "現在のデータベースは変わりません。"

    target: Target
    reason: Reason
    tenants: Tenants = ()


@FORM.add("restore_deleted_rows", "削除済みの行の復元")
class RestoreDeletedRows(Operation):
    """BATCH-002 が削除した行のうち、今ない行を戻します。同じキーの行が今あれば、今の行が残ります。"""

    unchanged = "戻る行は、書庫を読むまで決まりません。結果の画面に出ます。"
    shows = Shows(ids=("archive",))

    tenants: Tenants
    archive: Archive
    reason: Reason

    def check(self, _: date) -> None:
        """An archive contains one tenant's rows."""
        if len(self.tenants) > 1:
            raise ParameterError(
                "「テナントコード」（tenants）は、書庫のテナントを 1 件だけ指定してください。"
            )
