"""What the answers of services mean for the outcomes of tenants, above all those of the installation's mail server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from include.skillreport.core.execution.batch import UnitFailure, UnitResult
from include.skillreport.messaging.channels.channel import ChannelFinding
from include.skillreport.messaging.outcome import ErrorClass, Outcome


def is_broken(finding: ChannelFinding) -> bool:
    """True if messages fail until a user fixes the setting. Otherwise the service did not answer."""
    error = finding.error
    return error.error_class is ErrorClass.ACCESS or (
        error.outcome is Outcome.PERMANENT and error.error_class is not ErrorClass.SERVICE
    )


def mail_failure(tenant_id: str, finding: ChannelFinding) -> UnitFailure:
    """The failure of a tenant without a mail server of its own."""
    return UnitFailure(
        tenant_id,
        "MAIL_SERVER",
        f"メールサーバーを使えません: {finding.error.meaning}。Airflow の接続 'skill_batch_smtp' を直してください。"
        "それまでメールは送信待ちになります。",
        recoverable=not is_broken(finding),
    )


def with_mail_warnings(
    outcome: UnitResult | UnitFailure, mail: Sequence[ChannelFinding]
) -> UnitResult | UnitFailure:
    """The outcome with the mail server's warnings, which the digest reads from all shards."""
    codes = [each.error.code for each in mail if each.is_warning]
    if not codes or isinstance(outcome, UnitFailure):
        return outcome
    return replace(outcome, details=outcome.details | {"mailWarnings": codes})
