"""Chooses the installed ``pg_dump`` and ``pg_restore`` that fit a server. Packages install several major versions side by side."""

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

# The packages of Debian, and of the PostgreSQL project for Red Hat, have a folder for each major version: parent, and prefix of the name.
_PACKAGES = ((Path("/usr/lib/postgresql"), ""), (Path("/usr"), "pgsql-"))

# pg_restore 17 and later sends SET transaction_timeout, which older servers refuse.
_NEWER_PROGRAMS_FIT = 17

# The versions that programs have stated, by path and time of the file's change in nanoseconds.
_stated: dict[tuple[str, int], int] = {}


class UnsuitableProgramsError(BatchError):
    """No installed programs fit the server: the problem, the remedy, and the installed major versions."""

    def __init__(self, problem: str, remedy: str, installed: Sequence[int] = ()) -> None:
        super().__init__(problem + remedy)
        self.problem, self.remedy, self.installed = problem, remedy, installed


def find_programs(bin_dir: str, server: int) -> str:
    """The folder with the programs for a server of this major version.

    ``bin_dir`` names one or more folders, separated as in PATH. A folder such as ``/usr/lib/postgresql/18/bin`` also stands for those of
    the other versions beside it. Empty: the folders of the packages, and the PATH. The server's own version comes first, then the next
    newer version. Servers before 17 accept their own version only.
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
    """The folders to search, in order."""
    if bin_dir:
        named = [Path(folder) for folder in bin_dir.split(os.pathsep)]
        return [*named, *(folder for each in named for folder in _beside(each))]
    packages = [folder for parent, prefix in _PACKAGES for folder in _of_all_versions(parent, prefix)]
    on_path = shutil.which(_PROGRAMS[0])
    # The PATH comes last: Debian has a program there that chooses a version itself.
    return [*packages, *([Path(on_path).parent] if on_path else [])]


def _beside(folder: Path) -> list[Path]:
    """The folders of the other versions, if the folder is that of a version."""
    prefix = folder.parent.name.rstrip("0123456789")
    is_of_a_version = folder.name == "bin" and prefix != folder.parent.name
    return _of_all_versions(folder.parent.parent, prefix) if is_of_a_version else []


def _of_all_versions(parent: Path, prefix: str) -> list[Path]:
    named = re.compile(re.escape(prefix) + "[0-9]+")
    return [folder / "bin" for folder in sorted(parent.glob("*")) if named.fullmatch(folder.name)]


def _versions(folder: Path) -> list[int]:
    """The major versions of the programs; empty if one of them is missing or does not run."""
    versions = []
    for name in _PROGRAMS:
        path = shutil.which(name, path=str(folder))
        version = _version(path) if path else None
        if version is None:
            return []
        versions.append(version)
    return versions


def _version(path: str) -> int | None:
    """The major version of a program; None if it does not run. A process asks the same file until it has answered."""
    key = path, Path(path).stat().st_mtime_ns
    if key not in _stated and (found := re.search(r"\(PostgreSQL\) (\d+)", _output(path, "--version"))):
        _stated[key] = int(found[1])
    return _stated.get(key)


def _output(*command: str) -> str:
    """What a program prints; empty if it fails, or is one of another machine."""
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
