"""Create the environment of the lock file: ``python local_stack/bootstrap.py .venv``. The Makefile runs it with the system's Python.

It needs only the standard library, and the syntax of Python 3.6, so that an old interpreter can report that it is too old.
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

STAMP = ".synced-with-lock"


class BootstrapError(Exception):
    """The environment cannot be created. The message is one sentence with the action."""


def supported_versions(pyproject: str) -> "tuple[tuple[int, int], tuple[int, int]]":
    """The first supported version of Python and the first that is not, from ``requires-python``."""
    text = Path(pyproject).read_text(encoding="utf-8")
    found = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', text, flags=re.MULTILINE)
    if found is None:
        raise BootstrapError(pyproject + " does not say which versions of Python are supported.")
    return (3, int(found.group(1))), (3, int(found.group(2)))


def check_interpreter(first: "tuple[int, int]", end: "tuple[int, int]") -> None:
    """:raises BootstrapError: this interpreter cannot create the environment."""
    names = ["python3." + str(minor) for minor in range(end[1] - 1, first[1] - 1, -1)]
    other = next(filter(shutil.which, names), "python3.12")
    choose = "name another interpreter, for example: make PYTHON=" + other + " demo"
    if not first <= sys.version_info[:2] < end:
        raise BootstrapError(
            "Python 3.{} to 3.{} is needed, but {} is Python {}.{}.{}: install one of them, or {}".format(
                first[1], end[1] - 1, sys.executable, *sys.version_info[:3], choose
            )
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise BootstrapError(
            "{} has no module {}: install it (on Debian and Ubuntu: apt-get install python3-venv), or {}".format(
                sys.executable, " and no module ".join(missing), choose
            )
        )


def pinned_uv(lock: str) -> str:
    """The lock file's entry for uv, with its hashes."""
    text = Path(lock).read_text(encoding="utf-8")
    found = re.search(r"^uv==.*(?:\n    --hash=.*)+", text, flags=re.MULTILINE)
    if found is None:
        raise BootstrapError(lock + " does not pin uv.")
    return found.group() + "\n"


def make_environment(folder: Path, lock: str) -> None:
    """Create ``folder`` from scratch. pip installs uv at the pinned version, checked by its hash. uv installs the rest."""
    uv_lock = folder / "uv.lock"
    run([sys.executable, "-m", "venv", "--clear", str(folder)])
    uv_lock.write_text(pinned_uv(lock), encoding="utf-8")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--no-deps", "--require-hashes", "-r", str(uv_lock)])
    # Use the certificates of the system, like pip, because company networks have their own certificate authority.
    uv = [str(folder / "bin" / "uv"), "--system-certs", "pip", "sync", "--quiet"]
    run([*uv, "--compile-bytecode", "--require-hashes", lock], VIRTUAL_ENV=str(folder.resolve()))
    (folder / STAMP).touch()


def run(command: "list[str]", **variables: str) -> None:
    """:raises BootstrapError: the command failed. Standard error contains its reason."""
    if subprocess.call(command, env=dict(os.environ, **variables)):
        raise BootstrapError("The environment could not be made: `" + " ".join(command) + "` failed.")


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def main(folder: str, lock: str = "requirements.lock", pyproject: str = "pyproject.toml") -> int:
    """The exit code. After a failure ``folder`` does not exist, so that no incomplete environment is used."""
    try:
        check_interpreter(*supported_versions(pyproject))
    except BootstrapError as error:
        print(error, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, stop)
    if Path(folder).is_symlink():  # venv refuses a link
        folder = os.path.realpath(folder)
    version = ".".join(map(str, sys.version_info[:3]))
    print("» environment on Python " + version + " (" + sys.executable + ")", file=sys.stderr, flush=True)
    try:
        make_environment(Path(folder), lock)
        return 0
    except BootstrapError as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("The environment was not made: interrupted.", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
