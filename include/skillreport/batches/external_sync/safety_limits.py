"""Safety limits: a listing that would end too many links or channels is not applied. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from include.skillreport.batches.external_sync.plan import PlanInputs
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.messaging.channels.directory import Account


def implausible(people: Sequence[Account]) -> str:
    """Why a complete listing cannot be the company's directory; empty if it can."""
    if not people:
        return "名簿に利用者が 1 人もいません。サービスの管理画面と、トークンの権限を確認してください"
    if not any(account.email for account in people):
        return "名簿にメールアドレスが 1 件もありません。メールアドレスを読む権限（users:read.email など）を確認してください"
    return ""


class EndingLimit(StrEnum):
    """Objects that may end only in small numbers. The value is the name in a held plan's reason."""

    LINKS = "連携"
    CHANNELS = "通知設定の宛先のチャンネル"


@dataclass(frozen=True)
class _Words:
    """Where an object is absent, and the number from which the absence of all is implausible."""

    place: str
    all_from: int


# A link returns with its account. A disabled notification setting stays disabled, so its limit is stricter.
_WORDS = {EndingLimit.LINKS: _Words("のアカウントが名簿", 3), EndingLimit.CHANNELS: _Words("が一覧", 1)}

_ADVICE = "サービスの管理画面と、トークンの接続先・権限を確認し、正しければ、このテナントを指定して「大量の解除を許可」で実行してください"


def reason_to_hold(exceeded: Mapping[EndingLimit, str]) -> str:
    """The reason why these limits hold a plan, and the action."""
    return f"{''.join(exceeded.values())}{_ADVICE}"


def limits_of(reason: str) -> frozenset[EndingLimit]:
    """The limits in a reason of ``reason_to_hold``."""
    return frozenset(limit for limit in EndingLimit if f"{limit} " in reason)


def exceeded_limits(
    world: PlanInputs, absent: int, active: int, settings: ExternalSyncSettings
) -> dict[EndingLimit, str]:
    """The exceeded limits, and a sentence about each. ``absent`` of ``active`` links have no account in the listing."""
    sentences = {
        EndingLimit.LINKS: _too_many(EndingLimit.LINKS, absent, active, settings),
        EndingLimit.CHANNELS: _too_many_channels(world, settings),
    }
    return {limit: sentence for limit, sentence in sentences.items() if sentence}


def _too_many_channels(world: PlanInputs, settings: ExternalSyncSettings) -> str:
    """Why the list of channels is implausible, or empty. A wrong bot, or a bot without permissions, sees few channels or none.

    Counts only channels that notification settings name.
    """
    listed = {channel.external_id for channel in world.channels}
    named = {name for setting in world.settings for name in setting.destinations}
    spelled = world.provider.directory.spellings
    at_stake = [
        each.channel.external_id
        for each in world.known_channels
        if not each.channel.is_archived and not named.isdisjoint(spelled(each.channel))
    ]
    absent = sum(external_id not in listed for external_id in at_stake)
    # A single channel can vanish if other channels are listed.
    if absent == len(at_stake) == 1 and listed:
        return ""
    return _too_many(EndingLimit.CHANNELS, absent, len(at_stake), settings)


def _too_many(limit: EndingLimit, absent: int, active: int, settings: ExternalSyncSettings) -> str:
    """Why the number is implausible, or empty. If all are absent, the token probably belongs to another workspace."""
    if active >= settings.small_directory_links:
        is_many = absent * 100 > active * settings.most_ending_percent
        bound = f"{settings.most_ending_percent} %"
    else:
        is_many = absent > settings.most_ending_links
        bound = f"{settings.most_ending_links} 件"
    if not is_many and (absent < active or active < _WORDS[limit].all_from):
        return ""
    return f"{limit} {active:,} 件のうち {absent:,} 件{_WORDS[limit].place}から消えています（上限 {bound}）。"
