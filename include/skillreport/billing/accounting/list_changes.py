"""The changes between two detailed lists of a month: documents that appeared, disappeared, or have another amount."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from io import BytesIO, TextIOWrapper
from typing import Any

from include.skillreport.billing.money import YEN

_COLUMNS = ("請求書番号", "種別", "通貨", "税込金額", "税込金額（円）")


@dataclass(frozen=True)
class DocumentChange:
    """A document that differs. ``before`` and ``after`` are its amounts as text; None: it is not in the list."""

    number: str
    kind: str
    before: str | None
    after: str | None

    def sentence(self) -> str:
        """The change in one line."""
        document = f"{self.number}（{self.kind}）"
        if self.before is None:
            return f"{document} {self.after} が加わりました"
        if self.after is None:
            return f"{document} {self.before} がなくなりました"
        return f"{document} {self.before} → {self.after}"

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def changes_between(earlier: bytes, later: bytes) -> tuple[DocumentChange, ...] | None:
    """The changes from one written list to another. None: the earlier one has other columns, of another version."""
    before, after = _amounts(earlier), _amounts(later)
    if before is None or after is None:
        return None
    return tuple(
        DocumentChange(*document, before.get(document), after.get(document))
        for document in dict.fromkeys((*before, *after))
        if before.get(document) != after.get(document)
    )


def _amounts(content: bytes) -> Mapping[tuple[str, str], str] | None:
    """The amounts by the documents' numbers and kinds. None: the list has other columns."""
    sums: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    rows = csv.DictReader(TextIOWrapper(BytesIO(content), encoding="utf-8-sig", newline=""))
    if not set(_COLUMNS) <= set(rows.fieldnames or ()):
        return None
    for row in rows:
        document = (row["請求書番号"], row["種別"], row["通貨"])
        gross, in_yen = sums.get(document, (Decimal(0), Decimal(0)))
        sums[document] = (gross + Decimal(row["税込金額"]), in_yen + Decimal(row["税込金額（円）"]))
    return {
        (number, kind): f"{gross:,f} {currency}" + ("" if currency == YEN else f"（{in_yen:,f} 円）")
        for (number, kind, currency), (gross, in_yen) in sums.items()
    }
