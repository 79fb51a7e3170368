"""The stages of an offboarding, up to the request for approval: texts and fields. The DAG file imports this module."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

from include.skillreport.core.errors import ParameterError
from include.skillreport.core.form import Operation, OperationForm, Shows
from include.skillreport.core.form_fields import Code, Codes, Flag, ReasonField
from include.skillreport.core.operation_catalog import OFFBOARD_TENANT

FORM = OperationForm(OFFBOARD_TENANT)

# The possible open items of a leaving tenant, by the names of the fields and of the keys of offboarding.open_items.
OPEN_ITEMS = {
    "open_invoices": "未入金の請求書",
    "held_drafts": "確定していない請求書",
    "unbilled_days": "請求していない利用日",
    "waiting_messages": "送信を待つ通知",
    "directory_links": "外部サービスのアカウントとの対応",
}


# The displayed names of the stages.
STAGES = {
    "begun": "開始済み",
    "exported": "書き出し済み・待機中",
    "asked": "承認の依頼中",
    "frozen": "承認済み・削除中",
    "deleted": "削除済み",
    "cancelled": "取りやめ",
}


def _key_problem(key: str) -> str:
    import pyrage  # type: ignore[import-untyped]

    try:
        pyrage.x25519.Recipient.from_str(key)
    except pyrage.RecipientError:
        return (
            "は age の公開鍵（age1…）ではありません。お客様が `age-keygen` で作った公開鍵を指定してください。"
        )
    return ""


Tenants = Annotated[
    tuple[str, ...],
    Codes("テナントコード", "退会するテナントのコード。必須です。1 件だけ指定します。", is_target=True),
]
Reason = Annotated[str, ReasonField(example="契約終了のため")]
AgeKey = Annotated[
    str,
    Code(
        "お客様の公開鍵",
        "お客様に渡すファイルを暗号化する age の公開鍵（age1…）。必須です。",
        example="age1wtmlj5n8paetq5r52gne0jmncr04gpfwdsstt8udfydp36k67cxsl8eksu",
        problem=_key_problem,
    ),
]


class OffboardingStage(Operation):
    """A stage of one tenant."""

    unchanged = "テナントの行は、この操作では変わりません。"
    takes_former: ClassVar[bool] = True
    of_month: ClassVar[bool] = False
    shows = Shows("offboardings")

    tenants: Tenants

    def check(self, _: date, /) -> None:
        if len(self.tenants) != 1:
            raise ParameterError("「テナントコード」（tenants）に、1 つのテナントだけを指定してください。")


@FORM.add("begin", "退会の開始")
class Begin(OffboardingStage):
    """退会の手続きを始めます。契約が終わったテナントだけです。片付いていないものがあれば一覧を出して止まります。承知したものを選んで、もう一度始めます。"""

    reason: Reason
    open_invoices: Annotated[
        bool, Flag("未入金の請求書を承知", "削除の後も請求書は残り、入金を記録できます。")
    ] = False
    held_drafts: Annotated[
        bool, Flag("確定していない請求書を承知", "削除の後は、確定できません。取消だけできます。")
    ] = False
    unbilled_days: Annotated[bool, Flag("請求していない利用日を承知", "削除の後は、請求しません。")] = False
    waiting_messages: Annotated[bool, Flag("送信を待つ通知を承知", "削除のとき、送らずに破棄します。")] = (
        False
    )
    directory_links: Annotated[
        bool, Flag("外部サービスとの対応を承知", "削除のとき消えます。外部サービスのアカウントは残ります。")
    ] = False


@FORM.add("export", "退会の書き出し")
class Export(OffboardingStage):
    """テナントの全行を書き出し、別のデータベースに復元して照合します。お客様に渡すファイルも作ります。待機の日数は、初めての書き出しから数えます。"""

    age_key: AgeKey


@FORM.add("ask", "削除の承認の依頼", button="削除の承認を依頼")
class Ask(OffboardingStage):
    """待機が終わったテナントの、表ごとの件数を数え、ほかの人に削除の承認を依頼します。止まった削除を続けるときも使います（もう一度承認）。"""


@FORM.add("cancel", "退会の取りやめ")
class Cancel(OffboardingStage):
    """退会の手続きを取りやめ、書き出したファイルを消します。削除が始まると取りやめられません。"""

    reason: Reason


@FORM.add("dispute", "退会の記録の取り消し")
class DisputeEntry(OffboardingStage):
    """保存先の退会の記録（deleted_tenants/）が誤りで、退会していないテナントの削除を求めるときに使います。ほかの人が承認すると、
    記録を取り消し、バッチがまた動きます。テナントの行は変わりません。
    """

    reason: Reason


@FORM.add("supplement", "証明書の追補")
class Supplement(OffboardingStage):
    """削除したテナントを含む検証済みのバックアップがなくなったら、そのことを書いた証明書（日本語、英語）を保存先に作ります。"""
