"""The runbook of a batch, read from its DAG's documentation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from skill_batch.board.runbook import Step, parse_steps
from include.skillreport.core.catalog import BATCHES
from local_stack.stack import PROJECT

DAG_FILES = [next((PROJECT / "dags").glob(f"*/{spec.dag_id}.py")) for spec in BATCHES]


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_every_batch_states_waiting_places_to_look_and_rerun(file: Path) -> None:
    documentation = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    titles = [step.title for step in parse_steps(documentation or "")]
    assert {"朝まで待てるか", "どこを見るか", "再実行"} <= set(titles)


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
