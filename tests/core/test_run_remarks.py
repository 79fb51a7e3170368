"""When operators hear of a step that could not do its work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.skillreport.core.execution.batch import RunRemark
from include.skillreport.core.execution.run_remarks import EarlierRemark, is_reported

NOW = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)

WORKS = RunRemark({"mails": 1})
REFUSED = RunRemark(problem="ログインが拒否されました")
UNVERIFIED = RunRemark(problem="中身を照合していません", in_each_run=True)
UNANSWERED = RunRemark(problem="応答がありません", may_pass=True)


def hours_ago(*hours: int, reported: int | None = None, fine: int | None = None) -> list[EarlierRemark]:
    """Earlier runs with a problem, except ``fine``."""
    return [EarlierRemark(NOW - timedelta(hours=each), each != fine, each == reported) for each in hours]


@pytest.mark.parametrize(
    ("remark", "earlier", "expected"),
    [
        (WORKS, [], False),
        (REFUSED, [], True),
        (REFUSED, hours_ago(1, 2, reported=2), False),
        (REFUSED, hours_ago(1, 23, 24, reported=24), True),
        # It worked in between, so this is another problem.
        (REFUSED, hours_ago(1, 2, 3, reported=3, fine=2), True),
        (UNVERIFIED, hours_ago(1, 23, reported=1), True),
        (UNANSWERED, [], False),
        (UNANSWERED, hours_ago(1, 2), False),
        (UNANSWERED, hours_ago(1, 2, 3), True),
        (UNANSWERED, hours_ago(1, 2, 3, 4, fine=2), False),
        (UNANSWERED, hours_ago(1, 2, 3, 4, reported=1), False),
    ],
)
def test_a_problem_that_needs_an_operator_is_reported_once_a_day(
    remark: RunRemark, earlier: list[EarlierRemark], expected: bool
) -> None:
    assert is_reported(remark, earlier, NOW) is expected
