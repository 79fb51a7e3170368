"""The runbook of a batch, read from its DAG's documentation."""

from __future__ import annotations

import pytest

from skill_batch.board.runbook import Step, parse_steps
from include.skillreport.core.catalog import RUN_SPECS, RunSpec
from include.skillreport.core.failure_kinds import own_kinds, runbook_of


@pytest.mark.parametrize("spec", RUN_SPECS.values(), ids=lambda spec: spec.id)
def test_every_runbook_says_whether_it_can_wait_and_what_to_do(spec: RunSpec) -> None:
    waits, where, actions = parse_steps(f"### 障害対応\n{runbook_of(spec)}")
    assert (waits.title, where.title, actions.title) == ("朝まで待てるか", "どこを見るか", "対処")
    assert waits.text == spec.can_wait
    assert spec.mapped_task in where.text
    assert len(actions.cases) == len(own_kinds(spec)) + 1


def test_a_point_has_its_cases_and_no_marks() -> None:
    text = """
### 障害対応
* **どこを見るか**: 赤い `bill_tenant` の
  インスタンス名。
    * *締まっていない* — 挙げられた日で実行し、
      `bill_tenant` を消去。
    * *料金表が見本* — 設定を直す。
* **再実行**: 失敗した分だけ。

### ほか
* **無関係**: x
"""
    assert parse_steps(text) == (
        Step(
            "どこを見るか",
            "赤い bill_tenant の インスタンス名。",
            ("締まっていない — 挙げられた日で実行し、 bill_tenant を消去。", "料金表が見本 — 設定を直す。"),
        ),
        Step("再実行", "失敗した分だけ。"),
    )
    assert parse_steps("") == ()
