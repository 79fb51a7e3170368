"""The order of the tests gives each worker of xdist quick tests first, and the Makefile names the folders of rules."""

from __future__ import annotations

import re

import pytest

from tests.airflow_installation import PROJECT
from tests.selection import RULES, in_order

# How many tests have which marker.
_TESTS = {"slow": 7, "rule": 23, "exclusive": 1}


def test_the_makefile_has_the_folders_of_rules() -> None:
    (folders,) = re.findall(r"(?m)^RULES := (.*)$", (PROJECT / "Makefile").read_text(encoding="utf-8"))
    assert tuple(folders.split()) == RULES


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_each_worker_has_its_share_of_quick_tests_before_slow_ones(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
    slow, quick, exclusive = (
        [_item(request, name, number) for number in range(count)] for name, count in _TESTS.items()
    )
    items = [*slow, *quick, *exclusive]

    ordered = in_order(list(items))

    assert sorted(ordered, key=items.index) == items
    assert ordered[0] in exclusive
    left, shares = [item in slow for item in ordered], []
    for worker in range(workers, 0, -1):
        # As xdist deals them out.
        share, left = left[: len(left) // worker], left[len(left) // worker :]
        assert share == sorted(share)
        shares.append(share.count(False))
    assert max(shares) - min(shares) <= 1


def _item(request: pytest.FixtureRequest, marker: str, number: int) -> pytest.Item:
    item = pytest.Function.from_parent(
        request.node.parent, name=f"test_{marker}_{number}", callobj=lambda: None
    )
    item.add_marker(marker)
    return item
