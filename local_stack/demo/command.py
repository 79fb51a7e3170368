"""The command ``make demo``: prepare, run the batches side by side, print the summary, and write the page."""

from __future__ import annotations

import logging
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from include.skillreport.core.errors import BatchError
from local_stack.demo.clock import Clock
from local_stack.demo.details import read_result
from local_stack.demo.page import write_page
from local_stack.demo.processes import Command, Worker, WorkerEndedError, command_of
from local_stack.demo.runs import DEMO_RUNS, DemoRun, ready_runs
from local_stack.demo.summary import EndedRun, progress_line, step_line, summary
from local_stack.notifications import make_due_on_demo_date
from local_stack.ports import require_free
from local_stack.stack import LocalStack

# Two cores are enough for two runs and the database.
_WORKERS = 2
_SHOWN_LOG_LINES = 40

# As shells do it: 128 and the number of SIGINT.
_EXIT_CODE_OF_INTERRUPT = 130

_WHAT_TO_OPEN = """
開いて見るもの:
  {page}
             できたもの: ボード、請求書、レポート、アラート、メール、ファイルの一覧
  make up    Airflow の画面とバッチ運用ボード（実行、消去、再実行）
  eval "$(make -s env)"; airflow dags test batch_018_01_tenant_usage 2026-11-01
             同じシェルでバッチを 1 つ実行"""


class UnexpectedRunError(Exception):
    """A run did not end as expected. The message names its log."""


