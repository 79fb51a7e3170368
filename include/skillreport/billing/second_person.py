"""Entries that a second user approves: the kinds, and one rule for all. Pure.

The tables of the kinds have the values, authors and approvers. ``batch.guard_second_person`` is the same rule in the database, and
``batch.all_waiting_entry`` lists waiting entries. To add a kind: docs/develop/recipes.md.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from include.skillreport.billing.errors import BillingError
from include.skillreport.core.entered import compared, entered_number

# The setting billing.second_person. With "none", an entry's author approves it in a second step, and types its subject.
SecondPerson = Literal["required", "none"]

# Follows the name of an author who approved their own entry. Without it, the database rejects the approval.
ALONE = "（1 人で確認）"

# The title of the field in which the author types the subject of an entry.
CONFIRMATION = "1 人での確認"


@dataclass(frozen=True)
class WaitingKind:
    """A kind of ``batch.all_waiting_entry`` and its words: the ``verb`` of entering, why it waits, and the second user's action
    (``remedy_alone``: the author's, with ``none``). ``page`` of the board lists it.
    """

    label: str
    verb: str = "登録"
    because: str = "した"
    approval: str = "承認"
    remedy: str = "ほかの人が承認してください"
    remedy_alone: str = f"「保留中の請求の承認」の「{CONFIRMATION}」に金額を入力して承認してください"
    page: str = "invoices"


_ABOVE_LIMIT = "し、1 人で登録できる額を超えるか、支払いに関わる語がある"

WAITING_KINDS: Mapping[str, WaitingKind] = {
    "draft": WaitingKind("保留中の請求書"),
    "line": WaitingKind("個別明細", because=_ABOVE_LIMIT),
    "credit": WaitingKind("返還", because=_ABOVE_LIMIT),
    "write_off": WaitingKind("貸倒れ", because=_ABOVE_LIMIT),
    "correction": WaitingKind(
        "訂正",
        verb="訂正",
        approval="送付",
        remedy="訂正していない人が内容を確認し、「送付する」を使ってください",
        remedy_alone=f"「送付する」の「{CONFIRMATION}」に請求額を入力してください",
    ),
    "contract": WaitingKind(
        "契約の変更",
        verb="入力",
        remedy_alone=f"DAG approve_contracts の確認の「{CONFIRMATION}」に金額かコードを入力してください",
        page="contracts",
    ),
}


@dataclass(frozen=True)
class WaitingEntry:
    """A waiting entry. ``what`` names it in a sentence. ``authors`` entered it, last at ``entered_at`` (aware; None: unknown).

    ``seen`` and ``present`` are fingerprints of what it changes, at entry and now. ``difference`` describes the difference.
    """

    kind: str
    what: str
    authors: Collection[str]
    entered_at: datetime | None = None
    seen: object = None
    present: object = None
    difference: str = ""


def person_key(name: str) -> str:
    """A key that ignores case and width in a user's name. ``batch.person_key`` computes the same."""
    return unicodedata.normalize("NFKC", name).lower()


def is_author(person: str, authors: Collection[str]) -> bool:
    """True if the user is one of the authors."""
    return person_key(person) in map(person_key, authors)


def approval_words(setting: SecondPerson, whose: str = "ほかの人の") -> str:
    """What an entry waits for, as a noun. ``whose``: the approval that the setting ``required`` demands."""
    return (
        f"{whose}承認"
        if setting == "required"
        else f"登録した人の確認（「{CONFIRMATION}」に金額かコードを入力）"
    )


def approver_words(setting: SecondPerson, who: str = "ほかの人が") -> str:
    """Who decides, as the beginning of a sentence. ``who``: with the setting ``required``."""
    return who if setting == "required" else f"登録した人が「{CONFIRMATION}」に金額かコードを入力して"


@dataclass(frozen=True)
class Approver:
    """The approver, and the texts that confirm their own entries: each text confirms one. ``setting``: whether they count.

    ``named``: the prefix of a text in the form, for the refusal.
    """

    person: str
    setting: SecondPerson = "required"
    typed: list[str] = field(default_factory=list)
    named: str = ""

    def name_for(self, what: str, authors: Collection[str], about: Decimal | str) -> str:
        """The approver's name to store for ``what``: the user's name, or with ``none`` the marked name of an author who typed what it is
        ``about`` (an amount, or a code).

        :raises BillingError: the user's name looks like a marked name, or an author typed another text.
        """
        if person_key(self.person).endswith(person_key(ALONE)):
            raise BillingError(
                "NAME_NOT_USABLE",
                f"利用者名 {self.person} は、1 人で確認した記録と区別できないため、承認できません。別の名前の利用者で実行してください",
            )
        if self.setting == "required" or not is_author(self.person, authors):
            return self.person
        matching = next((text for text in self.typed if _is_same(text, about)), None)
        if matching is None:
            wanted = f"{about:,f}" if isinstance(about, Decimal) else about
            raise BillingError(
                "NOT_CONFIRMED",
                f"{what}は {self.person} が登録しました。"
                f"1 人で承認するには、「{CONFIRMATION}」（confirmed）に {self.named}{wanted} と入力してください",
            )
        self.typed.remove(matching)
        return f"{self.person}{ALONE}"


def _is_same(text: str, about: Decimal | str) -> bool:
    typed = compared(text)
    return entered_number(typed) == about if isinstance(about, Decimal) else typed == compared(about)


def approval_refusal(
    entry: WaitingEntry, person: str, setting: SecondPerson, opened_at: datetime | None = None
) -> BillingError | None:
    """Why this user must not approve the entry, or None. Authors may not, and it must be unchanged.

    An approval covers only entries from before its run was first opened (``opened_at``, aware), because the user who clears a run is
    unknown. None: no limit. With ``none``, an author who confirmed the entry has another name (``Approver``).
    """
    kind = WAITING_KINDS[entry.kind]
    authors = "、".join(sorted(entry.authors))
    if is_author(person, entry.authors):
        return BillingError(
            "OWN_ENTRY",
            f"{entry.what}は {authors} が{kind.verb}{kind.because}ため、{person} は{kind.approval}できません。"
            f"{kind.remedy if setting == 'required' else kind.remedy_alone}",
        )
    if opened_at and entry.entered_at and entry.entered_at > opened_at:
        return BillingError(
            "ENTERED_LATER",
            f"{entry.what}は、この操作を始めた後に {authors} が{kind.verb}しています。内容を確認し、操作を新しく実行してください",
        )
    if entry.seen != entry.present:
        difference = f"（{entry.difference.rstrip('。')}）" if entry.difference else ""
        return BillingError(
            "ENTRY_CHANGED",
            f"{entry.what}は、{kind.verb}した後に元の内容が変わったため、{kind.approval}できません{difference}。"
            f"取り下げて、もう一度{kind.verb}してください",
        )
    return None
