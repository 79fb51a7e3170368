"""The announcement of a complete run: other teams' DAGs can read its results.

The execution log decides, not Airflow, because it records earlier announcements and incomplete runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.skillreport.core.database import Statements
from include.skillreport.core.execution.batch import Batch, Run
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.run_spec import BatchSpec

_SQL = Statements(Path(__file__).parent)


@dataclass(frozen=True)
class Announcement:
    """The event of each asset that a batch produces: the key of its day or month, and facts about the run (JSON values).

    ``repeated`` in the facts: an earlier announcement of this key may be outdated.
    """

    partition_key: str
    facts: dict[str, Any]


def announcement_of(
    spec: BatchSpec, batch: Batch, run: Run, installation: Installation
) -> Announcement | None:
    """Record and return the announcement of a run. None: the run is not complete or has produced nothing.

    A run for named tenants is never announced, because other tenants may be missing.
    """
    if not batch.announces(run):
        return None
    with installation.platform(spec.time_limit) as platform:
        row = _SQL.execute(platform, "announce", execution_id=run.execution_id).fetchone()
    if row is None:
        return None
    tenants, version, records, is_repeated = row
    facts = {
        "repeated": is_repeated,
        "tenants": tenants,
        "records": records,
        "execution_id": run.execution_id,
        "version": version,
    }
    return Announcement(spec.partition_key(run.business_date), facts)
