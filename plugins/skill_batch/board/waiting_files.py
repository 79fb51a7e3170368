"""The files that a dialog offers if its operation reads one from a folder of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from skill_batch.board.actions import Action
from skill_batch.board.store_access import ArchivedFileError, in_store
from include.skillreport.billing.actions.fields import PAYMENTS
from include.skillreport.operations.operate_contracts.fields import INCOMING

_FOLDERS = {"imported_file": INCOMING, "payment_file": PAYMENTS}

_MOST = 100


def waiting_files(action: Action) -> Mapping[str, Sequence[str]]:
    """The usable names of the newest files in the folder of each such field. Without a readable file, the field is missing, and users
    type the name.
    """
    return {name: found for name in action.fields.keys() & _FOLDERS.keys() if (found := _names(action, name))}


def _names(action: Action, name: str) -> list[str]:
    folder, field = _FOLDERS[name], action.fields[name]
    with suppress(ArchivedFileError):
        files = [each for each in in_store(folder, lambda store: store.entries(folder)) if each.is_file]
        files.sort(key=lambda each: each.modified.timestamp() if each.modified else 0, reverse=True)
        return [each.name for each in files if not field.refusal(name, each.name)][:_MOST]
    return []
