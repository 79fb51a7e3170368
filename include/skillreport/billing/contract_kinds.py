"""What a contract consists of, beside the price list: the tables, their keys, and what needs a second person. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from include.skillreport.billing.entry_limits import LEAST_LIMIT
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.money import YEN
from include.skillreport.billing.payment_words import TextApproval, text_waits
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.execution.digest import one_line


@dataclass(frozen=True)
class ContractKind:
    """The rows of one table in schema ``batch``. ``columns`` are what a person enters, without ``owner``.

    ``owner`` is the column that all rows of a list have in common. ``key`` are further columns: together they name a row.
    ``is_dated``: a row holds from ``valid_from`` to ``valid_to`` (None: without end), and two rows of equal ``distinct`` columns must not
    hold on the same day. ``title`` and the titles of the ``columns`` are for people.
    """

    name: str
    title: str
    table: str
    columns: Mapping[str, str]
    key: Sequence[str] = ()
    owner: str = "tenant_id"
    is_dated: bool = False
    distinct: Sequence[str] = ()

    def names(self, row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether both rows are the same one."""
        return all(_is_same(row[column], other[column]) for column in self.key)


_VALIDITY = {"valid_from": "初日", "valid_to": "末日"}

PROFILE = ContractKind(
    "profile",
    "請求先",
    "billing_profile",
    {
        "recipient_name": "宛名",
        "department": "部署",
        "honorific": "敬称",
        "postal_code": "郵便番号",
        "address": "住所",
        "country": "国",
        "email": "送付先",
        "further_emails": "追加の送付先",
        "cc_emails": "Cc",
        "language": "言語",
        "currency": "通貨",
        "tax_category": "税区分",
        "partner_code": "取引先コード",
        "pdf_delivery": "PDF の渡し方",
        "due_months": "期限の月",
        "due_day": "期限の日",
    },
)
DISCOUNT = ContractKind(
    "discount",
    "割引",
    "discount",
    {
        "name": "割引の名前",
        "kind": "種類",
        "value": "値",
        "currency": "通貨",
        "metric": "指標",
        **_VALIDITY,
    },
    key=("name", "valid_from"),
    is_dated=True,
    distinct=("name",),
)
COMMITMENT = ContractKind(
    "commitment",
    "最低利用料金",
    "commitment",
    {"amount": "月額", "currency": "通貨", **_VALIDITY},
    key=("valid_from",),
    is_dated=True,
)
ORDER_NUMBER = ContractKind(
    "order_number",
    "注文番号",
    "order_number",
    {"order_number": "注文番号", **_VALIDITY},
    key=("valid_from",),
    is_dated=True,
)
PLAN = ContractKind(
    "plan",
    "プラン",
    "plan_change",
    {"plan": "プラン", "effective_from": "初日"},
    key=("effective_from",),
)
PAYER = ContractKind(
    "payer",
    "振込名義",
    "payer",
    {"payer_key": "照合の名義", "payer_code": "振込依頼人コード", "payer_name": "振込名義"},
    key=("payer_key", "payer_code"),
)
EXCHANGE_RATE = ContractKind(
    "exchange_rate",
    "為替レート",
    "exchange_rate",
    {"rate_date": "日付", "yen_per_unit": "1 単位の円"},
    key=("rate_date",),
    owner="currency",
)

KINDS: Mapping[str, ContractKind] = {
    kind.name: kind for kind in (PROFILE, PLAN, DISCOUNT, COMMITMENT, ORDER_NUMBER, PAYER, EXCHANGE_RATE)
}


# What is printed on documents, by kind, beside the name.
_PRINTED: Mapping[str, Sequence[str]] = {
    "profile": ("department", "postal_code", "address"),
    "discount": ("name",),
    "order_number": ("order_number",),
}

_CODE = re.compile("[ -~第号]*")

_LARGE_DISCOUNT = 30


