"""The link from each task in Airflow's UI to its run on the operators' board."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from typing_extensions import override

from skill_batch.notifiers.run_links import board_path

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class BoardLink(BaseOperatorLink):
    """「ボードで見る」. It is global, so mapped and waiting tasks have it too, even before they start."""

    name = "ボードで見る"

    @override
    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """A link relative to the base of Airflow's UI, which may have a path. Empty for other teams' DAGs: the UI then shows no link."""
        return board_path(ti_key.dag_id, ti_key.run_id) if ti_key.dag_id in _dag_ids() else ""


@cache
def _dag_ids() -> frozenset[str]:
    from include.skillreport.core.operation_catalog import specs_by_dag

    return frozenset(specs_by_dag())
