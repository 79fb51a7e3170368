"""Apply contract changes that another user has approved."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.skillreport.billing.service import OffersBilling
    from include.skillreport.operations.approve_contracts.batch import ContractApproval


def create_batch(installation: OffersBilling) -> ContractApproval:
    """The approval with the billing of the installation. A task calls this; parsing a DAG file loads nothing."""
    from include.skillreport.operations.approve_contracts.batch import ContractApproval

    return ContractApproval(installation.billing().check_terms())