@dataclass(frozen=True)
class ContractApproval:
    """When a change of a contract waits for a second person. ``rate_tolerance_percent``: how much a rate may differ from the last one.

    ``text_approval``: which new texts on documents wait (``payment_words.text_waits``). ``discount_limit``: whole yen per month of a fixed
    discount that one person may enter.
    """

    rate_tolerance_percent: Decimal
    text_approval: TextApproval
    discount_limit: int

    @classmethod
    def of(cls, settings: BillingSettings) -> ContractApproval:
        """The terms by the settings of the installation."""
        limit = settings.operation_limit or LEAST_LIMIT
        return cls(settings.rate_tolerance_percent, settings.text_approval, limit)

    def is_odd(self, yen_per_unit: Decimal, former: Sequence[Decimal]) -> bool:
        """Whether a rate waits: it is the currency's first one, or too far from one of the former rates."""
        tolerance = self.rate_tolerance_percent
        return not former or any(abs(yen_per_unit - each) * 100 > tolerance * each for each in former)

    def is_large(self, discount: Mapping[str, Any], percentages: Decimal) -> bool:
        """Whether a discount waits: with the others of its days it is 30 % or more, or it is a large or a foreign amount."""
        if discount["kind"] == "percentage":
            return percentages >= _LARGE_DISCOUNT
        is_yen = discount["currency"] == YEN
        return discount["kind"] == "fixed" and not (
            is_yen and Decimal(discount["value"]) <= self.discount_limit
        )


@dataclass(frozen=True)
class Wanted:
    """A row as a person wants it. ``owner`` is the tenant's id, or the currency of a rate. ``reason`` says why.

    ``is_end``: the row that ``values`` names ends on its ``valid_to``; if that is before its first day, it is removed. ``line``: its line
    in a file, from 1. ``is_checked``: the person knows that the currency is not the tenant's.
    """

    kind: ContractKind
    owner: str
    values: Mapping[str, Any]
    reason: str
    is_end: bool = False
    line: int | None = None
    is_checked: bool = False

    def require_currency(self, currency: str) -> None:
        """:raises BillingError: the row has another currency than the tenant, and nobody has said that this is meant."""
        given = self.values.get("currency")
        if self.kind in (DISCOUNT, COMMITMENT) and given not in (None, currency) and not self.is_checked:
            raise BillingError(
                "OTHER_CURRENCY",
                f"通貨 {given} は、テナントの通貨 {currency} と違います。テナントの通貨を変えない限り、この期間の請求は失敗します。"
                "それでよければ「確かめた」（is_checked）を選んでください",
            )


@dataclass(frozen=True)
class RowChange:
    """A row before and after. None: there is no row.

    ``former_rates``: of an exchange rate the yen of the last day before it, and before its month. ``percentages``: of a discount the sum of
    its percentage and of the other discounts' on its days.
    """

    kind: ContractKind
    owner: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    reason: str
    former_rates: Sequence[Decimal] = ()
    percentages: Decimal = Decimal(0)

    @property
    def changed(self) -> list[str]:
        """The columns with other values."""
        before, after = self.before or {}, self.after or {}
        return [name for name in self.kind.columns if not _is_same(before.get(name), after.get(name))]

    @property
    def amount(self) -> Decimal | None:
        """What the change is about as a number: a discount's value, or a rate's yen. None: it is about texts."""
        values = self.after or {}
        name = {DISCOUNT.name: "value", EXCHANGE_RATE.name: "yen_per_unit"}.get(self.kind.name, "")
        return Decimal(str(values[name])) if values.get(name) is not None else None


@dataclass(frozen=True)
class BillingContact:
    """The name on a tenant's documents and the addresses of its letters, including what the application says where nothing is entered."""

    name: str
    addresses: frozenset[str]

    def missing_in(self, other: BillingContact) -> list[str]:
        """The addresses that ``other`` does not have, in order. Capitals make no difference: providers deliver both to one mailbox."""
        known = {each.lower() for each in other.addresses}
        return sorted(each for each in self.addresses if each.lower() not in known)


