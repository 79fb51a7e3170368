"""The findings of a check of the host, the server or the deployment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from include.skillreport.core.errors import SchemaError


class FindingSeverity(StrEnum):
    """An error prevents runs or the deployment. A remark does not."""

    ERROR = "error"
    REMARK = "remark"


@dataclass(frozen=True)
class Finding:
    """A finding for an operator, in Japanese: the problem, and the remedy.

    ``code`` is stable, for programs. ``subject`` is the table, column, role or host of the finding.
    """

    severity: FindingSeverity
    code: str
    problem: str
    remedy: str
    subject: str = ""

    @property
    def text(self) -> str:
        """The problem and the remedy."""
        return self.problem + self.remedy


def error(code: str, problem: str, remedy: str, subject: str = "") -> Finding:
    """A finding that prevents runs or the deployment."""
    return Finding(FindingSeverity.ERROR, code, problem, remedy, subject)


def remark(code: str, problem: str, remedy: str, subject: str = "") -> Finding:
    """A finding that does not prevent runs or the deployment."""
    return Finding(FindingSeverity.REMARK, code, problem, remedy, subject)


def is_fit(findings: Iterable[Finding]) -> bool:
    """Whether no finding is an error."""
    return all(finding.severity is not FindingSeverity.ERROR for finding in findings)


def refuse(findings: Iterable[Finding]) -> None:
    """:raises SchemaError: has the problems of all errors, and each remedy once."""
    errors = [finding for finding in findings if finding.severity is FindingSeverity.ERROR]
    if errors:
        remedies = dict.fromkeys(finding.remedy for finding in errors)
        raise SchemaError("".join([*(finding.problem for finding in errors), *remedies]))
