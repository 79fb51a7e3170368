"""A transfer is a payment by itself only if its payer and its invoices are sure."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.skillreport.billing.receivables.matching import (
    Choice,
    Doubt,
    EnteredPayment,
    KnownPayer,
    Match,
    MatchedPart,
    Matcher,
    OpenTransfer,
    Unpaid,
    oldest_first,
)

ISSUED, PAID = date(2026, 11, 1), date(2026, 11, 27)
AOBA = KnownPayer("A", "[ｶ]ｱｵﾊﾞ", "")


def unpaid(number: str, amount: int, tenant_id: str = "A", earliest: date = ISSUED) -> Unpaid:
    return Unpaid(tenant_id, number, Decimal(amount), earliest, date(2026, 11, 30))


def transfer(amount: int, payer: str = AOBA.payer_key, code: str = "", **changes: object) -> OpenTransfer:
    return OpenTransfer("T", PAID, Decimal(amount), payer, code, **changes)  # type: ignore[arg-type]


def match(
    what: OpenTransfer,
    *invoices: Unpaid,
    payers: tuple[KnownPayer, ...] = (AOBA,),
    entered: tuple[EnteredPayment, ...] = (),
) -> Match:
    return Matcher(invoices, payers, entered, 880).match(what)


def numbers(choice: Choice) -> list[tuple[str, int, int]]:
    return [(part.number, int(part.amount), int(part.fee)) for part in choice]


@pytest.mark.parametrize(
    ("amount", "paid"),
    [
        (11_000, [("1", 11_000, 0)]),
        (5_000, [("2", 5_000, 0)]),
        (16_000, [("1", 11_000, 0), ("2", 5_000, 0)]),
        (10_340, [("1", 10_340, 660)]),
        (15_560, [("1", 11_000, 0), ("2", 4_560, 440)]),
    ],
    ids=["the oldest", "another one", "all", "one less a fee", "all less a fee"],
)
def test_a_sure_amount_of_a_known_payer_needs_no_person(
    amount: int, paid: list[tuple[str, int, int]]
) -> None:
    found = match(transfer(amount), unpaid("1", 11_000), unpaid("2", 5_000))
    assert found.doubt is None
    assert [numbers(choice) for choice in found.choices] == [paid]


def test_of_equal_amounts_the_oldest_is_paid_first() -> None:
    matcher = Matcher([unpaid("2", 11_000), unpaid("1", 11_000)], [AOBA], [], 880)
    first, second, third = (matcher.match(transfer(11_000)) for _ in range(3))
    assert numbers(first.choices[0]) == [("1", 11_000, 0)]
    assert numbers(second.choices[0]) == [("2", 11_000, 0)]
    assert (third.doubt, third.choices) == (Doubt.NOTHING_OPEN, ())


@pytest.mark.parametrize(
    ("amount", "doubt", "choices"),
    [
        (10_000, Doubt.OTHER_AMOUNT, [[("1", 10_000, 0)]]),
        (12_000, Doubt.OTHER_AMOUNT, [[("1", 11_000, 0), ("2", 1_000, 0)]]),
        (30_000, Doubt.OTHER_AMOUNT, [[("1", 11_000, 0), ("2", 19_000, 0)]]),
        (10_119, Doubt.OTHER_AMOUNT, [[("1", 10_119, 0)]]),
    ],
    ids=["a part", "more than one", "too much", "more than a fee is missing"],
)
def test_another_amount_waits_with_the_oldest_invoices_first(
    amount: int, doubt: Doubt, choices: list[list[tuple[str, int, int]]]
) -> None:
    found = match(transfer(amount), unpaid("1", 11_000), unpaid("2", 5_000))
    assert (found.doubt, [numbers(choice) for choice in found.choices]) == (doubt, choices)


def test_two_readings_of_an_amount_are_for_a_person() -> None:
    found = match(transfer(11_000), unpaid("1", 11_440), unpaid("2", 11_000))
    assert found.doubt is Doubt.SEVERAL_INVOICES
    assert [numbers(choice) for choice in found.choices] == [[("2", 11_000, 0)], [("1", 11_000, 440)]]


def test_a_small_rest_of_another_invoice_makes_no_second_reading() -> None:
    found = match(transfer(11_000), unpaid("1", 660), unpaid("2", 11_000))
    assert (found.doubt, numbers(found.choices[0])) == (None, [("2", 11_000, 0)])


@pytest.mark.parametrize(
    ("amount", "open_amounts", "choices"),
    [
        (22_000, [11_000, 11_000, 22_000], ["3", "12"]),
        (21_560, [11_000, 11_000, 22_000], ["3", "12"]),
        (22_000, [11_000, 11_440, 22_000], ["3", "12"]),
        (27_500, [16_500, 5_500, 11_000, 22_000], ["13", "24"]),
    ],
    ids=["one or two", "one or two less a fee", "one, or two less a fee", "two or two"],
)
def test_an_amount_that_other_invoices_give_together_is_for_a_person(
    amount: int, open_amounts: list[int], choices: list[str]
) -> None:
    invoices = [unpaid(f"{number}", each) for number, each in enumerate(open_amounts, start=1)]
    found = match(transfer(amount), *invoices)
    assert found.doubt is Doubt.SEVERAL_INVOICES
    assert ["".join(part.number for part in choice) for choice in found.choices] == choices


def test_with_many_open_invoices_a_person_chooses() -> None:
    invoices = [unpaid(f"{number:02}", 11_000 + number) for number in range(40)]
    found = match(transfer(11_007), *invoices)
    assert found.doubt is Doubt.SEVERAL_INVOICES
    assert numbers(found.choices[0]) == [("07", 11_007, 0)]


def test_a_small_rest_is_no_fee_of_the_others() -> None:
    found = match(transfer(16_000), unpaid("1", 660), unpaid("2", 11_000), unpaid("3", 5_000))
    assert (found.doubt, [numbers(choice) for choice in found.choices]) == (
        Doubt.OTHER_AMOUNT,
        [[("2", 11_000, 0), ("3", 5_000, 0)]],
    )


@pytest.mark.parametrize("amount", [120, 500])
def test_an_amount_that_is_not_smaller_than_the_transfer_is_no_fee(amount: int) -> None:
    found = match(transfer(amount), unpaid("1", 1_000))
    assert (found.doubt, [numbers(choice) for choice in found.choices]) == (
        Doubt.OTHER_AMOUNT,
        [[("1", amount, 0)]],
    )
    assert match(transfer(501), unpaid("1", 1_000)).doubt is None


def test_an_invoice_cannot_be_paid_before_its_issue() -> None:
    late = unpaid("2", 11_000, earliest=PAID + timedelta(days=1))
    assert match(transfer(11_000), late).doubt is Doubt.BEFORE_ISSUE
    found = match(transfer(5_000), unpaid("1", 5_000), late)
    assert (found.doubt, numbers(found.choices[0])) == (None, [("1", 5_000, 0)])


def test_an_unknown_payer_gets_the_invoices_of_this_amount() -> None:
    found = match(transfer(11_000, "ｼﾗﾅｲ"), unpaid("1", 11_000), unpaid("2", 11_000, "B"), unpaid("3", 5_000))
    assert found.doubt is Doubt.UNKNOWN_PAYER
    assert [numbers(choice)[0][0] for choice in found.choices] == ["1", "2"]


def test_a_name_of_several_tenants_is_sure_only_by_its_code() -> None:
    payers = (KnownPayer("A", "ｱｵﾊﾞ", "1"), KnownPayer("B", "ｱｵﾊﾞ", "2"), KnownPayer("C", "ｱｵﾊﾞ", "3"))
    invoices = [unpaid("1", 11_000), unpaid("2", 11_000, "B"), unpaid("3", 11_000, "C")]
    without = match(transfer(11_000, "ｱｵﾊﾞ"), *invoices, payers=payers)
    assert without.doubt is Doubt.SEVERAL_TENANTS
    assert [choice[0].tenant_id for choice in without.choices] == ["A", "B", "C"]
    by_code = match(transfer(11_000, "ｱｵﾊﾞ", "2"), *invoices, payers=payers)
    assert (by_code.doubt, by_code.choices[0][0].tenant_id) == (None, "B")
    new = match(transfer(11_000, "ｱｵﾊﾞ", "9"), *invoices, payers=payers)
    assert new.doubt is Doubt.NEW_CODE


def test_a_name_that_always_had_a_code_is_not_sure_without_it() -> None:
    found = match(transfer(11_000, "ｱｵﾊﾞ"), unpaid("1", 11_000), payers=(KnownPayer("A", "ｱｵﾊﾞ", "1"),))
    assert found.doubt is Doubt.NEW_CODE
    assert numbers(found.choices[0]) == [("1", 11_000, 0)]
    both = (KnownPayer("A", "ｱｵﾊﾞ", "1"), KnownPayer("A", "ｱｵﾊﾞ", ""))
    assert match(transfer(11_000, "ｱｵﾊﾞ"), unpaid("1", 11_000), payers=both).doubt is None


def test_a_name_of_two_tenants_stays_unsure_after_a_mistake() -> None:
    """Otherwise the payment of one of them would be booked for the other one."""
    payers = (AOBA, KnownPayer("B", AOBA.payer_key, "", is_sure=False))
    invoices = [unpaid("1", 11_000), unpaid("2", 11_000, "B")]
    assert match(transfer(11_000), *invoices, payers=payers).doubt is Doubt.SEVERAL_TENANTS
    alone = match(transfer(11_000), *invoices, payers=payers[1:])
    assert (alone.doubt, numbers(alone.choices[0])) == (Doubt.UNKNOWN_PAYER, [("2", 11_000, 0)])


def test_a_renamed_payer_is_found_by_its_code_and_confirmed() -> None:
    found = match(
        transfer(11_000, "ﾐﾄﾞﾘ", "7"), unpaid("1", 11_000, "B"), payers=(AOBA, KnownPayer("B", "[ｶ]ｱｵﾊﾞ", "7"))
    )
    assert found.doubt is Doubt.UNKNOWN_PAYER
    assert numbers(found.choices[0]) == [("1", 11_000, 0)]


@pytest.mark.parametrize("payer", [AOBA.payer_key, "ｼﾗﾅｲ"])
def test_a_payment_that_was_entered_by_hand_is_proposed_as_the_same(payer: str) -> None:
    entered = EnteredPayment("p", "A", "1", PAID + timedelta(days=3), Decimal(11_000))
    found = match(transfer(11_000, payer), unpaid("2", 11_000), entered=(entered,))
    assert found.doubt is Doubt.ALREADY_ENTERED
    assert found.choices == ((MatchedPart("A", "1", Decimal(11_000), payment_id="p"),),)
    later = EnteredPayment("p", "A", "1", PAID - timedelta(days=15), Decimal(11_000))
    assert match(transfer(11_000), unpaid("2", 11_000), entered=(later,)).doubt is None


def test_one_transfer_may_be_entered_once_for_each_invoice() -> None:
    entered = [
        EnteredPayment(each, "A", each, PAID, Decimal(amount))
        for each, amount in (("1", 11_000), ("2", 5_000))
    ]
    found = match(transfer(16_000), unpaid("3", 16_000), entered=tuple(entered))
    assert found.doubt is Doubt.ALREADY_ENTERED
    assert [part.payment_id for part in found.choices[0]] == ["1", "2"]


def test_a_transfer_whose_payment_was_taken_back_is_never_sure_again() -> None:
    found = match(transfer(11_000, was_taken_back=True), unpaid("1", 11_000))
    assert found.doubt is Doubt.TAKEN_BACK
    assert numbers(found.choices[0]) == [("1", 11_000, 0)]


@given(
    amount=st.integers(1, 60_000),
    open_amounts=st.lists(st.integers(1, 20_000), max_size=6),
    code=st.sampled_from(["", "1", "2"]),
)
def test_a_sure_amount_settles_its_invoices_exactly(amount: int, open_amounts: list[int], code: str) -> None:
    invoices = [unpaid(f"{number:02}", each) for number, each in enumerate(open_amounts)]
    payers = (KnownPayer("A", "ｱｵﾊﾞ", "1"), KnownPayer("B", "ﾐﾄﾞﾘ", "1"))
    found = match(transfer(amount, "ｱｵﾊﾞ", code), *invoices, payers=payers)
    for choice in found.choices:
        assert sum(part.amount for part in choice) == amount
        assert sum(part.fee for part in choice) < amount
        assert len({part.number for part in choice}) == len(choice)
    if found.doubt is None:
        (choice,) = found.choices
        by_number = {each.number: each.open_amount for each in invoices}
        assert all(part.amount + part.fee == by_number[part.number] for part in choice)
        assert sum(part.fee for part in choice) <= 880
        assert code != "2"


@given(
    amount=st.integers(1, 60_000), open_amounts=st.lists(st.integers(-5_000, 20_000), min_size=1, max_size=6)
)
def test_the_oldest_invoices_share_the_whole_amount(amount: int, open_amounts: list[int]) -> None:
    invoices = [unpaid(f"{number:02}", each) for number, each in enumerate(open_amounts)]
    parts = oldest_first(Decimal(amount), invoices)
    assert sum(part.amount for part in parts) == amount
    assert all(part.amount > 0 for part in parts)
    by_number = {each.number: each.open_amount for each in invoices}
    assert all(part.amount <= by_number[part.number] for part in parts[:-1])


def test_every_doubt_says_what_a_person_does() -> None:
    assert [doubt for doubt in Doubt if not (doubt.label and doubt.advice)] == []
