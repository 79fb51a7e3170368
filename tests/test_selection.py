"""The order of the tests gives each worker of xdist quick tests first, and the Makefile names the folders of rules."""

from __future__ import annotations

import re

import pytest

from tests.airflow_installation import PROJECT
from tests.selection import RULES, in_order


def test_the_makefile_has_the_folders_of_rules() -> None:
    (folders,) = re.findall(r"(?m)^RULES := (.*)$", (PROJECT / "Makefile").read_text(encoding="utf-8"))
    assert tuple(folders.split()) == RULES


@pytest.mark.parametrize("workers", ["1", "2", "3", "4"])
def test_each_worker_has_its_share_of_quick_tests_before_slow_ones(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", workers)
    items = pytester.getitems(
        "import pytest\n"
        "@pytest.mark.slow('kills')\n@pytest.mark.parametrize('a', range(7))\ndef test_slow(a): ...\n"
        "@pytest.mark.parametrize('a', range(23))\ndef test_quick(a): ...\n"
        "@pytest.mark.exclusive\ndef test_exclusive(): ...\n"
    )

    ordered = in_order(list(items))

    assert sorted(ordered, key=items.index) == items
    assert ordered[0].name == "test_exclusive"
    count, left, shares = int(workers), [item.name.startswith("test_slow") for item in ordered], []
    for worker in range(count, 0, -1):
        # As xdist deals them out.
        share, left = left[: len(left) // worker], left[len(left) // worker :]
        assert share == sorted(share)
        shares.append(share.count(False))
    assert max(shares) - min(shares) <= 1
