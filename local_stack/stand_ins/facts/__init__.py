"""What the services document of their answers: codes and numbers with their sources. The stand-ins answer with them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from typing_extensions import override


@dataclass(frozen=True)
class DocumentedAnswer:
    """A refusal that a service documents.

    ``kind`` says what it is about: ``rate``, ``outage``, ``doubt`` (the message may have been sent), ``credential``, ``settings``,
    ``conflict`` (with another request), ``destination``, ``message``, ``listing`` (of a directory), or ``never`` (it is about an argument
    that the product does not send). ``source`` is an address. ``seen`` is the date of its text; if that has none, the date on which a
    copy was read. ``unconfirmed``: why no official page says so; empty if one does.
    """

    service: str
    status: int
    code: str
    kind: str
    source: str
    seen: date
    unconfirmed: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.service} {self.status} {self.code}".strip()


@cache
def facts_of(service: str) -> dict[str, Any]:
    """The whole file of a service, with its limits where it has them."""
    return tomllib.loads((Path(__file__).parent / f"{service}.toml").read_text("utf-8"))


@cache
def documented_answers(service: str) -> tuple[DocumentedAnswer, ...]:
    """The answers of ``slack``, ``slack_webhook``, ``teams``, ``line_works``, ``line_works_auth`` or ``pagerduty``."""
    return tuple(
        DocumentedAnswer(
            service, table["status"], code, kind, table["source"], table["seen"], table.get("unconfirmed", "")
        )
        for table in facts_of(service)["answers"]
        for kind, codes in table["codes"].items()
        for code in codes
    )


def statuses(service: str) -> dict[str, int]:
    """The HTTP status of each code. Of several statuses, the last."""
    return {answer.code: answer.status for answer in documented_answers(service)}
