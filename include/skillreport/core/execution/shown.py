"""Check that a run works on what its user was shown: when it is opened, and when its work begins (``Batch.changed``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from include.skillreport.core.database import Statements
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Batch, Request, Run, Work

_SQL = Statements(Path(__file__).parent)


def options_with_shown(batch: Batch, asked: Request, run_date: date) -> dict[str, Any]:
    """The batch's options, with what the user was shown. :raises ParameterError: the run would work on something else."""
    options = batch.options(asked)
    shown = asked.values.get(SHOWN)
    if not shown:
        return options
    options = {**options, SHOWN: list(shown)}
    run = Run("", asked.business_date, run_date, options=options)
    changed = batch.changed(Work(run, asked.platform, asked.tenant_ids))
    if changed:
        raise ParameterError("".join(changed.values()))
    return options


def refused_tenants(batch: Batch, work: Work) -> Mapping[str, str]:
    """The sentences about tenants whose items differ from what the user was shown, in the transaction of the work.

    An attempt that has committed a tenant's work may have changed these items, so the tenant is not checked again.
    """
    if SHOWN not in work.run.options:
        return {}
    about = {"execution_id": work.run.execution_id, "tenant_ids": list(work.tenant_ids)}
    unworked = _SQL.column(work.connection, "unworked_tenants", **about)
    return batch.changed(replace(work, tenant_ids=unworked), again=True) if unworked else {}
