"""The line of what runs now in ``make demo``: on a terminal only."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

PROGRAM = """
import sys
from local_stack.demo.clock import Clock
with Clock() as clock, clock.running("BATCH-001 backup"), clock.running("[bold]"):
    print("a step has ended", flush=True)
    sys.stdin.readline()
"""


def test_a_terminal_shows_each_running_step_with_its_time() -> None:
    ours, terminal = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=terminal,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(terminal)
    shown = b""
    # Codes of colours and blanks stand between the name and the time.
    while not re.search(
        rb"a step has ended.*BATCH-001 backup \S*0:00:0\d.*\[bold\] +\S*0:00:0\d", shown, re.DOTALL
    ):
        shown += os.read(ours, 4096)
    program.communicate(b"\n")
    os.close(ours)

    assert program.returncode == 0


def test_a_pipe_shows_ended_steps_only() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], input=b"\n", capture_output=True, check=True)
    assert ended.stdout == b"a step has ended\n"
