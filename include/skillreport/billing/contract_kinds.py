"""The parts of a contract, besides the price list: the tables, their keys, and the changes that need a second user. Pure."""

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
    """The rows of one table in schema ``batch``. ``columns`` are the entered columns, without ``owner``.

    All rows of a list have the same value in the column ``owner``. Together with the columns of ``key``, it identifies a row. ``is_dated``:
    a row is valid from ``valid_from`` to ``valid_to`` (None: without end), and two rows with equal ``distinct`` columns must not be valid
    on the same day. ``title`` and the titles of ``columns`` are for users.
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
        """True if both rows have the same key."""
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


# The columns that documents show, by kind, besides the name.
_PRINTED: Mapping[str, Sequence[str]] = {
    "profile": ("department", "postal_code", "address"),
    "discount": ("name",),
    "order_number": ("order_number",),
}

_CODE = re.compile("[ -~第号]*")

_LARGE_DISCOUNT = 30


@dataclass(frozen=True)
class ContractApproval:
    """The rules by which a contract change waits for a second user. ``rate_tolerance_percent``: the largest difference from a former rate.

    ``text_approval``: the new texts on documents that wait (``payment_words.text_waits``). ``discount_limit``: the largest fixed discount,
    in whole yen per month, that one user may enter.
    """

    rate_tolerance_percent: Decimal
    text_approval: TextApproval
    discount_limit: int

    @classmethod
    def of(cls, settings: BillingSettings) -> ContractApproval:
        """The rules from the settings of the installation."""
        limit = settings.operation_limit or LEAST_LIMIT
        return cls(settings.rate_tolerance_percent, settings.text_approval, limit)

    def is_odd(self, yen_per_unit: Decimal, former: Sequence[Decimal]) -> bool:
        """True if a rate waits: it is the currency's first one, or too far from a former rate."""
        tolerance = self.rate_tolerance_percent
        return not former or any(abs(yen_per_unit - each) * 100 > tolerance * each for each in former)

    def is_large(self, discount: Mapping[str, Any], percentages: Decimal) -> bool:
        """True if a discount waits: with the others on its days it is 30 % or more, or it is a large or a foreign amount."""
        if discount["kind"] == "percentage":
            return percentages >= _LARGE_DISCOUNT
        is_yen = discount["currency"] == YEN
        return discount["kind"] == "fixed" and not (
            is_yen and Decimal(discount["value"]) <= self.discount_limit
        )


@dataclass(frozen=True)
class Wanted:
    """A row that a user wants. ``owner`` is the tenant's id, or the currency of a rate. ``reason`` says why.

    ``is_end``: the row that ``values`` identifies ends on its ``valid_to``. If that is before its first day, it is removed. ``line``: its
    line in a file, from 1. ``is_checked``: the user knows that the currency is not the tenant's.
    """

    kind: ContractKind
    owner: str
    values: Mapping[str, Any]
    reason: str
    is_end: bool = False
    line: int | None = None
    is_checked: bool = False

    def require_currency(self, currency: str) -> None:
        """Check the currency. :raises BillingError: it is not the tenant's, and the user did not confirm it."""
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

    ``former_rates``: for an exchange rate, the last rate before its day, and the last one before its month. ``percentages``: for a
    discount, the sum of its percentage and the other discounts' on its days.
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
        """The number that the change is about: a discount's value, or a rate's yen. None: it is about texts."""
        values = self.after or {}
        name = {DISCOUNT.name: "value", EXCHANGE_RATE.name: "yen_per_unit"}.get(self.kind.name, "")
        return Decimal(str(values[name])) if values.get(name) is not None else None


@dataclass(frozen=True)
class BillingContact:
    """The name on a tenant's documents, and the addresses of its e-mails. The application's values replace missing entries."""

    name: str
    addresses: frozenset[str]

    def missing_in(self, other: BillingContact) -> list[str]:
        """The addresses that ``other`` does not have, in order, regardless of capitals: providers deliver both spellings to one mailbox."""
        known = {each.lower() for each in other.addresses}
        return sorted(each for each in self.addresses if each.lower() not in known)


def row_change(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> RowChange | None:
    """The change of a wanted row among the ``rows`` of its owner, or None.

    :raises BillingError: there is no row to end, or another row is valid on one of its days.
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
    """True if another user must approve: a new payer, an odd exchange rate, a large discount, another tax category or country, a text that
    waits (``text_waits``), another name on the documents, or a new e-mail address.
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
    # The tax depends on the country.
    is_other = not {"tax_category", "country"}.isdisjoint(change.changed) or not _is_same(
        before.name, after.name
    )
    return is_other or bool(after.missing_in(before))


def _is_code(name: str, text: str) -> bool:
    """True if many digits are normal: a postal code, whose form is checked, or an order number that is no sentence."""
    return name == "postal_code" or (name == "order_number" and _CODE.fullmatch(text) is not None)


def _is_shortened(change: RowChange) -> bool:
    """True if the row only ends earlier."""
    before, after = change.before, change.after
    return (
        change.changed == ["valid_to"]
        and before is not None
        and after is not None
        and after["valid_to"] is not None
        and (before["valid_to"] is None or after["valid_to"] < before["valid_to"])
    )


def _former_rates(wanted: Wanted, rows: Sequence[Mapping[str, Any]]) -> list[Decimal]:
    """The last rate before the day, and the last one before the month, because many small steps make a large one."""
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
    """The sum of the percentages of a discount and of the others that are valid on one of its days."""
    if kind is not DISCOUNT or row is None or row["kind"] != "percentage":
        return Decimal(0)
    together = [row, *(each for each in others if each["kind"] == "percentage" and not _are_apart(row, each))]
    return sum((Decimal(each["value"]) for each in together), Decimal(0))


def _are_apart(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True if the rows have no day in common."""
    ends_before = other["valid_to"] is not None and other["valid_to"] < row["valid_from"]
    begins_after = row["valid_to"] is not None and row["valid_to"] < other["valid_from"]
    return ends_before or begins_after


def as_json(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The row as JSON values. PostgreSQL parses the texts of numbers and days."""
    return None if row is None else {name: _json(value) for name, value in row.items()}


def _is_same(value: Any, other: Any) -> bool:
    """True if a form reads both values as the same one. A stored text may have line breaks and ideographic spaces."""
    return bool(_as_entered(value) == _as_entered(other))


def _as_entered(value: Any) -> object:
    """The value as a form reads it; None for an empty list."""
    if isinstance(value, str):
        return one_line(value)
    return None if value in ([], ()) else value


def _kept(before: Any, after: Any) -> Any:
    """The new value, or the stored one if both are the same, so that it never counts as a change."""
    return before if _is_same(before, after) else after


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, date):
        return value.isoformat()
    return list(value) if isinstance(value, tuple) else value


def _require_free(kind: ContractKind, row: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> None:
    """Check for overlaps. :raises BillingError: another row is valid on one of the row's days."""
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
