"""One try and two retries, after 2 s and after 4 s, for recoverable errors only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from skill_batch.retry_policy import RecoverableErrorsOnly
from include.skillreport.core.errors import DatabaseUnavailableError, ParameterError
from include.skillreport.core.execution.batch import UnitFailure
from include.skillreport.core.execution.shard_work import UnitsFailedError


@pytest.mark.parametrize(
    ("try_number", "seconds"),
    [(1, 2), (2, 4), pytest.param(4, 2, id="first try after the operator cleared the task")],
)
def test_the_pause_doubles_with_each_try(try_number: int, seconds: int) -> None:
    decision = RecoverableErrorsOnly().evaluate(DatabaseUnavailableError("down"), try_number, max_tries=2)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    assert timedelta(seconds=seconds) <= decision.retry_delay <= timedelta(seconds=seconds * 1.25)


@pytest.mark.parametrize(("try_number", "seconds"), [(2, 2), (3, 4)])
def test_the_pauses_begin_anew_after_a_clear(try_number: int, seconds: int) -> None:
    # Cleared after one try: Airflow then sets max_tries to that try and the task's two retries.
    decision = RecoverableErrorsOnly().evaluate(DatabaseUnavailableError("down"), try_number, max_tries=3)
    assert decision.retry_delay is not None
    assert timedelta(seconds=seconds) <= decision.retry_delay <= timedelta(seconds=seconds * 1.25)


def test_shards_that_failed_together_do_not_come_back_together() -> None:
    decisions = [RecoverableErrorsOnly().evaluate(TimeoutError(), 1, max_tries=2) for _ in range(20)]
    assert len({decision.retry_delay for decision in decisions}) > 1


@pytest.mark.parametrize("error", [ParameterError("wrong"), KeyError("defect"), PermissionError("disk")])
def test_a_permanent_error_fails_at_once(error: Exception) -> None:
    assert RecoverableErrorsOnly().evaluate(error, 1, max_tries=2).action is RetryAction.FAIL


@pytest.mark.parametrize(
    ("status_code", "action"),
    [(None, RetryAction.RETRY), (500, RetryAction.RETRY), (422, RetryAction.FAIL)],
)
def test_an_api_server_that_failed_or_did_not_answer_is_asked_again(
    status_code: int | None, action: RetryAction
) -> None:
    answer = ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status_code})
    decision = RecoverableErrorsOnly().evaluate(AirflowRuntimeError(answer), 1, max_tries=2)
    assert decision.action is action
    # Two of these are longer than an outage of a minute.
    assert decision.retry_delay is None or decision.retry_delay >= timedelta(seconds=30)


@pytest.mark.parametrize(("recoverable", "action"), [(True, RetryAction.RETRY), (False, RetryAction.FAIL)])
def test_a_shard_is_tried_again_if_that_helps_one_of_its_tenants(
    recoverable: bool, action: RetryAction
) -> None:
    failures = [
        UnitFailure("A", "22003", "overflow", False),
        UnitFailure("B", "40P01", "deadlock", recoverable),
    ]
    assert RecoverableErrorsOnly().evaluate(UnitsFailedError(failures), 1, max_tries=2).action is action
