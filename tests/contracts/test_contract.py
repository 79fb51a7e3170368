"""The contract: what every batch and every operation promises, each promise by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatch

import pytest
from _pytest.mark import ParameterSet

from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.operation_catalog import RUN_SPECS
from include.skillreport.core.run_plan import CLOSE_RUN, OPEN_RUN, REQUEST_APPROVAL
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.operations.forms import FORMS
from tests.contracts.case import UNTOUCHED, B, Case
from tests.contracts.cases import CASES
from tests.contracts.exceptions import EXCEPTIONS, Changes, Promise
from tests.contracts.runs import Finished, Trial, difference_of, rows_of_others, sizes, without
from tests.contracts.state import OF_RUNS, read_state

# Tenants A and B are worked on by one task instance.
TOGETHER = ExecutionSettings(max_mapped_tenants=1, shards=1, tenants_per_shard=2, seconds_per_shard=5)

# Steps that do no work of a person's operation, unless the batch finishes it.
REPEATED = (REQUEST_APPROVAL.id, CLOSE_RUN.id)


def _marked(case: Case, *marks: pytest.MarkDecorator) -> ParameterSet:
    return pytest.param(case, marks=[*marks, *([pytest.mark.long] if case.is_long else [])])


each_case = pytest.mark.parametrize("case", map(_marked, CASES), ids=str, scope="module")


def promised(promise: Promise) -> pytest.MarkDecorator:
    """Each case. One that has an exception from the promise must break it."""
    broken = {
        name: pytest.mark.xfail(reason=exception, strict=True)
        for name, exception in EXCEPTIONS[promise].items()
        if isinstance(exception, str)
    }
    cases = [_marked(case, *([broken[str(case)]] if str(case) in broken else [])) for case in CASES]
    return pytest.mark.parametrize("case", cases, ids=str, scope="module")


def changed_nevertheless(promise: Promise, case: Case) -> frozenset[str]:
    """What the case changes although it promises to change nothing."""
    exception = EXCEPTIONS[promise].get(str(case))
    return exception.names if isinstance(exception, Changes) else frozenset()


def test_everything_that_runs_has_a_case() -> None:
    forms = {form.spec.id: form for form in FORMS.values()}
    expected = {
        (spec_id, operation.name)
        for spec_id in RUN_SPECS
        for operation in (forms[spec_id].operations if spec_id in forms else ())
    } | {(spec_id, "") for spec_id in RUN_SPECS if spec_id not in forms}
    assert {(case.spec.id, case.name) for case in CASES} == expected
    assert {name for exceptions in EXCEPTIONS.values() for name in exceptions} <= set(map(str, CASES))


@promised(Promise.OTHERS)
def test_a_run_changes_what_it_says_and_no_other_tenant(case: Case, finished: Finished) -> None:
    before, after = finished.before, finished.after
    assert after.changed_since(before) == set(case.changes)
    changed = after.of_tenant(UNTOUCHED).changed_since(before.of_tenant(UNTOUCHED))
    assert changed == changed_nevertheless(Promise.OTHERS, case)


@promised(Promise.DRY)
def test_a_dry_run_writes_nothing(trial: Trial) -> None:
    before = read_state(trial.world)
    run = trial.run(parameters={"dry_run": True})
    assert not run.has_failed, run.kinds
    assert read_state(trial.world).changed_since(before) == set()


@promised(Promise.AGAIN)
def test_a_new_run_changes_nothing(case: Case, finished: Finished) -> None:
    again = finished.trial.run("again")
    assert case.person or not again.has_failed, again.kinds
    assert read_state(finished.trial.world).changed_since(finished.after) == changed_nevertheless(
        Promise.AGAIN, case
    )


@each_case
def test_each_figure_is_an_effect_or_a_state(case: Case, finished: Finished) -> None:
    batch = finished.run.batch()
    assert not (batch.effects | batch.counted) & batch.states
    declared = [*batch.effects, *batch.counted, *batch.states]
    figures = finished.trial.figures()
    assert [name for name in figures if not any(fnmatch(name, each) for each in declared)] == [], case


@promised(Promise.CLEAR)
def test_a_clear_of_any_step_changes_nothing(case: Case, finished: Finished) -> None:
    run = finished.run
    figures = finished.trial.figures()
    changed = set[str]()
    exception = EXCEPTIONS[Promise.CLEAR].get(str(case))
    may_fail = isinstance(exception, Changes) and exception.may_fail
    # From the last to the first: after a step that failed, those behind it do not run.
    for task in reversed(run.tasks):
        run.clear(task)
        is_refused = bool(case.person) and (task not in REPEATED or run.has(Batch.finish))
        assert may_fail or run.has_failed == is_refused, task
        if is_refused:
            # Airflow tells close_run which instances have failed.
            assert not run.alerts or run.kinds == ("operation_cleared",), task
            assert task in {*run.failed, *REPEATED}
        changed |= read_state(finished.trial.world).changed_since(finished.after)
        if not is_refused and not may_fail:
            assert _changed_figures(case, run.batch(), figures, finished.trial.figures()) == {}, task
    assert changed == changed_nevertheless(Promise.CLEAR, case)


@pytest.mark.slow("kills processes")
@promised(Promise.KILL)
def test_a_killed_run_ends_as_an_undisturbed_one(trial: Trial) -> None:
    acts = trial.acts()
    _kill(trial, acts, _ends(acts))


def test_a_tenant_of_every_batch_can_fail() -> None:
    cases = {
        str(case)
        for case in CASES
        if isinstance(case.spec, BatchSpec) and case.spec.per_tenant and not case.break_tenant
    }
    assert cases == EXCEPTIONS[Promise.BREAKABLE].keys()


@pytest.mark.parametrize("case", [_marked(case) for case in CASES if case.break_tenant], ids=str)
def test_a_tenant_that_fails_stops_no_other(case: Case, trial: Trial) -> None:
    trial.run(sharding=TOGETHER)
    expected = trial.end_state()
    trial.again()
    assert case.break_tenant is not None
    repair = case.break_tenant(trial.world)
    try:
        run = trial.run(sharding=TOGETHER)
        assert difference_of(rows_of_others(expected, B), rows_of_others(trial.end_state(), B)) == ""
    finally:
        repair()
    (alert,) = run.alerts
    assert [line for line in alert.tenants if B in line], alert.tenants
    if case.person or str(case) in EXCEPTIONS[Promise.REPAIRED]:
        of_b = {name: values[1:] for name, values in trial.form.items() if isinstance(values, list)}
        run = trial.run("again", parameters=of_b)
        assert not run.has_failed
        assert sizes(trial.end_state()) == sizes(expected)
    else:
        run.clear()
        # The failed attempt has read the broken row.
        uncompared = [*(OF_RUNS if str(case) in EXCEPTIONS[Promise.NEWEST] else ()), "batch.rows_scanned"]
        expected, found = (without(state, uncompared) for state in (expected, trial.end_state()))
        assert difference_of(expected, found) == ""


@pytest.mark.parametrize(
    "case", [_marked(case) for case in CASES if case.break_tenant and case.person], ids=str
)
def test_a_failed_operation_does_not_run_again_in_its_users_name(case: Case, trial: Trial) -> None:
    """Airflow's role User may delete task instances, queue a run again, and clear without the run."""
    assert case.break_tenant is not None
    repair = case.break_tenant(trial.world)
    run = trial.run(sharding=TOGETHER)
    repair()
    assert run.has_failed
    before = read_state(trial.world)
    for task in reversed(run.tasks):
        for again in (run.delete, run.clear_alone):
            again(task)
            assert run.has_failed, task
            assert read_state(trial.world).changed_since(before) == set(), task


