"""The plan of a sync, calculated from the known links, the listing and the employees. Pure.

Source: BATCH-019-03's rules. A link ends if its account is absent from complete listings on two consecutive days; a channel, too. Absences
of a held listing count only when an operator allows them. Employees are never changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict

from include.skillreport.batches.external_sync.channel_changes import (
    channel_absences,
    channel_changes,
    channel_returns,
    setting_changes,
)
from include.skillreport.batches.external_sync.matching import new_links
from include.skillreport.batches.external_sync.plan import (
    AccountLink,
    EntryKind,
    PlanEntry,
    PlanInputs,
    SyncPlan,
)
from include.skillreport.batches.external_sync.safety_limits import (
    EndingLimit,
    exceeded_limits,
    implausible,
    reason_to_hold,
)
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.messaging.channels.directory import Account, AccountKind, AccountState

# The names of the fields in the reason of an update.
_FIELD_NAMES = {
    "email": "メールアドレス",
    "is_email_verified": "メールの確認",
    "employee_code": "社員番号",
    "display_name": "表示名",
    "kind": "種別",
    "state": "状態",
}

_CHANNEL_CHANGES = (
    EntryKind.CHANNEL_RENAMED,
    EntryKind.CHANNEL_ARCHIVED,
    EntryKind.CHANNEL_UNARCHIVED,
    EntryKind.CHANNEL_VANISHED,
)


def plan_sync(
    world: PlanInputs, settings: ExternalSyncSettings, *, lifted: Collection[EndingLimit] = frozenset()
) -> SyncPlan:
    """The plan for one directory. ``lifted``: an operator has confirmed that any number of these may end in this run."""
    present = [account for account in world.accounts if account.state is not AccountState.DELETED]
    people = [account for account in present if account.kind is AccountKind.MEMBER]
    active = [link for link in world.links if link.is_active]
    present_ids = {account.external_id for account in present}.union(world.contradictory)
    absent = [link for link in active if link.external_id not in present_ids]
    counts = _counts(world, people, active)
    if held := implausible(people):
        return SyncPlan([], [], counts, held)
    returned = [*_returns(active, present_ids), *channel_returns(world)]
    exceeded = exceeded_limits(world, len(absent), len(active), settings)
    if not set(exceeded) <= set(lifted):
        held_absences = {
            EndingLimit.LINKS: _absences(world, absent, is_held=True),
            EndingLimit.CHANNELS: channel_absences(world, is_held=True),
        }
        marks = [*returned, *(entry for limit in exceeded for entry in held_absences[limit])]
        # Only plans that an operator may allow have this figure.
        return SyncPlan(_ordered(marks), [], counts | {"linksToEnd": len(absent)}, reason_to_hold(exceeded))

    problems = [
        f"アカウント {external_id} は変更しません: 名簿に内容の異なる行が複数あります。サービスの管理画面で確認してください"
        for external_id in sorted(world.contradictory)
    ]
    remembered = [*_absences(world, absent, is_held=False), *returned]
    endings = list(_endings(world, absent, count_doubtful=EndingLimit.LINKS in lifted))
    # An employee whose link ends can get a new link in the same plan.
    ended = {entry.subject_id for entry in endings}
    continuing = [link for link in active if link.external_id not in ended]
    entries = [
        *remembered,
        *endings,
        *_updates(world, active),
        *new_links(world, present, continuing, problems),
        *channel_absences(world, is_held=False),
        *channel_changes(world, count_doubtful=EndingLimit.CHANNELS in lifted),
        *setting_changes(world, count_doubtful=EndingLimit.CHANNELS in lifted),
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


def _ordered(entries: Iterable[PlanEntry]) -> list[PlanEntry]:
    return sorted(entries, key=lambda entry: (list(EntryKind).index(entry.kind), entry.subject_id))


# The figures of a plan: what it changes when it is applied, and what the listing and the database contain.
PLAN_EFFECTS = frozenset(
    {"linked", "updated", "deactivated", "absent", "channelsChanged", "settingsDisabled"}
)
PLAN_STATES = frozenset(
    {
        *("accounts", "links", "guests", "bots", "suspended", "pending", "onLeave", "channels", "linksToEnd"),
        *("directories", "held", "unsettled", "skipped"),
    }
)


def _counts(world: PlanInputs, people: Sequence[Account], active: Sequence[AccountLink]) -> dict[str, int]:
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


def _absences(world: PlanInputs, absent: Sequence[AccountLink], *, is_held: bool) -> Iterator[PlanEntry]:
    """The first absence of each link. An absence in a plausible listing replaces one in a held listing."""
    for link in absent:
        if link.absent_on is None or (link.is_absence_doubtful and not is_held):
            yield PlanEntry(
                EntryKind.ABSENT,
                link.external_id,
                "名簿にありません。次の名簿にもなければ解除します",
                link.employee_id,
                after={"absent_on": world.run_date.isoformat(), "is_doubtful": is_held},
            )


def _returns(active: Sequence[AccountLink], present_ids: Collection[str]) -> Iterator[PlanEntry]:
    for link in active:
        if link.absent_on is not None and link.external_id in present_ids:
            yield PlanEntry(
                EntryKind.RETURNED,
                link.external_id,
                "名簿に戻りました",
                link.employee_id,
                after={"absent_on": None},
            )


def _endings(
    world: PlanInputs, absent: Sequence[AccountLink], *, count_doubtful: bool
) -> Iterator[PlanEntry]:
    for link in absent:
        # Two listings of the same day may be caused by the same outage.
        is_first = link.absent_on is None or link.absent_on >= world.run_date
        if is_first or (link.is_absence_doubtful and not count_doubtful) or world.started_over:
            continue
        yield PlanEntry(
            EntryKind.DEACTIVATE,
            link.external_id,
            "2 日続けて名簿にありません",
            link.employee_id,
            before={"status": "active"},
            after={"status": "inactive"},
        )


def _updates(world: PlanInputs, active: Sequence[AccountLink]) -> Iterator[PlanEntry]:
    seen = {link.external_id: link for link in active if link.account is not None}
    for account in world.accounts:
        link = seen.get(account.external_id)
        if link is None or link.account == account or account.external_id in world.contradictory:
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
