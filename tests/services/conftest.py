"""Our clients against programs that others wrote. ``make test-services`` runs all, and says at its end what it did not run."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of each file, because a file is about one kind of service."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            counts[report.nodeid.partition("::")[0]][outcome] += 1
    here = str(Path(__file__).parent.relative_to(terminalreporter.config.rootpath))
    for name in sorted(name for name in counts if name.startswith(here)):
        found = ", ".join(f"{number} {outcome}" for outcome, number in counts[name].items())
        terminalreporter.write_line(f"{name}: {found}")
