"""Where a run does not keep a promise of the contract, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto


class Promise(Enum):
    """A promise that has exceptions.

    DRY: a dry run writes nothing. AGAIN: a new run with the same form changes nothing, or is refused. CLEAR: the clear of any step changes
    nothing; that of a person's operation is refused. KILL: a run that is killed before any act ends as an undisturbed one. COUNT: the
    execution log and the outcomes of such a run say the same, too. BROKEN: a tenant that fails stops no other, and is in exactly one
    alert; after it is mended, a clear ends the work.
    """

    DRY = auto()
    AGAIN = auto()
    CLEAR = auto()
    KILL = auto()
    COUNT = auto()
    BROKEN = auto()


_NEW_LETTER = "a letter that nobody has tried to send is replaced by one with the new figures"

# By the names of the cases.
EXCEPTIONS: Mapping[Promise, Mapping[str, str]] = {
    Promise.DRY: {},
    Promise.AGAIN: {"monthly_report": _NEW_LETTER},
    Promise.CLEAR: {"monthly_report": _NEW_LETTER},
    Promise.KILL: {},
    Promise.COUNT: dict.fromkeys(
        (
            "settings_sync",
            "undo_settings_sync-undo",
            "tenant_monitoring",
        ),
        "an attempt counts what it has changed itself, and the one after a kill finds the work done",
    ),
    Promise.BROKEN: {},
}
