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
        # DAG files import this module, and include.errors imports the database driver.
        from include.errors import ParameterError

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


INVOICES = OperationForm(
    (
        Operation("explain", "内訳の表示", needs=("tenants",), is_read_only=True),
        Operation("approve", "保留中の請求の承認", needs=("tenants",), takes=("allow_incomplete",)),
        Operation("void", "請求書の取消（入金前のみ）", needs=("tenants", "reason")),
        Operation("credit", "返還請求書の発行", needs=("tenants", "reason")),
        Operation(
            "reissue",
            "取消して再発行（入金前のみ）",
            needs=("tenants", "reason"),
            takes=("allow_incomplete", "accept_change"),
        ),
    ),
    {
        "tenants": "テナントコード",
        "reason": "理由",
        "allow_incomplete": "未締め日を許す",
        "accept_change": "大きな変動を認める",
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
