"""Kill parts of the installation at random moments, and compare the end state with that of an undisturbed run.

``python -m tests.chaos --seconds 600 --seed 7``; ``--trial 12`` repeats one trial; ``--batch BATCH-001 --kill backend`` (each any number of
times) runs only these. `docs/develop/chaos.md` says what is killed and compared.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.stack import DEMO_SETTINGS
from tests.chaos.airflow_parts import airflow_parts, parts_of
from tests.chaos.demo_installation import demo_installation
from tests.chaos.end_state import differences
from tests.chaos.kills import KILLED, NOTHING, Kill, plan_kill
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.trial import Result, Trials

_MEMORY = Path("/dev/shm")  # noqa: S108  # the folder in it is the process's own

_SAME, _DIFFERENT, _MISSED = "same", "DIFFERENT", "missed"


@dataclass
class Chaos:
    """All trials of a seed. The undisturbed runs are made when they are first needed."""

    trials: Trials
    seed: int
    references: dict[str, Result] = field(default_factory=dict)
    # By scenario, what was killed, and outcome.
    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    different: list[int] = field(default_factory=list)

    def run(self, number: int) -> str:
        """Run one trial and print its line; returns its outcome."""
        scenario, what = self._pair(number)
        reference = self._reference(scenario)
        kill = plan_kill(what, reference.run.seconds, random.Random(f"{self.seed} {number}"))  # noqa: S311
        revived = len(self.trials.revived)
        result = self.trials.run(scenario, kill, reference.run)
        found = self._compare(reference, result)
        outcome = _DIFFERENT if found else _MISSED if result.hit.startswith("missed") else _SAME
        self.outcomes[scenario.name, what, outcome] += 1
        self._print(number, scenario, kill, result, outcome)
        for line in (*found, *(f"ended by itself: {part}" for part in self.trials.revived[revived:])):
            print(f"      {line}", flush=True)
        if found:
            self.different.append(number)
        return outcome

    def is_chosen(self, number: int, batches: Collection[str], kills: Collection[str]) -> bool:
        """Whether the trial is about one of these batches and kills; none means all."""
        scenario, what = self._pair(number)
        return (not batches or scenario.name in batches) and (not kills or what in kills)

    def summary(self) -> str:
        """A line for each pair of a batch and what was killed, with how the trials ended."""
        names = (_SAME, _DIFFERENT, _MISSED)
        lines = [f"{'batch':<24}{'killed':<12}" + "".join(f"{name:>11}" for name in names)]
        for scenario, what in sorted({pair[:2] for pair in self.outcomes}):
            counts = [self.outcomes[scenario, what, name] for name in names]
            lines.append(f"{scenario:<24}{what:<12}" + "".join(f"{count:>11}" for count in counts))
        lines += [f"repeat a trial: make chaos SEED={self.seed} TRIAL={number}" for number in self.different]
        return "\n".join(lines)

    def _pair(self, number: int) -> tuple[Scenario, str]:
        """All scenarios in turn; in each turn another part is killed. Then again, at other moments."""
        turn, place = divmod(number, len(SCENARIOS))
        scenario = random.Random(f"{self.seed} order {turn}").sample(SCENARIOS, len(SCENARIOS))[place]  # noqa: S311
        kinds = random.Random(f"{self.seed} {scenario.name}").sample(KILLED, len(KILLED))  # noqa: S311
        return scenario, kinds[turn % len(kinds)]

    def _reference(self, scenario: Scenario) -> Result:
        if scenario.name not in self.references:
            self.references[scenario.name] = result = self.trials.run(scenario)
            print(f"      reference {scenario.name}: {result.run.state}, {result.seconds:.0f} s", flush=True)
            for line in result.end_state.left:
                print(f"      left behind without a kill: {line}", flush=True)
        return self.references[scenario.name]

    @staticmethod
    def _compare(reference: Result, result: Result) -> list[str]:
        run = result.run
        found = []
        if run.tasks != reference.run.tasks:
            states = sorted(
                f"{task}[{index}] {state}"
                for (task, index), state in run.tasks.items()
                if reference.run.tasks.get((task, index)) != state
            )
            found.append(f"tasks after {run.clears} clears: {', '.join(states[:6])}")
        more_failures = max(0, run.failures - reference.run.failures)
        return found + differences(reference.end_state, result.end_state, more_failures=more_failures)

    @staticmethod
    def _print(number: int, scenario: Scenario, kill: Kill, result: Result, outcome: str) -> None:
        moment = "" if kill.what == NOTHING else f" at {kill.moment}: {result.hit}"
        clears = f", cleared {result.run.clears}x" if result.run.clears else ""
        print(
            f"{number:>4}  {outcome:<9}  {scenario.name}: {kill.what}{moment}{clears}, {result.seconds:.0f} s",
            flush=True,
        )


def exit_code(outcomes: Iterable[tuple[str, ...]]) -> int:
    """1 if a trial has ended differently, or if none was compared: kills that have all missed show nothing.

    ``outcomes`` end with what was killed, and the outcome. Beside kills, the trials that kill nothing show nothing either.
    """
    controls, kills = set[str](), set[str]()
    for *_, what, outcome in outcomes:
        (controls if what == NOTHING else kills).add(outcome)
    return 0 if _SAME in (kills or controls) and _DIFFERENT not in kills | controls else 1


@contextmanager
def _folder() -> Iterator[Path]:
    """In memory where that is possible, because the databases are copied for each trial."""
    root = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    folder = root / f"skill-report-chaos-{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o755)  # root starts the servers as another user
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Returns the exit code of the program."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="start no trial after this time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trial", type=int, help="run only this one")
    parser.add_argument("--batch", action="append", default=[], choices=[each.name for each in SCENARIOS])
    parser.add_argument("--kill", action="append", default=[], choices=KILLED)
    arguments = parser.parse_args()
    # For this process; Airflow's processes get the variable from the environment of the stack.
    os.environ[SETTINGS_VARIABLE] = str(DEMO_SETTINGS)
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGTERM, _end)
    with (
        _folder() as folder,
        demo_installation(folder) as installation,
        airflow_parts(parts_of(installation)) as airflow,
    ):
        chaos = Chaos(Trials(installation, airflow), arguments.seed)
        print(f"seed {arguments.seed}", flush=True)
        numbers = iter(range(10**9)) if arguments.trial is None else iter([arguments.trial])
        end = time.monotonic() + arguments.seconds
        try:
            for number in numbers:
                if time.monotonic() > end and arguments.trial is None:
                    break
                if arguments.trial is not None or chaos.is_chosen(number, arguments.batch, arguments.kill):
                    chaos.run(number)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        print(chaos.summary(), flush=True)
    return exit_code(chaos.outcomes)


if __name__ == "__main__":
    sys.exit(main())
