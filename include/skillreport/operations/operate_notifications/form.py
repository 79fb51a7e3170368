"""Operations on messages, channels and suppressed addresses: texts and fields. The DAG file imports this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from include.skillreport.core.form import Operation, OperationForm, Shows
from include.skillreport.core.form_fields import Codes, Flag, Lines, ReasonField
from include.skillreport.core.operation_catalog import OPERATE_NOTIFICATIONS

FORM = OperationForm(OPERATE_NOTIFICATIONS)


def _addresses_problem(addresses: Sequence[str]) -> str:
    """The invalid addresses, masked, because errors are logged."""
    from include.skillreport.core.execution.digest import listed
    from include.skillreport.messaging.channels.email.letter import is_address
    from include.skillreport.messaging.suppression import masked

    malformed = [each for each in addresses if not is_address(each)]
    named = "、".join(listed(malformed, masked, "ほか {:,} 件"))
    return named and (
        f"の {named} はメールアドレスではありません。1 行に 1 件、表示名を付けずに指定してください。"
    )


Tenants = Annotated[
    tuple[str, ...],
    Lines(
        "テナントコード",
        "操作するテナントのコード（1行に1件）。空欄なら稼働中の全テナントと、通知が残っている停止・解約のテナント。",
        is_target=True,
    ),
]
Messages = Annotated[
    tuple[str, ...],
    Codes(
        "メッセージID",
        "通知のID（1行に1件）。必須です。「一覧」に出ます。",
        example=("4f0c7d1e-2b7a-4c55",),
        is_target=True,
    ),
]
Addresses = Annotated[
    tuple[str, ...],
    Lines(
        "メールアドレス",
        "宛先（1行に1件）。再開には必須です。一覧では、指定した宛先だけを伏せずに出します。",
        example=("taro@example.jp",),
        problem=_addresses_problem,
    ),
]
Reason = Annotated[
    str,
    ReasonField(
        "実行の記録に残り、ボードに出ます。停止の理由は、「通知」と一覧にも出ます。",
        example="メールサーバーの設定を直したため",
    ),
]


@FORM.add("list", "一覧", is_read_only=True)
class List(Operation):
    """何も変わりません。実行のログに、待機・保留・失敗の通知が出ます。"""

    shows = Shows()

    tenants: Tenants = ()


class MessageDecision(Operation):
    """A decision about the selected messages."""

    unchanged = "変わるのは、上の通知の状態だけです。"
    shows = Shows(ids=("messages",), tenants=False)

    messages: Messages
    reason: Reason
    tenants: Tenants = ()


@FORM.add("resend", "選んだ通知の再送")
class Resend(MessageDecision):
    """送信待ちに戻して送信します。停止中のチャネルも再開します。"""

    mail = "選んだ通知を、宛先に送り直します。"


@FORM.add("discard", "選んだ通知の破棄")
class Discard(MessageDecision):
    """この通知はもう送信しません。"""


@FORM.add("mark_sent", "選んだ通知を送信済みにする")
class MarkSent(MessageDecision):
    """届いたものとして記録し、もう送信しません。"""


@FORM.add("reopen", "停止中のチャネルの再開")
class ReopenChannels(Operation):
    """テナントの停止中のチャネルを再開し、待機中の通知を送信します。"""

    shows = Shows("channels")
    unchanged = "変わるのは、チャネルと、待っている通知の状態だけです。"
    mail = "待っている通知を、宛先に送ります。"
    # An empty list would reopen the channels of all tenants.
    needed_on_board = ("tenants",)

    reason: Reason
    tenants: Tenants = ()


@FORM.add("list_suppressed", "送信を止めた宛先の一覧", is_read_only=True)
class ListSuppressed(Operation):
    """何も変わりません。送信を止めた宛先が実行のログに出ます。"""

    shows = Shows()

    tenants: Tenants = ()
    addresses: Addresses = ()


@FORM.add("lift", "送信を止めた宛先の再開")
class Lift(Operation):
    """次の通知から、その宛先に送信します。"""

    unchanged = "前に送らなかった通知は、そのままです。"
    mail = "次の通知から、その宛先に送ります。"
    shows = Shows()

    tenants: Tenants
    addresses: Addresses
    reason: Reason


@FORM.add("stop", "テナントの通知の停止", button="通知を止める")
class Stop(Operation):
    """再開するまで、このテナントの通知を送りません。待っている通知は残り、期限切れになりません。
    契約の通知（請求書、督促、利用量の警告など）は、選んだときだけ止まります。
    """

    shows = Shows("stops")
    unchanged = "待っている通知の内容と期限は変わりません。"
    mail = "再開するまで、このテナントに通知を送りません（契約の通知は、選んだときだけ）。"

    tenants: Tenants
    reason: Reason
    contract_letters: Annotated[bool, Flag("契約の通知も止める", "請求書、督促なども止めます。")] = False


@FORM.add("resume", "テナントの通知の再開", button="通知を再開する")
class Resume(Operation):
    """停止を取り消し、待っている通知を送信します。期限は再開から数えます。"""

    shows = Shows("stops")
    unchanged = "待っている通知の内容は変わりません。"
    mail = ReopenChannels.mail

    tenants: Tenants
    reason: Reason
