"""What a person enters and another person approves: the kinds, and the rule for lines and credit notes.

The rule for a correction is in ``ledger/letters.py``, that for a contract in ``ledger/contract_changes.py``.

``batch.all_waiting_entry`` lists what waits. The tables of the kinds have their values, and the database refuses an approval by the author.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.skillreport.billing.errors import BillingError
from include.skillreport.core.database import Statements

if TYPE_CHECKING:
    import psycopg

_SQL = Statements(Path(__file__).parent)

# The kinds in ``batch.all_waiting_entry``, by their names.
WAITING_KINDS = {
    "draft": "保留中の請求書",
    "line": "個別明細",
    "credit": "返還",
    "correction": "訂正",
    "contract": "契約の変更",
}


@dataclass(frozen=True)
class WaitingEntry:
    """Something that waits. ``what`` names it in a sentence. ``authors`` have entered it, at last at ``entered_at`` (aware)."""

    what: str
    authors: Collection[str]
    entered_at: datetime


def approval_refusal(entry: WaitingEntry, person: str, opened_at: datetime | None) -> BillingError | None:
    """Why this person must not approve the entry, or None.

    An approval covers only what was entered before its run was first opened (``opened_at``, aware), because the person who clears a run is
    unknown. None: no limit.
    """
    if person in entry.authors:
        return BillingError(
            "OWN_ENTRY",
            f"{entry.what}は {person} が登録し、1 人で登録できる額を超えているため、{person} は承認できません。ほかの人が承認してください",
        )
    if opened_at and entry.entered_at > opened_at:
        return BillingError(
            "ENTERED_LATER",
            f"この承認の後に登録された{entry.what}です。内容を確認し、操作をもう一度実行してください",
        )
    return None


@dataclass(frozen=True)
class OldEntries:
    """How many entries of a kind wait for long, and when the oldest one was entered (aware)."""

    kind: str
    entries: int
    oldest: datetime


def old_entries(platform: psycopg.Connection, before: datetime) -> list[OldEntries]:
    """What was entered before this time (aware) and still waits, by kind, the oldest first. As ``batch_platform``."""
    return [OldEntries(**row) for row in _SQL.rows(platform, "old_entries", before=before)]
