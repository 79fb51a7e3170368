"""The words for states and channels of messages."""

from __future__ import annotations

from include.skillreport.messaging.channels import CHANNELS

# The filter states of the list of messages. The first ones need an operator.
STATES = {
    "ambiguous": "保留（届いたか不明）",
    "dead": "送信できず",
    "expired": "期限切れ",
    "retry": "再試行待ち",
    "pending": "送信待ち",
    "sending": "送信中",
}

# The filters of the list: a state, or those that wait for a sender.
WAITING = "waiting"
FILTERS = STATES | {WAITING: "待っているもの（送信待ちと再試行待ち）"}

# States that still need an action, and final states.
ALL_STATES = STATES | {
    "sent": "送信済み",
    "discarded": "破棄",
    "withdrawn": "取り下げ",
    "merged": "まとめて送信",
}


def channel_labels() -> dict[str, str]:
    """The names of the channels."""
    return {name: channel.label for name, channel in CHANNELS.items()}
