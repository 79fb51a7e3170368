"""A checkout on a machine of the test's own: the files that the environment needs, and stand-ins for interpreters on the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from tests.airflow_installation import PROJECT
from tests.waiting import LIMIT_SECONDS

# A stand-in for python3. It runs scripts with the tests' own Python, and its environments hold programs that only note their arguments.
# The environment's Python runs the code of `-c` with the stand-in.
INTERPRETER = """\
#!{python}
import importlib.util, os, pathlib, runpy, shutil, sys

sys.version_info = {version!r}
sys.executable = __file__
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in {missing!r} else find_spec(name)
if sys.argv[1:3] == ["-m", "venv"]:
    binaries = pathlib.Path(sys.argv[-1], "bin")
    if binaries.parent.is_symlink():
        sys.exit("Error: Unable to create directory")
    shutil.rmtree(binaries.parent, ignore_errors=True)  # --clear
    binaries.mkdir(parents=True)
    for name in {names!r}:
        program = binaries / name
        program.write_text({program!r})
        program.chmod(0o755)
elif sys.argv[1] == "-c":
    code = sys.argv[2]
    del sys.argv[1:3]
    exec(code)
else:
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""

PROGRAM = """\
#!/bin/sh
if [ "$1" = -c ]; then exec {interpreter} "$@"; fi
echo "$0 $*" >> ../calls
{then}
"""


@dataclass
class Checkout:
    """The files of the project that the recipe needs, and a PATH with only a stand-in for Python."""

    project: Path
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        self.path = self.project.parent / "bin"
        self.path.mkdir()
        (self.project / "local_stack").mkdir(parents=True)
        for name in ("Makefile", "pyproject.toml", "requirements.lock", "local_stack/bootstrap.py"):
            shutil.copy(PROJECT / name, self.project / name)

    def has_python(
        self,
        name: str = "python3",
        *,
        version: tuple[object, ...] = (3, 12, 1, "final", 0),
        missing: tuple[str, ...] = (),
        then: str = "",
    ) -> None:
        """Put an interpreter on the PATH. ``then`` is what pip and uv do after they have noted their arguments."""
        interpreter = self.path / name
        program = PROGRAM.format(interpreter=interpreter, then=then)
        names = sorted(
            set(re.findall(r"\$\(BIN\)/([\w-]+)", (PROJECT / "Makefile").read_text(encoding="utf-8")))
        )
        text = INTERPRETER.format(
            python=sys.executable, version=version, missing=missing, names=names, program=program
        )
        interpreter.write_text(textwrap.dedent(text))
        interpreter.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        make = shutil.which("make")
        assert make
        return subprocess.run(
            [make, *arguments],
            cwd=self.project,
            env={"PATH": str(self.path)},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    @property
    def environment(self) -> Path:
        return self.project / ".venv"

    @property
    def calls(self) -> list[str]:
        return (self.project.parent / "calls").read_text().splitlines()
