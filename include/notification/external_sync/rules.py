"""What a listing means for the links and channels: a pure function of what is known, listed and employed.

Source: BATCH-019-03's rules. A link is found by the account's id, else by the employee code, else by an e-mail address that is verified
and unique on both sides. Only links end, never employees, and only those absent from complete listings of two days in a row.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from include.messaging.outcome import Channel
from include.notification.external_sync.directories.base import (
    Account,
    AccountKind,
    AccountState,
    ListedChannel,
)
from include.settings import ExternalSyncSettings

# Whoever has one of these is there to be reached; the others are linked once they are.
_REACHABLE = (AccountState.ACTIVE, AccountState.ON_LEAVE)

# What a linked account's update says.
_FIELD_NAMES = {
    "email": "メールアドレス",
    "is_email_verified": "メールの確認",
    "employee_code": "社員番号",
    "display_name": "表示名",
    "kind": "種別",
    "state": "状態",
}


class EntryKind(StrEnum):
    """What a plan does. ABSENT, RETURNED and CHANNEL_ABSENT only remember what the listing has shown.

    DISABLE_SETTING: all destinations of a notification setting are gone; SETTING_AFFECTED: some are, and people decide.
    """

    LINK = "link"
    RELINK = "relink"
    UPDATE = "update"
    DEACTIVATE = "deactivate"
    ABSENT = "absent"
    RETURNED = "returned"
    CHANNEL_RENAMED = "channel_renamed"
    CHANNEL_ARCHIVED = "channel_archived"
    CHANNEL_UNARCHIVED = "channel_unarchived"
    CHANNEL_ABSENT = "channel_absent"
    CHANNEL_VANISHED = "channel_vanished"
    DISABLE_SETTING = "disable_setting"
    SETTING_AFFECTED = "setting_affected"


# What is no change of anything that people see.
MARKS = frozenset(
    {EntryKind.ABSENT, EntryKind.RETURNED, EntryKind.CHANNEL_ABSENT, EntryKind.SETTING_AFFECTED}
)

_CHANNEL_CHANGES = (
    EntryKind.CHANNEL_RENAMED,
    EntryKind.CHANNEL_ARCHIVED,
    EntryKind.CHANNEL_UNARCHIVED,
    EntryKind.CHANNEL_VANISHED,
)

_BY_CODE, _BY_EMAIL = "社員番号", "メールアドレス"
_MATCHED_BY = {_BY_CODE: "employee_code", _BY_EMAIL: "email"}


@dataclass(frozen=True, slots=True)
class Employee:
    """One of the tenant's people who are employed."""

    employee_id: str
    employee_code: str
    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """An account that belongs to an employee; ``account`` is how it was last seen, None: in no listing that was applied.

    ``absent_on`` is the day (Asia/Tokyo) of the first complete listing without it; ``is_absence_doubtful``: that listing was held.
    """

    external_id: str
    employee_id: str
    is_active: bool = True
    absent_on: date | None = None
    is_absence_doubtful: bool = False
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class KnownChannel:
    """A channel as it was last seen; ``absent_on`` is the day (Asia/Tokyo) of the first complete listing without it."""

    channel: ListedChannel
    absent_on: date | None = None


@dataclass(frozen=True, slots=True)
class MappedSetting:
    """An enabled row of MST_NotificationSettings for this provider, and the destinations that it names."""

    setting_id: str
    setting_key: str
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """All that a plan depends on, on ``run_date`` (Asia/Tokyo).

    ``started_over``: the listing had to begin again, and why; such a one ends no link and no channel.
    """

    provider: Channel
    run_date: date
    accounts: Sequence[Account]
    employees: Sequence[Employee]
    links: Sequence[Link] = ()
    channels: Sequence[ListedChannel] = ()
    known_channels: Sequence[KnownChannel] = ()
    settings: Sequence[MappedSetting] = ()
    started_over: str = ""


