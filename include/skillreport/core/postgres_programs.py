"""Choose the installed ``pg_dump`` and ``pg_restore`` that fit a server. Packages install several major versions side by side."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from include.skillreport.core.errors import BatchError

BIN_VARIABLE = "skill_batch_postgres_bin"

_PROGRAMS = ("pg_dump", "pg_restore")

# Debian's packages, and the PostgreSQL project's for Red Hat, have a folder per major version: parent folder and name prefix.
_PACKAGES = ((Path("/usr/lib/postgresql"), ""), (Path("/usr"), "pgsql-"))

# pg_restore 17 and later sends SET transaction_timeout, which older servers reject.
_NEWER_PROGRAMS_FIT = 17

# Known versions of programs, by path and modification time in nanoseconds.
_stated: dict[tuple[str, int], int] = {}


class UnsuitableProgramsError(BatchError):
    """No installed program fits the server: the problem, the remedy and the installed major versions."""

    def __init__(self, problem: str, remedy: str, installed: Sequence[int] = ()) -> None:
        super().__init__(problem + remedy)
        self.problem, self.remedy, self.installed = problem, remedy, installed


def find_programs(bin_dir: str, server: int) -> str:
    """The folder with the programs for a server of this major version.

    ``bin_dir`` names one or more folders, separated as in PATH. A folder such as ``/usr/lib/postgresql/18/bin`` includes its sibling
    versions. Empty: the packages' folders and the PATH. The server's own version is preferred, then the next newer version. Servers before
    17 need their own version.
    :raises UnsuitableProgramsError: names the installed versions and the version to install.
    """
    found = [(versions, folder) for folder in _folders(bin_dir) if (versions := _versions(folder))]
    fitting = [
        (versions, folder)
        for versions, folder in found
        if all(version == server or version > server >= _NEWER_PROGRAMS_FIT for version in versions)
    ]
    if fitting:
        return str(min(fitting, key=lambda each: each[0])[1])
    wanted = f"{server} 以上の" if server >= _NEWER_PROGRAMS_FIT else f"{server} の"
    remedy = (
        f"PostgreSQL {wanted}クライアントを入れ、その場所を Variable '{BIN_VARIABLE}' に設定してください。"
    )
    if not found:
        raise UnsuitableProgramsError("動く pg_dump と pg_restore が見つかりません。", remedy)
    installed = sorted({version for versions, _ in found for version in versions})
    raise UnsuitableProgramsError(
        f"サーバー（PostgreSQL {server}）に使える pg_dump と pg_restore がありません"
        f"（見つかった版: {'、'.join(map(str, installed))}）。",
        remedy,
        installed,
    )


def _folders(bin_dir: str) -> list[Path]:
    if bin_dir:
        named = [Path(folder) for folder in bin_dir.split(os.pathsep)]
        return [*named, *(folder for each in named for folder in _beside(each))]
    packages = [folder for parent, prefix in _PACKAGES for folder in _of_all_versions(parent, prefix)]
    on_path = shutil.which(_PROGRAMS[0])
    # PATH comes last: Debian's program there chooses a version itself.
    return [*packages, *([Path(on_path).parent] if on_path else [])]


def _beside(folder: Path) -> list[Path]:
    """The folders of the other versions, if the folder belongs to one."""
    prefix = folder.parent.name.rstrip("0123456789")
    is_of_a_version = folder.name == "bin" and prefix != folder.parent.name
    return _of_all_versions(folder.parent.parent, prefix) if is_of_a_version else []


def _of_all_versions(parent: Path, prefix: str) -> list[Path]:
    named = re.compile(re.escape(prefix) + "[0-9]+")
    return [folder / "bin" for folder in sorted(parent.glob("*")) if named.fullmatch(folder.name)]


def _versions(folder: Path) -> list[int]:
    """Returns an empty list if a program is missing or does not run."""
    versions = []
    for name in _PROGRAMS:
        path = shutil.which(name, path=str(folder))
        version = _version(path) if path else None
        if version is None:
            return []
        versions.append(version)
    return versions


def _version(path: str) -> int | None:
    """Returns None if the program does not run. Answers are cached per process and file."""
    key = path, Path(path).stat().st_mtime_ns
    if key not in _stated and (found := re.search(r"\(PostgreSQL\) (\d+)", _output(path, "--version"))):
        _stated[key] = int(found[1])
    return _stated.get(key)


def _output(*command: str) -> str:
    """Returns an empty text if the program fails or is built for another machine."""
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
