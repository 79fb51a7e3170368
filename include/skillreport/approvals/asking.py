"""Requests approval of the items that a batch holds. The batch does not wait, and does not fail if the request cannot be shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from include.skillreport.approvals.requests import (
    ApprovalRequest,
    ask,
    find_held,
    kind_of,
    supersede_older,
    withdraw,
)
from include.skillreport.core.execution.batch import Run, RunRemark
from include.skillreport.core.execution.installation import Installation
from include.skillreport.core.execution.run_remarks import record_remark
from include.skillreport.core.run_plan import REQUEST_APPROVAL
from include.skillreport.core.run_spec import OperationSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """The result of the batch's task. ``problem`` says in one sentence why users do not see the request."""

    request: ApprovalRequest
    items: int
    problem: str | None = None


def ask_for_approval(
    spec: OperationSpec, run: Run, installation: Installation, start: Callable[[ApprovalRequest], str | None]
) -> Asked | None:
    """Record a request for the items that the run holds, and start the run of ``spec`` that shows it. None: it holds nothing.

    A dry run creates no request. ``start`` returns why Airflow rejects the run, or None. An existing run counts as started.
    """
    if run.dry_run:
        return None
    with installation.platform(spec.time_limit) as platform:
        items = find_held(platform, kind_of(spec), run.business_date, execution_id=run.execution_id)
        if not items:
            return None
        request = ask(platform, spec, run.business_date, run.execution_id, items, installation.is_alive)
        # Another run, for an earlier day, may have requested the approval of the same items in the same state.
        problem = start(request) if request.asked_by == run.execution_id else None
        if problem:
            withdraw(platform, request)
        else:
            supersede_older(platform, request)
        asked = Asked(request, len(items), problem)
        record_remark(platform, run, REQUEST_APPROVAL.id, RunRemark(_details(asked)), installation.now())
    if problem:
        log.error("The request %s is not shown: %s", request.request_id, problem)
    else:
        log.info(
            "%d items wait for an answer in the run %s of %s", len(items), request.run_id, request.dag_id
        )
    return asked


def _details(asked: Asked) -> dict[str, Any]:
    details: dict[str, Any] = {
        "request": asked.request.request_id,
        "dag_id": asked.request.dag_id,
        "run_id": asked.request.run_id,
        "items": asked.items,
    }
    return details | ({"not_started": asked.problem} if asked.problem else {})
