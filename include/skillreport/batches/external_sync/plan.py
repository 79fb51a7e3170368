"""The inputs of a sync (known and listed objects), and the plan that is calculated from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from include.skillreport.messaging.channels.channel import Channel
from include.skillreport.messaging.channels.directory import Account, ListedChannel


class EntryKind(StrEnum):
    """The effect of an entry. ABSENT, RETURNED, CHANNEL_ABSENT and CHANNEL_RETURNED only record the state in the listing.

    DISABLE_SETTING: all destinations of a notification setting are gone. SETTING_AFFECTED: some are gone, and the administrator decides.
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
    CHANNEL_RETURNED = "channel_returned"
    CHANNEL_VANISHED = "channel_vanished"
    DISABLE_SETTING = "disable_setting"
    SETTING_AFFECTED = "setting_affected"


# Entries that change nothing visible to users.
MARKS = frozenset(
    {
        EntryKind.ABSENT,
        EntryKind.RETURNED,
        EntryKind.CHANNEL_ABSENT,
        EntryKind.CHANNEL_RETURNED,
        EntryKind.SETTING_AFFECTED,
    }
)


@dataclass(frozen=True, slots=True)
class Employee:
    """A current employee of the tenant."""

    employee_id: str
    employee_code: str
    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AccountLink:
    """An account that belongs to an employee. ``account`` is its state in the last applied listing, or None.

    ``absent_on`` is the day (Asia/Tokyo) of the first complete listing without it. ``is_absence_doubtful``: that listing was held.
    """

    external_id: str
    employee_id: str
    is_active: bool = True
    absent_on: date | None = None
    is_absence_doubtful: bool = False
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class KnownChannel:
    """A channel's state in the last applied listing. ``absent_on``: the day (Asia/Tokyo) of the first complete listing without it.

    ``is_absence_doubtful``: that listing was held.
    """

    channel: ListedChannel
    absent_on: date | None = None
    is_absence_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class MappedSetting:
    """An enabled row of MST_NotificationSettings for this provider, and its destinations."""

    setting_id: str
    setting_key: str
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class PlanInputs:
    """All inputs of a plan, on ``run_date`` (Asia/Tokyo).

    ``contradictory`` are the ids of accounts that the listing contains with different values. They are present, with unknown values.
    ``started_over``: why the listing had to start again, or empty. Such a listing ends no link and no channel.
    """

    provider: Channel
    run_date: date
    accounts: Sequence[Account]
    employees: Sequence[Employee]
    links: Sequence[AccountLink] = ()
    channels: Sequence[ListedChannel] = ()
    known_channels: Sequence[KnownChannel] = ()
    settings: Sequence[MappedSetting] = ()
    contradictory: Collection[str] = frozenset()
    started_over: str = ""


@dataclass(frozen=True)
class PlanEntry:
    """One change and its reason. ``subject_id`` is the id of an account, a channel or a setting; before and after are JSON values."""

    kind: EntryKind
    subject_id: str
    reason: str
    employee_id: str | None = None
    before: Mapping[str, Any] | None = field(default=None, repr=False)
    after: Mapping[str, Any] | None = field(default=None, repr=False)

    def sentence(self) -> str:
        """The entry for the log, without addresses and names."""
        employee = f"（社員 {self.employee_id}）" if self.employee_id else ""
        return f"{self.kind} {self.subject_id}{employee}: {self.reason}"


@dataclass(frozen=True)
class SyncPlan:
    """Entries in a fixed order, problems for operators, and figures for the execution log.

    ``held``: why the plan is not applied. Its entries then only record absences and returns, for the run in which an operator allows it.
    """

    entries: Sequence[PlanEntry]
    problems: Sequence[str]
    counts: Mapping[str, int]
    held: str = ""

    def digest(self, world_hash: str) -> str:
        """SHA-256 of the plan and its inputs."""
        content = [world_hash, self.held, [asdict(entry) for entry in self.entries], list(self.problems)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
