"""The result of a closed run, for the operators' HTTP channel. It is no alert."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunReport:
    """One closing of a run. ``status`` is ``completed``, ``partial`` or ``failed``; ``seconds`` is the duration.

    ``business_date`` (Asia/Tokyo) and ``closed_at`` are in ISO 8601. ``attempt`` is the number of clears of the run. ``link`` is the
    run in Airflow's UI, ``board_link`` the run on the operators' board.
    """

    execution_id: str
    batch_id: str
    batch_name: str
    dag_id: str
    run_id: str
    attempt: int
    status: str
    business_date: str
    total_tenants: int
    success_count: int
    error_count: int
    records: int
    seconds: float
    closed_at: str
    link: str
    board_link: str
    severity: str = field(default="INFO", init=False)

    @property
    def title(self) -> str:
        """One line about the result."""
        return f"バッチ実行結果: {self.batch_id} {self.status}（{self.total_tenants} 件中 {self.success_count} 件成功）"

    @property
    def key(self) -> str:
        """One key per closing. A cleared run closes again with the next attempt."""
        return f"result:{self.dag_id}:{self.run_id}:{self.batch_id}:{self.attempt}"

    def as_json(self) -> dict[str, Any]:
        """The report as JSON for the table of alerts; ``from_json`` reads it."""
        values = asdict(self)
        del values["severity"]
        return {"result": values}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RunReport:
        """The report from ``as_json``."""
        return cls(**value["result"])
