"""The words for states and channels of messages."""

from __future__ import annotations

from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.messaging.contract_letters import (
    CHANNELS_GONE,
    CREDIT_NOTE,
    GENERAL,
    INACTIVITY_CRITICAL,
    INACTIVITY_WARNING,
    INVOICE,
    INVOICE_VOID,
    MONTHLY_REPORT,
    PAYMENT_REMINDER,
    RECIPIENT_CHANGED,
    SETTINGS_BROKEN,
    USAGE_WARNING,
)
from include.skillreport.messaging.reminder_names import CERTIFICATE_EXPIRY, GOAL_DUE, KEYS

# The filter states of the message list. The first ones need an operator.
STATES = {
    "ambiguous": "保留（届いたか不明）",
    "dead": "送信できず",
    "expired": "期限切れ",
    "retry": "再試行待ち",
    "pending": "送信待ち",
    "sending": "送信中",
}

WAITING = "waiting"
SENT = "sent"
FILTERS = STATES | {WAITING: "待っているもの（送信待ちと再試行待ち）", SENT: "送信済み（テナントごと）"}

ALL_STATES = STATES | {
    "sent": "送信済み",
    "discarded": "破棄",
    "withdrawn": "取り下げ",
    "merged": "まとめて送信",
}

# A document's e-mail may have no message yet; BATCH-019-01 creates it (batch.board_letter).
LETTER_STATES = ALL_STATES | {"planned": "送付予定"}


# The kinds of e-mails. All other kinds are the application's own.
KINDS = {
    INVOICE: "請求書",
    CREDIT_NOTE: "返還",
    INVOICE_VOID: "請求書の取消",
    PAYMENT_REMINDER: "督促",
    RECIPIENT_CHANGED: "請求先の変更の確認",
    USAGE_WARNING: "利用量の警告",
    INACTIVITY_WARNING: "利用のないテナントへの案内",
    INACTIVITY_CRITICAL: "利用のないテナントへの案内",
    SETTINGS_BROKEN: "通知設定の問題",
    CHANNELS_GONE: "送れるチャネルがない",
    MONTHLY_REPORT: "月次レポート",
    GENERAL: "お知らせ",
    **dict.fromkeys(KEYS[CERTIFICATE_EXPIRY], "資格の期限"),
    **dict.fromkeys(KEYS[GOAL_DUE], "目標の期限"),
}


def channel_labels() -> dict[str, str]:
    """The names of the channels."""
    return {name: channel.label for name, channel in CHANNELS.items()}
