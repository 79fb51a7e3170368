"""The retries of a failed task (batch list, sections 5.2 and 6.2): after 2 s and 4 s, only for recoverable errors.

Without Airflow's API server, a task can do nothing and its attempts end at once, so they are further apart.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import RetryDecision, RetryPolicy
from typing_extensions import override

from skill_batch.lookup import is_outage

if TYPE_CHECKING:
    from airflow.sdk import Context

BASE_DELAY = timedelta(seconds=2)

# Also for killed workers, which may have lost the API server. The two retries outlast a minute without it.
OUTAGE_DELAY = timedelta(seconds=30)

# Adds up to 25 %, so that shards that fail together (for example in a database restart) do not retry together.
_JITTER = 0.25


class RecoverableErrorsOnly(RetryPolicy):
    """Retries recoverable errors with exponential backoff and jitter; fails at once on permanent errors.

    ``retries`` is the task's number of retries. A killed worker raises no exception; Airflow then retries after the
    task's ``retry_delay``, without this policy.
    """

    def __init__(self, retries: int = 2) -> None:
        self.retries = retries

    @override
    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide in the worker, which has the exception."""
        from include.skillreport.core.errors import is_recoverable, reason_of

        if not (is_recoverable(exception) or is_outage(exception)):
            return RetryDecision.fail(reason=f"not recoverable: {reason_of(exception)}")
        # `clear` raises max_tries, so this attempt is number try_number - (max_tries - retries).
        step = (try_number - 1 - (max_tries - self.retries)) % (self.retries + 1)
        delay = OUTAGE_DELAY if is_outage(exception) else BASE_DELAY * 2**step
        delay *= 1 + random.uniform(0, _JITTER)
        return RetryDecision.retry(delay=delay, reason=f"recoverable: {reason_of(exception)}")

    def serialize(self) -> dict[str, Any]:
        """The setting of the policy."""
        return {"retries": self.retries}
