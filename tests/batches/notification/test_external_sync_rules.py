"""The plan of BATCH-019-03: the employee of each account, the problems for people, and that a second sync changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.skillreport.batches.external_sync.plan import (
    MARKS,
    AccountLink,
    Employee,
    EntryKind,
    KnownChannel,
    MappedSetting,
    PlanInputs,
    SyncPlan,
)
from include.skillreport.batches.external_sync.rules import plan_sync
from include.skillreport.batches.external_sync.safety_limits import EndingLimit, limits_of
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.messaging.channels.directory import (
    Account,
    AccountKind,
    AccountState,
    ListedChannel,
)
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.channels.teams import TEAMS

LIMITS = ExternalSyncSettings(most_ending_percent=Decimal(20), small_directory_links=50, most_ending_links=25)
TODAY = date(2026, 11, 25)
YESTERDAY = TODAY - timedelta(days=1)

ENDED_CHANNELS = (EntryKind.CHANNEL_VANISHED, EntryKind.DISABLE_SETTING)


def account(number: int, **values: object) -> Account:
    """An account with the address of the employee of this number."""
    return replace(
        Account(f"U{number}", email=f"e{number}@example.jp", is_email_verified=True),
        **values,  # type: ignore[arg-type]
    )


def employee(number: int, email: str | None = "") -> Employee:
    return Employee(f"E{number}", f"{number:06}", f"e{number}@example.jp" if email == "" else email)


def world(accounts: list[Account], employees: list[Employee], **values: object) -> PlanInputs:
    return replace(PlanInputs(SLACK, TODAY, accounts, employees), **values)  # type: ignore[arg-type]


def made(plan: SyncPlan, *kinds: EntryKind) -> list[tuple[str, str | None]]:
    """Subject and employee of the entries of these kinds."""
    return [(entry.subject_id, entry.employee_id) for entry in plan.entries if entry.kind in kinds]


def linked(plan: SyncPlan) -> list[tuple[str, str | None]]:
    return made(plan, EntryKind.LINK, EntryKind.RELINK)


def test_the_employee_code_comes_before_the_address_and_the_link_before_both() -> None:
    accounts = [
        account(1, employee_code="000002"),
        account(2, employee_code="000003"),
        account(3, employee_code=None),
    ]
    known = AccountLink("U1", "E9", account=accounts[0])

    plan = plan_sync(world(accounts, [employee(n) for n in (1, 2, 3, 9)], links=[known]), LIMITS)

    assert linked(plan) == [("U2", "E3")]
    assert plan.problems == ["アカウント U3 は連携しません: 社員 E3 はアカウント U2 と連携済みです"]


@pytest.mark.parametrize(
    ("accounts", "employees"),
    [
        ([account(1), account(2, email="E1@EXAMPLE.jp")], [employee(1)]),
        ([account(1), account(2, email="e1@example.jp", kind=AccountKind.GUEST)], [employee(1)]),
        ([account(1)], [employee(1), employee(2, "E1@example.JP")]),
        ([account(1, employee_code="000001"), account(2, employee_code="000001")], [employee(1)]),
    ],
)
def test_an_account_or_employee_that_is_not_unique_is_reported(
    accounts: list[Account], employees: list[Employee]
) -> None:
    plan = plan_sync(world(accounts, employees), LIMITS)

    assert linked(plan) == []
    assert plan.problems
    assert all("同じ社員かアカウントが複数あります" in problem for problem in plan.problems)


@pytest.mark.parametrize(
    "values",
    [
        {"is_email_verified": False},
        {"state": AccountState.SUSPENDED},
        {"state": AccountState.PENDING},
        {"state": AccountState.DELETED},
        {"kind": AccountKind.BOT},
        {"kind": AccountKind.GUEST},
        {"email": None},
    ],
)
def test_who_is_not_sure_or_cannot_be_reached_is_not_linked(values: dict[str, object]) -> None:
    plan = plan_sync(world([account(1, **values), account(2)], [employee(1)]), LIMITS)

    assert (linked(plan), plan.problems) == ([], [])


def test_an_address_whatever_its_case_is_the_same() -> None:
    plan = plan_sync(world([account(1, email="E1@Example.JP")], [employee(1)]), LIMITS)

    assert linked(plan) == [("U1", "E1")]


def test_a_recreated_account_waits_until_the_old_one_is_gone() -> None:
    old = AccountLink("OLD", "E1", absent_on=YESTERDAY, account=account(1, external_id="OLD"))
    fresh = [account(1)]

    first = plan_sync(world(fresh, [employee(1)], links=[replace(old, absent_on=None)]), LIMITS)
    second = plan_sync(world(fresh, [employee(1)], links=[old]), LIMITS)

    assert (made(first, EntryKind.ABSENT), linked(first)) == ([("OLD", "E1")], [])
    assert (made(second, EntryKind.DEACTIVATE), linked(second)) == ([("OLD", "E1")], [("U1", "E1")])


def test_employees_who_left_are_not_linked_again_and_their_links_are_counted() -> None:
    former = AccountLink("U1", "E1", is_active=False)
    left = AccountLink("U2", "E2", account=account(2))

    plan = plan_sync(world([account(1), account(2)], [employee(3)], links=[former, left]), LIMITS)

    assert (linked(plan), made(plan, EntryKind.DEACTIVATE)) == ([], [])
    assert plan.problems == [
        "アカウント U1 は連携しません: 以前の連携先の社員 E1 は退職しています",
        "退職した社員の連携が 1 件あります（アカウントが名簿から消えると解除します）",
    ]


@pytest.mark.parametrize(
    ("active", "absent", "held"),
    [
        (1_000, 201, True),
        (1_000, 200, False),
        (50, 11, True),
        (50, 10, False),
        (49, 26, True),
        (49, 25, False),
    ],
)
def test_the_limits_are_strict(active: int, absent: int, held: bool) -> None:
    links = [AccountLink(f"U{number}", f"E{number}", absent_on=YESTERDAY) for number in range(active)]
    listed = [account(number) for number in range(absent, active)]
    here = world(listed, [employee(number) for number in range(active)], links=links)

    plan = plan_sync(here, LIMITS)

    assert bool(plan.held) is held
    assert len(made(plan, EntryKind.DEACTIVATE)) == (0 if held else absent)
    assert len(made(plan_sync(here, LIMITS, lifted=frozenset(EndingLimit)), EntryKind.DEACTIVATE)) == absent
    if held:
        assert {entry.kind for entry in plan.entries} <= MARKS
        assert f"連携 {active:,} 件のうち {absent:,} 件" in plan.held


@pytest.mark.parametrize(("active", "held"), [(25, True), (3, True), (2, False)])
def test_everybody_at_once_is_the_directory_of_another_company(active: int, held: bool) -> None:
    links = [AccountLink(f"U{number}", f"E{number}", absent_on=YESTERDAY) for number in range(active)]

    plan = plan_sync(world([account(99)], [], links=links), LIMITS)

    assert bool(plan.held) is held
    assert len(made(plan, EntryKind.DEACTIVATE)) == (0 if held else active)


def test_two_listings_of_one_day_may_have_seen_one_outage() -> None:
    gone, other = AccountLink("U1", "E1", absent_on=TODAY), AccountLink("U2", "E2")

    plan = plan_sync(world([account(2)], [], links=[gone, other]), LIMITS)

    assert plan.entries == []
    assert made(
        plan_sync(world([account(2)], [], links=[replace(gone, absent_on=YESTERDAY), other]), LIMITS),
        EntryKind.DEACTIVATE,
    )


def test_a_held_listing_counts_as_first_absence_for_an_operator_only() -> None:
    everybody = [AccountLink(f"U{number}", f"E{number}") for number in range(100)]
    listed = [account(number) for number in range(80)]
    held = plan_sync(world([account(99)], [], links=everybody), LIMITS)
    doubtful = applied(world([], [], links=everybody), held).links

    next_day = world(listed, [], links=doubtful, run_date=TODAY + timedelta(days=1))
    second = plan_sync(next_day, LIMITS)

    assert held.held
    assert (second.held, made(second, EntryKind.DEACTIVATE)) == ("", [])
    assert len(made(second, EntryKind.ABSENT)) == 20
    assert (
        len(made(plan_sync(next_day, LIMITS, lifted=frozenset(EndingLimit)), EntryKind.DEACTIVATE)) == 19
    )  # all but U99, which was there
    third = replace(applied(next_day, second), run_date=TODAY + timedelta(days=2))
    assert len(made(plan_sync(third, LIMITS), EntryKind.DEACTIVATE)) == 20


def known_channels(count: int, absent_on: date | None) -> list[KnownChannel]:
    return [KnownChannel(ListedChannel(f"C{number}", f"c{number}"), absent_on) for number in range(count)]


@pytest.mark.parametrize(
    ("known", "listed", "held"),
    [
        (30, 0, True),
        (2, 0, True),
        (1, 0, True),
        (30, 5, False),
        (30, 3, True),
        (100, 80, False),
        (100, 79, True),
    ],
)
def test_an_empty_or_poor_list_of_channels_is_not_believed(known: int, listed: int, held: bool) -> None:
    here = world(
        [account(1)],
        [],
        channels=[ListedChannel(f"C{number}", f"c{number}") for number in range(listed)],
        known_channels=known_channels(known, YESTERDAY),
        settings=[MappedSetting(f"s{number}", "s", (f"C{number}",)) for number in range(known)],
    )

    plan = plan_sync(here, LIMITS)

    assert bool(plan.held) is held
    assert len(made(plan, EntryKind.DISABLE_SETTING)) == (0 if held else known - listed)
    allowed = plan_sync(here, LIMITS, lifted=frozenset(EndingLimit))
    assert len(made(allowed, EntryKind.DISABLE_SETTING)) == known - listed


def test_a_held_list_of_channels_counts_for_an_operator_only() -> None:
    mapped = [MappedSetting(f"s{number}", "s", (f"C{number}",)) for number in range(4)]
    known = known_channels(4, None)
    listed = [each.channel for each in known]
    first = world([account(1)], [], known_channels=known, settings=mapped)
    held = plan_sync(first, LIMITS)
    # On the next day a bot with too few permissions sees all channels but one.
    second = replace(applied(first, held), run_date=TODAY + timedelta(days=1), channels=listed[1:])
    plausible = plan_sync(second, LIMITS)
    third = replace(
        second, run_date=TODAY + timedelta(days=2), known_channels=applied(second, plausible).known_channels
    )

    assert held.held
    assert made(held, EntryKind.CHANNEL_ABSENT) == [(f"C{number}", None) for number in range(4)]
    assert made(plan_sync(replace(second, channels=[]), LIMITS), EntryKind.CHANNEL_ABSENT) == []
    assert (plausible.held, made(plausible, *ENDED_CHANNELS)) == ("", [])
    assert made(plan_sync(second, LIMITS, lifted=frozenset(EndingLimit)), *ENDED_CHANNELS) == [
        ("C0", None),
        ("s0", None),
    ]
    assert made(plan_sync(third, LIMITS), *ENDED_CHANNELS) == [("C0", None), ("s0", None)]


@pytest.mark.parametrize(("listed", "links"), [(40, 3), (1, 0)])
def test_a_channel_in_a_held_listing_is_not_absent_on_two_days(listed: int, links: int) -> None:
    """Held because of the links, or because of the other channels."""
    known = known_channels(40, None)
    here = world(
        [account(9)],
        [],
        links=[AccountLink(f"U{number}", f"E{number}") for number in range(links)],
        channels=[each.channel for each in known[:listed]],
        known_channels=[replace(known[0], absent_on=YESTERDAY), *known[1:]],
        settings=[MappedSetting(f"s{number}", "s", (f"C{number}",)) for number in range(40)],
    )

    plan = plan_sync(here, LIMITS)

    assert plan.held
    assert made(plan, EntryKind.CHANNEL_RETURNED) == [("C0", None)]
    assert applied(here, plan).known_channels[0].absent_on is None


def test_a_hold_names_each_exceeded_limit() -> None:
    """The first limit alone would be asked about, and the second only after the answer."""
    known = known_channels(2, YESTERDAY)
    here = world(
        [account(9)],
        [],
        links=[AccountLink(f"U{number}", f"E{number}", absent_on=YESTERDAY) for number in range(3)],
        known_channels=known,
        settings=[MappedSetting(f"s{number}", "s", (f"C{number}",)) for number in range(2)],
    )

    held = plan_sync(here, LIMITS)

    assert held.held.startswith(
        "連携 3 件のうち 3 件のアカウントが名簿から消えています（上限 25 件）。"
        "通知設定の宛先のチャンネル 2 件のうち 2 件が一覧から消えています（上限 25 件）。サービスの"
    )
    assert limits_of(held.held) == frozenset(EndingLimit)
    for limit in EndingLimit:
        assert plan_sync(here, LIMITS, lifted={limit}).held == held.held
    allowed = plan_sync(here, LIMITS, lifted=limits_of(held.held))
    assert len(made(allowed, EntryKind.DEACTIVATE)) == 3
    assert made(allowed, *ENDED_CHANNELS) == [("C0", None), ("C1", None), ("s0", None), ("s1", None)]


def test_a_permission_for_links_does_not_believe_a_held_list_of_channels() -> None:
    known = known_channels(4, YESTERDAY)
    here = world(
        [account(9)],
        [],
        links=[AccountLink(f"U{number}", f"E{number}", absent_on=YESTERDAY) for number in range(3)],
        channels=[each.channel for each in known[1:]],
        known_channels=[replace(known[0], is_absence_doubtful=True), *known[1:]],
        settings=[MappedSetting("s0", "s", ("C0",))],
    )
    reason = plan_sync(here, LIMITS).held

    plan = plan_sync(here, LIMITS, lifted=limits_of(reason))

    assert limits_of(reason) == {EndingLimit.LINKS}
    assert len(made(plan, EntryKind.DEACTIVATE)) == 3
    assert made(plan, *ENDED_CHANNELS) == []
    assert made(plan, EntryKind.CHANNEL_ABSENT) == [("C0", None)]


def test_a_listing_that_began_again_ends_no_channel() -> None:
    here = world(
        [account(1)],
        [],
        channels=[ListedChannel("C0", "c0")],
        known_channels=known_channels(2, YESTERDAY),
        settings=[MappedSetting("s1", "s", ("C1",))],
        started_over="最初からやり直しました",
    )

    assert made(plan_sync(here, LIMITS), EntryKind.CHANNEL_VANISHED, EntryKind.DISABLE_SETTING) == []


@pytest.mark.parametrize("is_archived", [True, False])
def test_a_setting_by_channel_name_stays_when_another_channel_has_it(is_archived: bool) -> None:
    old = ListedChannel("C1", "alerts", is_archived=is_archived)
    here = world(
        [account(1)],
        [],
        channels=[ListedChannel("C2", "alerts"), *([old] if is_archived else [])],
        known_channels=[KnownChannel(old, None if is_archived else YESTERDAY)],
        settings=[MappedSetting("by name", "s", ("#alerts",)), MappedSetting("by id", "s", ("C1",))],
    )

    assert made(plan_sync(here, LIMITS), EntryKind.DISABLE_SETTING) == [("by id", None)]


def test_no_override_makes_an_empty_listing_believable() -> None:
    plan = plan_sync(
        world([], [employee(1)], links=[AccountLink("U1", "E1")]), LIMITS, lifted=frozenset(EndingLimit)
    )

    assert (plan.entries, bool(plan.held)) == ([], True)


def test_the_digest_is_of_the_plan_and_the_world() -> None:
    plan = plan_sync(world([account(1)], [employee(1)]), LIMITS)
    other = plan_sync(world([account(2)], [employee(2)]), LIMITS)

    assert plan.digest("w") == plan_sync(world([account(1)], [employee(1)]), LIMITS).digest("w")
    assert len({plan.digest("w"), plan.digest("x"), other.digest("w")}) == 3


def test_a_setting_is_useless_when_all_its_channels_are_gone() -> None:
    channels = [ListedChannel("C1", "old", is_archived=True), ListedChannel("C2", "new")]
    mapped = [
        MappedSetting("s1", "by id", ("C1",)),
        MappedSetting("s2", "by name", ("#old",)),
        MappedSetting("s3", "half", ("C1", "C2")),
        MappedSetting("s4", "other", ("C2",)),
        MappedSetting("s5", "nobody", ()),
        MappedSetting("s6", "vanished", ("C3",)),
    ]
    known = [KnownChannel(ListedChannel("C3", "x"), absent_on=YESTERDAY), KnownChannel(channels[1])]

    plan = plan_sync(
        world([account(1)], [], channels=channels, known_channels=known, settings=mapped), LIMITS
    )

    assert [subject for subject, _ in made(plan, EntryKind.DISABLE_SETTING)] == ["s1", "s2", "s6"]
    assert [subject for subject, _ in made(plan, EntryKind.SETTING_AFFECTED)] == ["s3"]


def test_teams_and_line_works_spell_their_destinations_in_their_own_way() -> None:
    for provider, channel, spelled in (
        (TEAMS, ListedChannel("19:c", "x", is_archived=True, parent_id="T1"), ("19:c", "T1/19:c")),
        (LINE_WORKS, ListedChannel("R1", "x", kind="room", is_archived=True), ("channels/R1",)),
    ):
        plan = plan_sync(
            world(
                [account(1)],
                [],
                provider=provider,
                channels=[channel],
                settings=[MappedSetting("s", "s", spelled)],
            ),
            LIMITS,
        )
        assert made(plan, EntryKind.DISABLE_SETTING) == [("s", None)]


# A sync as a whole: whatever was before, it comes to rest, and its rules hold in between.

NUMBERS = st.integers(0, 6)
ACCOUNTS = st.lists(
    st.builds(
        account,
        NUMBERS,
        email=NUMBERS.map(lambda number: f"e{number}@example.jp") | st.none(),
        employee_code=NUMBERS.map(lambda number: f"{number:06}") | st.none(),
        is_email_verified=st.booleans(),
        kind=st.sampled_from(AccountKind),
        state=st.sampled_from(AccountState),
    ),
    unique_by=lambda each: each.external_id,
    max_size=7,
)
EMPLOYEES = st.lists(
    st.builds(
        Employee,
        NUMBERS.map(lambda number: f"E{number}"),
        NUMBERS.map(lambda number: f"{number:06}"),
        NUMBERS.map(lambda number: f"e{number}@example.jp") | st.none(),
    ),
    unique_by=(lambda each: each.employee_id, lambda each: each.employee_code),
    max_size=7,
)


def applied(before: PlanInputs, plan: SyncPlan) -> PlanInputs:
    """The world after the plan, the same listing still there."""
    links = {link.external_id: link for link in before.links}
    for entry in plan.entries:
        match entry.kind:
            case EntryKind.LINK | EntryKind.RELINK:
                assert entry.employee_id is not None
                links[entry.subject_id] = AccountLink(entry.subject_id, entry.employee_id)
            case EntryKind.DEACTIVATE:
                links[entry.subject_id] = replace(
                    links[entry.subject_id], is_active=False, absent_on=None, is_absence_doubtful=False
                )
            case EntryKind.ABSENT:
                links[entry.subject_id] = replace(
                    links[entry.subject_id], absent_on=before.run_date, is_absence_doubtful=bool(plan.held)
                )
            case EntryKind.RETURNED:
                links[entry.subject_id] = replace(
                    links[entry.subject_id], absent_on=None, is_absence_doubtful=False
                )
    listed = {each.external_id: each for each in before.accounts}
    if not plan.held:
        links = {key: replace(link, account=listed.get(key)) for key, link in links.items()}
    return replace(before, links=list(links.values()), known_channels=_channels_after(before, plan))


def _channels_after(before: PlanInputs, plan: SyncPlan) -> list[KnownChannel]:
    channels = {each.channel.external_id: each for each in before.known_channels}
    if not plan.held:
        channels |= {each.external_id: KnownChannel(each) for each in before.channels}
    for entry in plan.entries:
        match entry.kind:
            case EntryKind.CHANNEL_ABSENT:
                channels[entry.subject_id] = replace(
                    channels[entry.subject_id],
                    absent_on=before.run_date,
                    is_absence_doubtful=bool(plan.held),
                )
            case EntryKind.CHANNEL_RETURNED:
                channels[entry.subject_id] = KnownChannel(channels[entry.subject_id].channel)
            case EntryKind.CHANNEL_VANISHED:
                del channels[entry.subject_id]
    return list(channels.values())


@settings(max_examples=300)
@given(listings=st.lists(ACCOUNTS, min_size=1, max_size=4), employees=EMPLOYEES)
def test_a_sync_is_idempotent_and_comes_to_rest(
    listings: list[list[Account]], employees: list[Employee]
) -> None:
    here = PlanInputs(SLACK, TODAY, [], employees)
    for number, listing in enumerate([*listings, *[listings[-1]] * 3]):
        here = replace(here, run_date=TODAY + timedelta(days=number), accounts=listing)
        plan = plan_sync(here, LIMITS)
        assert plan.digest("w") == plan_sync(here, LIMITS).digest("w")
        after = applied(here, plan)

        active = [link.employee_id for link in after.links if link.is_active]
        assert len(active) == len(set(active)), "an employee has one account at most"
        assert {link.external_id for link in here.links} <= {link.external_id for link in after.links}
        ended = {subject for subject, _ in made(plan, EntryKind.DEACTIVATE)}
        there = {each.external_id for each in listing if each.state is not AccountState.DELETED}
        assert ended.isdisjoint(there), "nobody who is there loses a link"
        # The same run once more finds nothing to do.
        again = plan_sync(after, LIMITS)
        assert [entry for entry in again.entries if entry.kind not in MARKS] == []
        here = after
    assert plan.entries == []
