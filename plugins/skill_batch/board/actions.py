"""What the board's buttons start: an operation of ``include.skillreport.operations.forms``, or a dry run of a batch.

An action is a run of a DAG that already exists, with the values of its form. The DAG checks the values again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from skill_batch.board.statements import SQL as _SQL
from include.skillreport.core.catalog import (
    BATCHES,
    OPERATE_INVOICES,
    OPERATE_NOTIFICATIONS,
    RESTORE_BACKUP,
    UNDO_SETTINGS_SYNC,
    BatchSpec,
    OperationSpec,
    RunSpec,
)
from include.skillreport.core.database import has_control_characters
from include.skillreport.operations.forms import (
    INVOICES,
    NOTIFICATIONS,
    RESTORE,
    TAX_CATEGORIES,
    UNDO,
    Operation,
    OperationForm,
)

# The maximum number of characters of a value, and of lines of a list.
_MOST_CHARACTERS = 2_000
_MOST_LINES = 200

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

_FORMS: Mapping[OperationSpec, OperationForm] = {
    OPERATE_INVOICES: INVOICES,
    OPERATE_NOTIFICATIONS: NOTIFICATIONS,
    RESTORE_BACKUP: RESTORE,
    UNDO_SETTINGS_SYNC: UNDO,
}

# The input type of each field. The other fields are texts.
_KINDS = {
    **dict.fromkeys(("tenants", "messages", "addresses", "credit_lines"), "lines"),
    **dict.fromkeys(("business_date", "line_date", "paid_on", "accounting_month"), "date"),
    **dict.fromkeys(("allow_incomplete", "accept_change", "every_month", "dry_run"), "flag"),
    "line_tax": "choice",
}

_DRY_RUN = "dry_run"

# Fields that are optional in the operation and required in its dialog. An empty list of tenants would reopen the channels of all tenants.
_NEEDED_ON_BOARD = (("reopen", "tenants"),)

# Whether an operation has the field "dry_run" in its dialog. The other operations only read, or change little.
_EFFECTS = {
    ("operate_invoices", "explain"): "何も変わりません。実行のログに、請求の内訳が 1 日単位で出ます。",
    (
        "operate_invoices",
        "approve",
    ): "保留中の請求を確定して番号を付け、請求書を発行します。客先への通知も登録されます。",
    (
        "operate_invoices",
        "void",
    ): "入金前の請求書を取り消します。発行済みなら番号は残り、客先に通知が送られます。"
    "下書きは次の実行で作り直されます。",
    (
        "operate_invoices",
        "credit",
    ): "請求書の残り全部を打ち消す返還請求書を発行します。その月はもう一度請求できます。",
    (
        "operate_invoices",
        "part_credit",
    ): "指定した明細の一部だけの返還請求書を発行します。請求書は有効なままです。",
    ("operate_invoices", "reissue"): "入金前の請求書を取り消し、計算し直して新しい番号で発行します。",
    ("operate_invoices", "extra_line"): "利用日の月の請求書に載る明細を登録します。",
    ("operate_invoices", "remove_line"): "まだ請求書に載っていない明細を取り消します。",
    ("operate_invoices", "carry"): "締め直された月の差額を、まだ確定していない月の明細として登録します。",
    ("operate_invoices", "hand_over"): "その月の会計ファイルを最後に書き、以後は変えません。",
    ("operate_invoices", "record_payment"): "請求書の入金を記録します。全額ならアプリでも PAID になります。",
    ("operate_invoices", "reverse_payment"): "誤って記録した入金か返金を取り消します。行は残ります。",
    ("operate_invoices", "move_payment"): "入金を別の請求書へ移します。入金日は変わりません。",
    ("operate_invoices", "record_refund"): "過入金から客先へ返したお金を記録します。",
    ("operate_invoices", "import_payments"): "保存先の payments/ にある CSV の入金を 1 回だけ記録します。",
    ("operate_invoices", "stop_reminders"): "対象月の請求書（または、すべての請求書）の督促を送りません。",
    ("operate_invoices", "allow_reminders"): "督促の停止を取り消します。",
    ("operate_notifications", "list"): "何も変わりません。実行のログに、待機・保留・失敗の通知が出ます。",
    ("operate_notifications", "resend"): "送信待ちに戻して送信します。停止中のチャネルも再開します。",
    ("operate_notifications", "discard"): "この通知はもう送信しません。",
    ("operate_notifications", "mark_sent"): "届いたものとして記録し、もう送信しません。",
    (
        "operate_notifications",
        "reopen",
    ): "このテナントの停止中のチャネルをすべて再開し、待機中の通知を送信します。",
    ("operate_notifications", "list_suppressed"): "何も変わりません。送信を止めた宛先が実行のログに出ます。",
    ("operate_notifications", "lift"): "次の通知から、その宛先に送信します。",
    (
        "restore_backup",
        "compare",
    ): "別のスキーマに復元して、現在の行との違いをログに出します。現在の行は変わりません。",
    (
        "restore_backup",
        "merge",
    ): "復元した行を現在の表に反映します。先に「テナントの復元と比較」で違いを確認してください。",
    ("restore_backup", "new_database"): "新しいデータベースを作り、全体を復元します。",
    (
        "undo_settings_sync",
        "undo",
    ): "その実行が変えた設定を元の値に戻します。その後に変わった設定は戻しません。",
}

_DRY_RUN_EFFECT = "計算だけ行います。実行ログ以外には何も書き込まず、何も送信しません。"


class ActionError(Exception):
    """A value of the dialog cannot be used. The message names the field."""


@dataclass(frozen=True)
class Field:
    """A field of the dialog. ``kind``: ``text``, ``lines``, ``date``, ``flag`` or ``choice`` (of ``choices``)."""

    name: str
    title: str
    kind: str
    is_required: bool
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """A run that a user starts: the DAG of ``spec`` with ``operation``, or a dry run of a batch (``operation`` is None)."""

    spec: RunSpec
    operation: Operation | None
    fields: Sequence[Field]
    effect: str

    @property
    def name(self) -> str:
        """The last part of the action's address."""
        return self.operation.name if self.operation else _DRY_RUN

    @property
    def batch(self) -> BatchSpec | None:
        """The batch of a dry run; None for an operation."""
        return self.spec if isinstance(self.spec, BatchSpec) else None

    @property
    def title(self) -> str:
        """The text of the button."""
        return self.operation.title if self.operation else "ドライラン"

    @property
    def is_read_only(self) -> bool:
        """Whether the run changes nothing."""
        return self.operation is None or self.operation.is_read_only

    def conf(self, values: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """The form values of the DAG run from the values of the dialog, which are texts.

        :raises ActionError: a value is missing, too long, or of the wrong form.
        """
        conf: dict[str, Any] = {"operation": self.operation.name} if self.operation else {_DRY_RUN: True}
        for each in self.fields:
            value = _value(each, values.get(each.name, ()))
            if value in (None, [], "", False):
                if each.is_required:
                    raise ActionError(f"「{each.title}」を入力してください。")
                continue
            conf[each.name] = value
        return conf


def find_action(dag_id: str, name: str) -> Action | None:
    """The action of this DAG with this name, or None."""
    for spec, form in _FORMS.items():
        if spec.dag_id == dag_id:
            operation = next((each for each in form.operations if each.name == name), None)
            return _operation_action(spec, form, operation) if operation else None
    batch = next((spec for spec in BATCHES if spec.dag_id == dag_id), None)
    if batch is None or name != _DRY_RUN:
        return None
    fields = [
        _field("business_date", "業務日"),
        *([_field("tenants", "テナントコード")] if batch.per_tenant else []),
    ]
    return Action(batch, None, fields, _DRY_RUN_EFFECT)


def unknown_tenants(
    connection: psycopg.Connection[Any], codes: Sequence[str], *, takes_former: bool = False
) -> list[str]:
    """The codes that are neither the code nor the id of a tenant.

    ``takes_former``: tenants that the application has deleted and that have invoices count as known.
    """
    return _SQL.column(connection, "unknown_tenant_codes", codes=list(codes), takes_former=takes_former)


def unknown_messages(connection: psycopg.Connection[Any], message_ids: Sequence[str]) -> list[str]:
    """The ids that no message has."""
    return _SQL.column(connection, "unknown_messages", message_ids=list(message_ids))


def _operation_action(spec: OperationSpec, form: OperationForm, operation: Operation) -> Action:
    fields = [
        *([_field("business_date", "対象月（その月のどれか 1 日）")] if spec is OPERATE_INVOICES else []),
        *(_field(name, form.titles[name], is_required=True) for name in operation.needs),
        *(
            _field(name, form.titles[name], is_required=(operation.name, name) in _NEEDED_ON_BOARD)
            for name in operation.takes
        ),
        *([] if operation.is_read_only else [_field(_DRY_RUN, "ドライラン（確認だけ）")]),
    ]
    return Action(spec, operation, fields, _EFFECTS[(spec.dag_id, operation.name)])


def _field(name: str, title: str, *, is_required: bool = False) -> Field:
    return Field(
        name,
        title,
        _KINDS.get(name, "text"),
        is_required,
        TAX_CATEGORIES if name == "line_tax" else {},
    )


def _value(each: Field, given: Sequence[str]) -> Any:
    if any(len(text) > _MOST_CHARACTERS for text in given):
        raise ActionError(f"「{each.title}」が長すぎます（{_MOST_CHARACTERS} 文字まで）。")
    if any(has_control_characters(" ".join(text.split())) for text in given):
        raise ActionError(f"「{each.title}」に使えない制御文字があります。")
    if each.kind == "lines":
        lines = [line.strip() for text in given for line in text.splitlines() if line.strip()]
        if len(lines) > _MOST_LINES:
            raise ActionError(f"「{each.title}」は {_MOST_LINES} 件までです。")
        return lines
    text = given[-1].strip() if given else ""
    if each.kind == "flag":
        return text == "on"
    if text and each.kind == "date" and not _DAY.fullmatch(text):
        raise ActionError(f"「{each.title}」は YYYY-MM-DD で入力してください。")
    if text and each.kind == "choice" and text not in each.choices:
        raise ActionError(f"「{each.title}」の値が正しくありません。")
    return text