@dataclass
class Demo:
    """One demo. ``ended`` are the runs that have ended, in the order of their ends."""

    stack: LocalStack
    ended: list[EndedRun] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def folder(self) -> Path:
        """The page, the details and the logs."""
        return self.stack.directory / "demo"

    def log(self, name: str) -> Path:
        """The log of a run or of a step."""
        return self.folder / "logs" / f"{name}.log"

    def run(self) -> int:
        """The whole demo; returns the exit code.

        :raises BatchError: a port is in use. The results of the last demo stay.
        """
        require_free(self.stack.ports.of_stand_ins)
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "logs").mkdir(parents=True)
        # The batches' own warnings, for example about users that nobody knows.
        logging.basicConfig(filename=self.log("preparation"), level=logging.INFO)
        # The threads end when the processes have ended.
        with ThreadPoolExecutor() as threads, self.clock, ExitStack() as processes:
            workers = self._prepare(threads, processes)
            with self.stack.stand_ins():
                command = processes.enter_context(Command(self.stack.environment()))
                self._run_all(threads, workers, command)
            with self._step("ページ"):
                page = self._write_page(workers[0])
        runs = sorted(self.ended, key=lambda each: DEMO_RUNS.index(each.run))
        print(f"\n{summary(runs)}")
        print(_WHAT_TO_OPEN.format(page=page.as_uri()))
        return 0

    def _prepare(self, threads: ThreadPoolExecutor, processes: ExitStack) -> list[Worker]:
        """The database, and side by side the demo data and Airflow's metadata. Returns the workers."""

        def start(number: int) -> Worker:
            return processes.enter_context(Worker(self.stack.environment(), self.log(f"worker-{number}")))

        def prepare_airflow() -> None:
            with self._step("Airflow のメタデータ、接続、DAG"):
                self.stack.prepare_airflow(lambda commands: self._run_commands(first, commands))

        first = start(1)
        with self._step("データベースの起動"):
            self.stack.start_database()
        processes.enter_context(self.stack.in_use())
        airflow = threads.submit(prepare_airflow)
        with self._step("スキーマと 30 日分のデモのデータ"):
            self.stack.deploy()
        others = [start(number) for number in range(2, _WORKERS + 1)]
        airflow.result()
        return [first, *others]

    def _run_commands(self, worker: Worker, commands: Sequence[Sequence[str]]) -> None:
        # Stores the DAGs, so that no two runs do it at the same time.
        commands = [*commands, ["dags", "reserialize"]]
        if code := worker.run_commands(commands, self.log("airflow-commands")):
            self._show_end(self.log("airflow-commands"))
            raise BatchError(f"Airflow's commands ended with exit code {code}.")

    def _run_all(self, threads: ThreadPoolExecutor, workers: Sequence[Worker], command: Command) -> None:
        """Start each run as soon as what it needs has ended and a worker is free.

        :raises RunFailedError: a run did not end as expected.
        """
        free = list(workers)
        waiting = list(DEMO_RUNS)
        running: dict[Future[EndedRun], tuple[DemoRun, Worker | None]] = {}
        while waiting or running:
            for run in ready_runs(waiting, {each.run for each in self.ended}):
                worker = None if run.by_command else free.pop(0) if free else None
                if worker or run.by_command:
                    if run.sends:
                        self._make_messages_due()
                    program = (worker or command).run_dag
                    running[threads.submit(self._run_one, run, program)] = (run, worker)
                    waiting.remove(run)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                _, worker = running.pop(future)
                if worker:
                    free.append(worker)
                self._finish(future.result())
        # For runs on the demo's date by hand.
        self._make_messages_due()

    def _run_one(self, run: DemoRun, program: Callable[[DemoRun, Path], int]) -> EndedRun:
        with self.stack.database() as connection:
            (started_at,) = connection.execute("SELECT clock_timestamp()").fetchone() or ()
        with self.clock.running(run.title) as begin:
            code = program(run, self.log(run.name))
            seconds = time.monotonic() - begin
        with self.stack.database() as connection:
            return EndedRun(run, code, seconds, read_result(connection, run.spec, since=started_at))

    def _make_messages_due(self) -> None:
        with self.stack.database() as connection:
            make_due_on_demo_date(connection)

    def _finish(self, ended: EndedRun) -> None:
        print(progress_line(ended), flush=True)
        if not ended.ended_well:
            log = self.log(ended.run.name)
            self._show_end(log)
            raise UnexpectedRunError(
                f"`{shlex.join(command_of(ended.run))}` ended with exit code {ended.exit_code}; its log is {log}"
            )
        assert ended.result
        (self.folder / f"{ended.run.name}.txt").write_text(ended.result.text() + "\n", encoding="utf-8")
        self.ended.append(ended)

    def _write_page(self, worker: Worker) -> Path:
        board = self.folder / "logs" / "board.html"
        if worker.write_board(board, self.log("board")):
            self._show_end(self.log("board"))
            raise BatchError("The operators' board cannot be shown.")
        return write_page(self.folder, self.stack.storage, self.stack.arrived, board, self.ended)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        with self.clock.running(name) as begin:
            yield
        print(step_line(name, time.monotonic() - begin), flush=True)

    @staticmethod
    def _show_end(log: Path) -> None:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        sys.stderr.write("".join(lines[-_SHOWN_LOG_LINES:]))


@contextmanager
def _interrupted_by(*signals: signal.Signals) -> Iterator[None]:
    """These signals act like Ctrl-C, so that the workers end with the demo."""

    def interrupt(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # An ignored signal stays ignored: nohup ignores SIGHUP.
    handlers = {each: signal.getsignal(each) for each in signals}
    handlers = {each: handler for each, handler in handlers.items() if handler != signal.SIG_IGN}
    for each in handlers:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def demo(stack: LocalStack) -> int:
    """Run the batches on the demo data and show what came out."""
    stack.directory.mkdir(exist_ok=True)
    try:
        with _interrupted_by(signal.SIGTERM, signal.SIGHUP):
            return Demo(stack).run()
    except KeyboardInterrupt:
        print("» The demo was interrupted. Its processes have ended.", file=sys.stderr)
        return _EXIT_CODE_OF_INTERRUPT
    except (UnexpectedRunError, WorkerEndedError) as error:
        print(f"» {error}", file=sys.stderr)
        return 1