@pytest.mark.long
@promised(Promise.ANYWHERE)
def test_a_run_that_is_killed_anywhere_ends_as_an_undisturbed_one(trial: Trial) -> None:
    acts = trial.acts()
    _kill(trial, acts, _edges(acts) if trial.case.is_long else range(len(acts)))


def _ends(acts: Sequence[str]) -> list[int]:
    """The first end of each step that has done something but to open the run: its work is committed, and is done again."""
    ends = [acts.index(act) for act in dict.fromkeys(acts) if act.startswith("end of ")]
    return [
        at for at in ends if not acts[at - 1].startswith("end of ") and acts[at] != f"end of {OPEN_RUN.id}"
    ]


def _edges(acts: Sequence[str]) -> list[int]:
    """The first and the last act of each row of acts on files, and all other acts."""
    is_file = [act.partition(" ")[0] not in ("commit", "connect", "end") for act in acts]
    beside = zip([False, *is_file], is_file, [*is_file[1:], False], strict=False)
    return [moment for moment, (before, this, after) in enumerate(beside) if not (before and this and after)]


def _kill(trial: Trial, acts: Sequence[str], moments: Iterable[int]) -> None:
    uncompared, figures = _uncompared(trial.case), trial.figures()
    expected = without(trial.end_later(), uncompared)
    first = acts.index("end of open_run") + 1 if str(trial.case) in EXCEPTIONS[Promise.OPEN] else 0
    for moment in (moment for moment in moments if moment >= first):
        trial.again()
        trial.killed(moment)
        changed = _changed_figures(trial.case, trial.batch(), figures, trial.figures())
        assert not changed, f"killed before act {moment} of {acts}: {changed}"
        difference = difference_of(expected, without(trial.end_later(), uncompared))
        assert not difference, f"killed before act {moment} of {acts}:\n{difference}"


def _changed_figures(
    case: Case, batch: Batch, before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, tuple[float, float | None]]:
    """The figures that a repetition has changed. An effect counts once; a state stays, unless it is what the run has changed itself."""
    own = changed_nevertheless(Promise.STATES, case) - batch.effects - batch.counted
    return {
        name: (number, after.get(name))
        for name, number in before.items()
        if name not in own and after.get(name) != number
    }


def _uncompared(case: Case) -> Collection[str]:
    return OF_RUNS if str(case) in EXCEPTIONS[Promise.COUNT] else ()