def row_change(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> RowChange | None:
    """What a wanted row changes among the ``rows`` of its owner, or None: nothing.

    :raises BillingError: there is no row to end, or another row holds on one of its days.
    """
    kind = wanted.kind
    before = next((row for row in rows if kind.names(row, wanted.values)), None)
    after: Mapping[str, Any] | None = wanted.values
    if wanted.is_end:
        if before is None:
            raise BillingError(
                "CONTRACT_ROW_UNKNOWN",
                f"{kind.title}（{_key_text(kind, wanted.values)}）はありません。「初日」と名前を確かめてください",
            )
        last = wanted.values["valid_to"]
        after = None if last < before["valid_from"] else {**before, "valid_to": last}
    if before is not None and after is not None:
        after = {name: _kept(before.get(name), value) for name, value in after.items()}
    others = [row for row in rows if row is not before]
    change = RowChange(
        kind,
        wanted.owner,
        before,
        after,
        wanted.reason,
        _former_rates(wanted, rows),
        _percentages(kind, after, others),
    )
    is_known_payer = kind is PAYER and before is not None
    if is_known_payer or not change.changed:
        return None
    if kind.is_dated and after is not None:
        _require_free(kind, after, others)
    return change


def needs_second_person(
    change: RowChange, terms: ContractApproval, before: BillingContact | None, after: BillingContact | None
) -> bool:
    """Whether somebody else must approve: a new payer, an odd exchange rate, a large discount, another tax category, a text that may lead
    payments elsewhere, another name on the documents, or an address that got no letters before.
    """
    row = change.after
    if row is None:
        return False
    texts = [
        (name, str(row[name] or "")) for name in _PRINTED.get(change.kind.name, ()) if name in change.changed
    ]
    if change.kind is PAYER or any(
        text_waits(text, terms.text_approval, with_numbers=not _is_code(name, text)) for name, text in texts
    ):
        return True
    if change.kind is EXCHANGE_RATE:
        return terms.is_odd(Decimal(row["yen_per_unit"]), change.former_rates)
    if change.kind is DISCOUNT:
        return terms.is_large(row, change.percentages) and not _is_shortened(change)
    if change.kind is not PROFILE or before is None or after is None:
        return False
    # The country decides about the tax.
    is_other = not {"tax_category", "country"}.isdisjoint(change.changed) or not _is_same(
        before.name, after.name
    )
    return is_other or bool(after.missing_in(before))


def _is_code(name: str, text: str) -> bool:
    """Whether a value may have many digits: a postal code, whose form is checked, and an order number that is no sentence."""
    return name == "postal_code" or (name == "order_number" and _CODE.fullmatch(text) is not None)


def _is_shortened(change: RowChange) -> bool:
    """Whether the row only ends earlier."""
    before, after = change.before, change.after
    return (
        change.changed == ["valid_to"]
        and before is not None
        and after is not None
        and after["valid_to"] is not None
        and (before["valid_to"] is None or after["valid_to"] < before["valid_to"])
    )


def _former_rates(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> list[Decimal]:
    """The last rate before the day, and the last one before the month: many small steps are a large one."""
    if wanted.kind is not EXCHANGE_RATE:
        return []
    day = wanted.values["rate_date"]
    found = []
    for limit in (day, day.replace(day=1)):
        earlier = [row for row in rows if row["rate_date"] < limit]
        found += [max(earlier, key=lambda row: row["rate_date"])["yen_per_unit"]] if earlier else []
    return found


def _percentages(
    kind: ContractKind, row: Mapping[str, Any] | None, others: Iterable[Mapping[str, Any]]
) -> Decimal:
    """The sum of the percentages of a discount and of the others that hold on one of its days."""
    if kind is not DISCOUNT or row is None or row["kind"] != "percentage":
        return Decimal(0)
    together = [row, *(each for each in others if each["kind"] == "percentage" and not _are_apart(row, each))]
    return sum((Decimal(each["value"]) for each in together), Decimal(0))


def _are_apart(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether no day is a day of both rows."""
    ends_before = other["valid_to"] is not None and other["valid_to"] < row["valid_from"]
    begins_after = row["valid_to"] is not None and row["valid_to"] < other["valid_from"]
    return ends_before or begins_after


def as_json(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The row as JSON values. PostgreSQL reads the texts of numbers and days back."""
    return None if row is None else {name: _json(value) for name, value in row.items()}


def _is_same(value: Any, other: Any) -> bool:
    """Whether a form reads both values as the same one. A stored text may have line breaks and ideographic spaces."""
    return bool(_as_entered(value) == _as_entered(other))


def _as_entered(value: Any) -> object:
    """The value as a form reads it; None for an empty list."""
    if isinstance(value, str):
        return one_line(value)
    return None if value in ([], ()) else value


def _kept(before: Any, after: Any) -> Any:
    """The value after a change: the stored one if both are the same, so that it counts nowhere as another one."""
    return before if _is_same(before, after) else after


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _require_free(kind: ContractKind, row: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> None:
    """:raises BillingError: another row holds on one of the row's days."""
    for other in others:
        if not all(_is_same(row[column], other[column]) for column in kind.distinct):
            continue
        if not _are_apart(row, other):
            raise BillingError(
                "CONTRACT_OVERLAP",
                f"{kind.title}（{_key_text(kind, row)}）の期間が、{_period_text(other)} のものと重なります。"
                "先にそれを「契約の終了」で終わらせるか、期間を直してください",
            )


def _key_text(kind: ContractKind, row: Mapping[str, Any]) -> str:
    return "、".join(f"{kind.columns[column]} {row[column]}" for column in kind.key)


def _period_text(row: Mapping[str, Any]) -> str:
    return f"{row['valid_from']} から {row['valid_to'] or '期限なし'}"
