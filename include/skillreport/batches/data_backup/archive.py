"""The entries of a pg_dump archive, from ``pg_restore --list --verbose``, and those that only a superuser can restore."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from include.skillreport.batches.data_backup.files import Manifest, TableContent
from include.skillreport.schema.checks.superuser_objects import SuperuserObject

_ENTRY = re.compile(r"^(\d+); (\d+) (\d+) (.*)$")
_DEPENDS = ";\tdepends on: "

# A user mapping has no dependency in the list. It contains a password, and only the owner of the server may create it.
_NEVER_RESTORED = "USER MAPPING "
# Parts of another entry.
_PARTS = ("COMMENT ", "ACL ", "SECURITY LABEL ", "TABLE DATA ", "SEQUENCE ", "DEFAULT ", _NEVER_RESTORED)

# The maximum number of names in a manifest.
_NAMED = 50


@dataclass(frozen=True)
class ArchiveEntry:
    """An entry: its number, its object's catalogue and number, and its kind, schema, name and owner."""

    entry_id: int
    class_id: int
    object_id: int
    text: str
    depends_on: frozenset[int] = frozenset()


def parse_entries(listing: str) -> list[ArchiveEntry]:
    """The entries of the list, in order."""
    entries: list[ArchiveEntry] = []
    for line in listing.splitlines():
        if found := _ENTRY.match(line):
            entries.append(ArchiveEntry(int(found[1]), int(found[2]), int(found[3]), found[4]))
        elif line.startswith(_DEPENDS) and entries:
            depends_on = frozenset(map(int, line.removeprefix(_DEPENDS).split()))
            entries[-1] = replace(entries[-1], depends_on=depends_on)
    return entries


def entries_of_superuser(
    entries: Sequence[ArchiveEntry], objects: Iterable[SuperuserObject]
) -> list[ArchiveEntry]:
    """The entries of these objects, and all entries that depend on them."""
    roots = {(each.class_id, each.object_id) for each in objects}
    found = {
        each.entry_id
        for each in entries
        if (each.class_id, each.object_id) in roots or each.text.startswith(_NEVER_RESTORED)
    }
    added = found
    while added:
        added = {each.entry_id for each in entries if each.depends_on & added} - found
        found = found | added
    return [each for each in entries if each.entry_id in found]


def about_superuser(left_out: Sequence[ArchiveEntry], tables: Collection[tuple[str, str]]) -> dict[str, Any]:
    """The manifest's numbers of these entries, names of the first objects, and tables by schema and name."""
    texts = [each.text for each in left_out]
    objects = [text.rpartition(" ")[0].replace(" - ", " ") for text in texts if not text.startswith(_PARTS)]
    return {
        "entries": [each.entry_id for each in left_out],
        "objects": len(objects),
        "names": objects[:_NAMED],
        "tables": [
            [schema, name]
            for schema, name in tables
            if any(text.startswith(f"TABLE {schema} {name} ") for text in texts)
        ],
    }


def entries_left_out(manifest: Manifest) -> frozenset[int]:
    """The numbers of the entries that only a superuser can restore."""
    return frozenset(manifest.about.get("superuser_only", {}).get("entries", ()))


def restorable_tables(manifest: Manifest) -> list[TableContent]:
    """The manifest's tables that a login without superuser rights restores."""
    left_out = {tuple(each) for each in manifest.about.get("superuser_only", {}).get("tables", ())}
    return [each for each in manifest.tables if (each.schema, each.name) not in left_out]