@dataclass(frozen=True)
class PlanEntry:
    """One thing to do, and why. ``subject_id`` is the account's or the channel's id, or the setting's; before and after are JSON values."""

    kind: EntryKind
    subject_id: str
    reason: str
    employee_id: str | None = None
    before: Mapping[str, Any] | None = field(default=None, repr=False)
    after: Mapping[str, Any] | None = field(default=None, repr=False)

    def sentence(self) -> str:
        """For the log: without addresses and names."""
        whose = f"（社員 {self.employee_id}）" if self.employee_id else ""
        return f"{self.kind} {self.subject_id}{whose}: {self.reason}"


@dataclass(frozen=True)
class SyncPlan:
    """What to do, in a fixed order; what only people can settle (``problems``); figures for the execution log.

    ``held`` says why nothing is applied; the entries then only remember who was absent, for the run in which an operator allows it.
    """

    entries: Sequence[PlanEntry]
    problems: Sequence[str]
    counts: Mapping[str, int]
    held: str = ""

    def digest(self, world_hash: str) -> str:
        """SHA-256 over the plan and the world that it was made from."""
        content = [
            world_hash,
            self.held,
            [asdict(entry) for entry in self.entries],
            list(self.problems),
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plan_sync(world: World, settings: ExternalSyncSettings, *, allow_many: bool = False) -> SyncPlan:
    """The plan for one directory. ``allow_many``: an operator has looked, and lets any number of links end in this run."""
    there = [account for account in world.accounts if account.state is not AccountState.DELETED]
    people = [account for account in there if account.kind is AccountKind.MEMBER]
    active = [link for link in world.links if link.is_active]
    ids = {account.external_id for account in there}
    absent = [link for link in active if link.external_id not in ids]
    counts = _counts(world, people, active)
    if held := _unbelievable(people):
        return SyncPlan([], [], counts, held)
    returned = list(_returns(active, ids))
    if not allow_many and (held := _too_many(_OF_LINKS, len(absent), len(active), settings)):
        return SyncPlan(_ordered([*_absences(world, absent, is_held=True), *returned]), [], counts, held)
    if not allow_many and (held := _too_many_channels(world, settings)):
        return SyncPlan(returned, [], counts, held)

    problems: list[str] = []
    remembered = [*_absences(world, absent, is_held=False), *returned]
    endings = list(_endings(world, absent, allow_many=allow_many))
    # Whose link ends may have another account in the same plan: otherwise that would take one more run.
    ended = {entry.subject_id for entry in endings}
    entries = [
        *remembered,
        *endings,
        *_updates(world.accounts, active),
        *_links(world, there, [link for link in active if link.external_id not in ended], problems),
        *_channel_changes(world),
        *_settings(world),
    ]
    done = Counter(entry.kind for entry in entries)
    employed = {employee.employee_id for employee in world.employees}
    if left := sum(link.employee_id not in employed for link in active):
        problems.append(f"退職した社員の連携が {left} 件あります（アカウントが名簿から消えると解除します）")
    if world.started_over:
        problems.append(f"{world.started_over}。この実行では連携を解除せず、消えたチャンネルも判断しません")
    counts |= {
        "linked": done[EntryKind.LINK] + done[EntryKind.RELINK],
        "updated": done[EntryKind.UPDATE],
        "deactivated": done[EntryKind.DEACTIVATE],
        "absent": done[EntryKind.ABSENT],
        "channelsChanged": sum(done[kind] for kind in _CHANNEL_CHANGES),
        "settingsDisabled": done[EntryKind.DISABLE_SETTING],
    }
    return SyncPlan(_ordered(entries), problems, counts)


def _spellings(provider: Channel, channel: ListedChannel) -> frozenset[str]:
    """How a notification setting may name a channel as its destination."""
    match provider:
        case Channel.SLACK:
            return frozenset({channel.external_id, f"#{channel.name}"})
        case Channel.LINE_WORKS:
            return frozenset({f"channels/{channel.external_id}"})
    return frozenset({channel.external_id, f"{channel.parent_id}/{channel.external_id}"})


def _ordered(entries: Iterable[PlanEntry]) -> list[PlanEntry]:
    return sorted(entries, key=lambda entry: (list(EntryKind).index(entry.kind), entry.subject_id))


def _counts(world: World, people: Sequence[Account], active: Sequence[Link]) -> dict[str, int]:
    kinds = Counter(account.kind for account in world.accounts)
    states = Counter(account.state for account in people)
    return {
        "accounts": len(world.accounts),
        "links": len(active),
        "guests": kinds[AccountKind.GUEST],
        "bots": kinds[AccountKind.BOT],
        "suspended": states[AccountState.SUSPENDED],
        "pending": states[AccountState.PENDING],
        "onLeave": states[AccountState.ON_LEAVE],
        "channels": len(world.channels),
    }


def _unbelievable(people: Sequence[Account]) -> str:
    """Why a listing, however complete, cannot be the company's directory; empty if it can."""
    if not people:
        return "名簿に利用者が 1 人もいません。サービスの管理画面と、トークンの権限を確認してください"
    if not any(account.email for account in people):
        return "名簿にメールアドレスが 1 件もありません。メールアドレスを読む権限（users:read.email など）を確認してください"
    return ""


@dataclass(frozen=True)
class _Kind:
    """What the sentence about too many calls them, and where; from how many on all at once are never believed."""

    name: str
    place: str
    all_from: int


# A link comes back with its account; a notification setting, once disabled, stays so.
_OF_LINKS = _Kind("連携", "のアカウントが名簿", 3)
_OF_CHANNELS = _Kind("通知設定の宛先のチャンネル", "が一覧", 1)


def _too_many_channels(world: World, settings: ExternalSyncSettings) -> str:
    """Why the list of channels is not believed: a bot without its permissions, or another one, is shown few or none.

    Counted are those that settings name; of the others nothing depends.
    """
    listed = {channel.external_id for channel in world.channels}
    named = {name for setting in world.settings for name in setting.destinations}
    at_stake = [
        each.channel.external_id
        for each in world.known_channels
        if not each.channel.is_archived and not named.isdisjoint(_spellings(world.provider, each.channel))
    ]
    absent = sum(external_id not in listed for external_id in at_stake)
    # One of one may well be gone, where others are listed.
    if absent == len(at_stake) == 1 and listed:
        return ""
    return _too_many(_OF_CHANNELS, absent, len(at_stake), settings)


def _too_many(kind: _Kind, absent: int, active: int, settings: ExternalSyncSettings) -> str:
    """Why so many are not believed. All at once are those of another workspace, whose token it is."""
    if active >= settings.small_directory_links:
        is_many = absent * 100 > active * settings.most_ending_percent
        limit = f"{settings.most_ending_percent} %"
    else:
        is_many = absent > settings.most_ending_links
        limit = f"{settings.most_ending_links} 件"
    if not is_many and (absent < active or active < kind.all_from):
        return ""
    return (
        f"{kind.name} {active:,} 件のうち {absent:,} 件{kind.place}から消えています（上限 {limit}）。"
        "サービスの管理画面と、トークンの接続先・権限を確認し、正しければ、このテナントを指定して「大量の解除を許可」で実行してください"
    )


def _absences(world: World, absent: Sequence[Link], *, is_held: bool) -> Iterator[PlanEntry]:
    """What to remember of a listing; of one that is believed also where an earlier one was not."""
    for link in absent:
        if link.absent_on is None or (link.is_absence_doubtful and not is_held):
            yield PlanEntry(
                EntryKind.ABSENT,
                link.external_id,
                "名簿にありません。次の名簿にもなければ解除します",
                link.employee_id,
                after={"absent_on": world.run_date.isoformat(), "is_doubtful": is_held},
            )


def _returns(active: Sequence[Link], ids: Collection[str]) -> Iterator[PlanEntry]:
    for link in active:
        if link.absent_on is not None and link.external_id in ids:
            yield PlanEntry(
                EntryKind.RETURNED,
                link.external_id,
                "名簿に戻りました",
                link.employee_id,
                after={"absent_on": None},
            )


def _endings(world: World, absent: Sequence[Link], *, allow_many: bool) -> Iterator[PlanEntry]:
    for link in absent:
        # Two listings of one day may have seen one outage.
        is_first = link.absent_on is None or link.absent_on >= world.run_date
        if is_first or (link.is_absence_doubtful and not allow_many) or world.started_over:
            continue
        yield PlanEntry(
            EntryKind.DEACTIVATE,
            link.external_id,
            "2 日続けて名簿にありません",
            link.employee_id,
            before={"status": "active"},
            after={"status": "inactive"},
        )


def _updates(accounts: Sequence[Account], active: Sequence[Link]) -> Iterator[PlanEntry]:
    seen = {link.external_id: link for link in active if link.account is not None}
    for account in accounts:
        link = seen.get(account.external_id)
        if link is None or link.account == account:
            continue
        before, after = asdict(link.account), asdict(account)  # type: ignore[arg-type]  # seen has no others
        changed = [name for name in _FIELD_NAMES if before[name] != after[name]]
        yield PlanEntry(
            EntryKind.UPDATE,
            account.external_id,
            f"{'、'.join(_FIELD_NAMES[name] for name in changed)}が変わりました",
            link.employee_id,
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )


def _links(
    world: World, there: Sequence[Account], active: Sequence[Link], problems: list[str]
) -> Iterator[PlanEntry]:
    """New links, those found by employee code before those found by e-mail; what is ambiguous goes into ``problems``."""
    linked = {link.employee_id: link.external_id for link in active}
    own = {link.external_id for link in active}
    former = {link.external_id: link for link in world.links if not link.is_active}
    matches = _Matches(there, world.employees)
    free = [
        account
        for account in sorted(there, key=lambda account: account.external_id)
        if account.kind is AccountKind.MEMBER
        and account.state in _REACHABLE
        and account.external_id not in own
    ]
    found: list[tuple[int, Account, str, str]] = []
    for account in free:
        link = former.get(account.external_id)
        rank, how, candidates = (0, "link", [link.employee_id]) if link else matches.of(account)
        if len(candidates) > 1:
            problems.append(
                f"アカウント {account.external_id} は連携しません: {how}が同じ社員かアカウントが複数あります"
                f"（社員 {'、'.join(sorted(set(candidates)))}）"
            )
        elif candidates:
            found.append((rank, account, how, candidates[0]))
    for _, account, how, employee_id in sorted(found, key=lambda match: (match[0], match[1].external_id)):
        link = former.get(account.external_id)
        if link and employee_id not in matches.employees:
            problems.append(
                f"アカウント {account.external_id} は連携しません: 以前の連携先の社員 {employee_id} は退職しています"
            )
        elif other := linked.get(employee_id):
            problems.append(
                f"アカウント {account.external_id} は連携しません: 社員 {employee_id} はアカウント {other} と連携済みです"
            )
        else:
            linked[employee_id] = account.external_id
            yield PlanEntry(
                EntryKind.RELINK if link else EntryKind.LINK,
                account.external_id,
                "名簿に戻りました" if link else f"{how}が一致しました",
                employee_id,
                before={"status": "inactive"} if link else None,
                after={"status": "active"} if link else {"matched_by": _MATCHED_BY[how]},
            )


class _Matches:
    """Which employees an account can belong to. More than one candidate is as good as none."""

    def __init__(self, there: Sequence[Account], employees: Sequence[Employee]) -> None:
        self.employees = {employee.employee_id for employee in employees}
        self._by_code: defaultdict[str, list[str]] = defaultdict(list)
        self._by_email: defaultdict[str, list[str]] = defaultdict(list)
        for employee in employees:
            self._by_code[employee.employee_code].append(employee.employee_id)
            if employee.email:
                self._by_email[employee.email.lower()].append(employee.employee_id)
        # A guest who has the same address makes it ambiguous as well.
        human = [account for account in there if account.kind is not AccountKind.BOT]
        self._codes = Counter(account.employee_code for account in human)
        self._emails = Counter((account.email or "").lower() for account in human)

    def of(self, account: Account) -> tuple[int, str, list[str]]:
        """How good the match is (less is better), by what, and whom it gives."""
        if account.employee_code and (found := self._by_code.get(account.employee_code)):
            return 1, _BY_CODE, found * self._codes[account.employee_code]
        if account.email and account.is_email_verified:
            email = account.email.lower()
            return 2, _BY_EMAIL, self._by_email.get(email, []) * self._emails[email]
        return 3, "", []


def _vanished(world: World) -> Iterator[KnownChannel]:
    listed = {channel.external_id for channel in world.channels}
    for known in () if world.started_over else world.known_channels:
        is_absent = known.channel.external_id not in listed
        if is_absent and known.absent_on is not None and known.absent_on < world.run_date:
            yield known


def _channel_changes(world: World) -> Iterator[PlanEntry]:
    known = {each.channel.external_id: each for each in world.known_channels}
    listed = {channel.external_id for channel in world.channels}
    for channel in world.channels:
        before = known[channel.external_id].channel if channel.external_id in known else None
        if before is not None and before.name != channel.name:
            yield PlanEntry(
                EntryKind.CHANNEL_RENAMED,
                channel.external_id,
                "チャンネルの名前が変わりました",
                before={"name": before.name},
                after={"name": channel.name},
            )
        if channel.is_archived != (before is not None and before.is_archived):
            yield PlanEntry(
                EntryKind.CHANNEL_ARCHIVED if channel.is_archived else EntryKind.CHANNEL_UNARCHIVED,
                channel.external_id,
                f"チャンネルが{'アーカイブされました' if channel.is_archived else '再開されました'}",
                before={"is_archived": not channel.is_archived},
                after={"is_archived": channel.is_archived},
            )
    for each in world.known_channels:
        if each.absent_on is None and each.channel.external_id not in listed:
            yield PlanEntry(
                EntryKind.CHANNEL_ABSENT,
                each.channel.external_id,
                "チャンネルの一覧にありません",
                after={"absent_on": world.run_date.isoformat()},
            )
    for each in _vanished(world):
        yield PlanEntry(
            EntryKind.CHANNEL_VANISHED,
            each.channel.external_id,
            "2 日続けてチャンネルの一覧にありません",
            before={"name": each.channel.name},
        )


def _settings(world: World) -> Iterator[PlanEntry]:
    """What becomes of settings whose destinations are archived, or absent from complete listings of two days in a row."""
    archived = [channel for channel in world.channels if channel.is_archived]
    # A channel of the same name may have taken a former one's place.
    reachable = {
        name
        for channel in world.channels
        if not channel.is_archived
        for name in _spellings(world.provider, channel)
    }
    gone = {
        name: channel
        for channel in [*archived, *(known.channel for known in _vanished(world))]
        for name in _spellings(world.provider, channel) - reachable
    }
    for setting in world.settings:
        affected = [gone[name] for name in setting.destinations if name in gone]
        if not affected:
            continue
        is_useless = len(affected) == len(setting.destinations)
        names = "、".join(sorted({channel.name or channel.external_id for channel in affected}))
        yield PlanEntry(
            EntryKind.DISABLE_SETTING if is_useless else EntryKind.SETTING_AFFECTED,
            setting.setting_id,
            f"通知設定「{setting.setting_key}」の宛先のチャンネル「{names}」がアーカイブされたか、なくなりました",
            before={"is_enabled": True},
            after={"is_enabled": not is_useless},
        )
