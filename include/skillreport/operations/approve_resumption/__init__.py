"""Send or discard the messages that batches hold after a pause, as a user decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.core.execution.installation import Installation
    from include.skillreport.operations.approve_resumption.batch import ResumptionApproval


def create_batch(_: Installation) -> ResumptionApproval:
    """The approval. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.approve_resumption.batch import ResumptionApproval

    return ResumptionApproval()
