"""The forms: their operations, and the fields that each operation uses.

Airflow's forms have no conditional fields. They show all fields, grouped by operation, and a run refuses a value that belongs to
another operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Operation:
    """One choice of a form. ``needs`` names the required fields, and ``takes`` the optional fields."""

    name: str
    title: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    is_read_only: bool = False

    @property
    def label(self) -> str:
        """The text in the form."""
        return f"{self.title}（読み取りのみ）" if self.is_read_only else self.title


@dataclass(frozen=True)
class OperationForm:
    """The operations of one DAG; the first is the default. ``titles`` has the title of each field, by name."""

    operations: tuple[Operation, ...]
    titles: Mapping[str, str]

    def chosen(self, values: Mapping[str, Any]) -> Operation:
        """The operation that the form's values select.

        :raises ParameterError: the operation is unknown, a required field is empty, or a field of another operation has a value.
        """
        # DAG files import this module, and include.skillreport.core.errors imports the database driver.
        from include.skillreport.core.errors import ParameterError

        name = str(values.get("operation") or self.operations[0].name)
        found = [operation for operation in self.operations if operation.name == name]
        if not found:
            names = "、".join(operation.name for operation in self.operations)
            raise ParameterError(
                f"「操作」（operation）{name!r} は使えません。{names} のどれかを指定してください。"
            )
        operation = found[0]
        for field in operation.needs:
            if _is_empty(values.get(field)):
                raise ParameterError(
                    f"操作「{operation.title}」には「{self.titles[field]}」（{field}）が必要です。指定してください。"
                )
        for field in self.titles:
            if field not in (*operation.needs, *operation.takes) and not _is_empty(values.get(field)):
                raise ParameterError(
                    f"「{self.titles[field]}」（{field}）は操作「{operation.title}」では使いません。"
                    f"空欄にするか、「操作」を {'・'.join(self._users(field))} のどれかにしてください。"
                )
        return operation

    def _users(self, field: str) -> list[str]:
        return [
            f"「{operation.title}」"
            for operation in self.operations
            if field in (*operation.needs, *operation.takes)
        ]


def _is_empty(value: object) -> bool:
    if isinstance(value, list):
        return not any(str(each).strip() for each in value)
    return value is None or value is False or not str(value).strip()


# The choices of a tax category, with the labels of include/skillreport/billing/pricing/consumption_tax.py.
TAX_CATEGORIES = {
    "standard": "課税（標準税率）",
    "reduced": "軽減税率",
    "exempt": "非課税",
    "not_taxable": "不課税",
    "export": "免税（輸出）",
    "out_of_scope": "対象外",
}

INVOICES = OperationForm(
    (
        Operation("explain", "内訳の表示", needs=("tenants",), is_read_only=True),
        Operation("approve", "保留中の請求の承認", needs=("tenants",), takes=("allow_incomplete",)),
        Operation("void", "請求書の取消（入金前のみ）", needs=("tenants", "reason")),
        Operation("credit", "返還請求書の発行", needs=("tenants", "reason")),
        Operation("part_credit", "一部の返還", needs=("tenants", "reason", "credit_lines")),
        Operation(
            "reissue",
            "取消して再発行（入金前のみ）",
            needs=("tenants", "reason"),
            takes=("allow_incomplete", "accept_change"),
        ),
        Operation(
            "extra_line",
            "個別明細の追加",
            needs=("tenants", "line_date", "line_text", "line_price"),
            takes=("line_quantity", "line_unit", "line_tax"),
        ),
        Operation("remove_line", "個別明細の取り消し", needs=("tenants", "line_text"), takes=("line_date",)),
        Operation("carry", "差額の翌月への繰越し", needs=("tenants",)),
        Operation("hand_over", "会計月の引き渡し", needs=("accounting_month",), takes=("reason",)),
        Operation(
            "record_payment",
            "入金の記録",
            needs=("tenants", "paid_on", "paid_amount", "paid_method", "paid_reference"),
        ),
        Operation(
            "reverse_payment",
            "入金の取り消し",
            needs=("tenants", "reason", "paid_reference"),
            takes=("paid_invoice",),
        ),
        Operation(
            "move_payment",
            "入金の付け替え",
            needs=("tenants", "reason", "paid_reference", "paid_to"),
            takes=("paid_invoice",),
        ),
        Operation(
            "record_refund",
            "返金の記録",
            needs=("tenants", "reason", "paid_on", "paid_amount", "paid_method", "paid_reference"),
            takes=("paid_invoice",),
        ),
        Operation("import_payments", "入金ファイルの取込み", needs=("payment_file",)),
        Operation("stop_reminders", "督促の停止", needs=("tenants", "reason"), takes=("every_month",)),
        Operation("allow_reminders", "督促の再開", needs=("tenants",), takes=("every_month",)),
    ),
    {
        "tenants": "テナントコード",
        "reason": "理由",
        "credit_lines": "返還する明細",
        "allow_incomplete": "未締め日を許す",
        "accept_change": "大きな変動を認める",
        "line_date": "利用日",
        "line_text": "内容",
        "line_price": "単価",
        "line_quantity": "数量",
        "line_unit": "単位",
        "line_tax": "税区分",
        "accounting_month": "会計月",
        "paid_on": "入金日",
        "paid_amount": "入金額",
        "paid_method": "支払方法",
        "paid_reference": "参照番号",
        "paid_to": "付け替え先の請求書",
        "paid_invoice": "入金のある請求書",
        "payment_file": "入金ファイル",
        "every_month": "すべての月",
    },
)

NOTIFICATIONS = OperationForm(
    (
        Operation("list", "一覧", takes=("tenants",), is_read_only=True),
        Operation("resend", "選んだ通知の再送", needs=("messages",), takes=("tenants",)),
        Operation("discard", "選んだ通知の破棄", needs=("messages",), takes=("tenants",)),
        Operation("mark_sent", "選んだ通知を送信済みにする", needs=("messages",), takes=("tenants",)),
        Operation("reopen", "停止中のチャネルの再開", takes=("tenants",)),
        Operation(
            "list_suppressed", "送信を止めた宛先の一覧", takes=("tenants", "addresses"), is_read_only=True
        ),
        Operation("lift", "送信を止めた宛先の再開", needs=("tenants", "addresses")),
    ),
    {"tenants": "テナントコード", "messages": "メッセージID", "addresses": "メールアドレス"},
)

RESTORE = OperationForm(
    (
        Operation("compare", "テナントの復元と比較", needs=("tenants",), takes=("backup",)),
        Operation("merge", "テナントの復元と反映", needs=("tenants",), takes=("backup",)),
        Operation("new_database", "新しいデータベースへの全体の復元", needs=("target",), takes=("backup",)),
    ),
    {"tenants": "テナントコード", "backup": "バックアップID", "target": "復元先データベース"},
)

UNDO = OperationForm(
    (Operation("undo", "取り消し", needs=("execution",), takes=("tenants",)),),
    {"tenants": "テナントコード", "execution": "取り消す実行"},
)
