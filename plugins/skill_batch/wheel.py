"""The installed wheel, and the check that the folders have the same version.

A platform may have the wheel, the folders ``plugins``, ``include`` and ``dags``, or both. With both, Python imports some modules from
each. If they differ, the DAG files raise an error. The check compares contents, because a folder synced from Git changes more often
than its version number.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib import metadata, util
from itertools import pairwise
from pathlib import Path, PurePath

DISTRIBUTION = "skill-report-batches"

# The packages of the wheel, as paths. `skill_batch_dags` has a copy of the DAG files, only for this comparison.
_PACKAGES = ("skill_batch", "include/skillreport")
_DAGS = "skill_batch_dags"

_HELP = ("board", "site")


class MixedVersionsError(ImportError):
    """The wheel and a folder have different versions."""


def has_entry_point() -> bool:
    """True if the project is installed (as a wheel or editable), so that Airflow loads the plugin by the entry point."""
    try:
        metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return False
    return True


def find_wheel() -> metadata.Distribution | None:
    """The installed wheel; None without one, or for an editable installation, which uses the folders."""
    return metadata.distribution(DISTRIBUTION) if _recorded_hashes() else None


@cache
def refuse_mixed_versions(plugins_folder: Path) -> None:
    """Compare the wheel with the folders of the same packages.

    :param plugins_folder: Airflow's folder of plugins.
    :raises MixedVersionsError: names the folder, and the first different file.
    """
    wheel = find_wheel()
    if wheel is None:
        return
    installed = Path(str(wheel.locate_file(""))).resolve()
    for package in _PACKAGES:
        for folder in {_imported_folder(package).resolve(), (plugins_folder / package).resolve()}:
            if folder.is_dir() and folder != installed / package:
                _compare(wheel, folder, package)


def refuse_other_dag_file(file: Path) -> None:
    """Compare a DAG file of this project with its copy in the wheel. A file that is not in the wheel is accepted.

    :raises MixedVersionsError: names the file.
    """
    expected = _recorded_hashes().get(f"{_DAGS}/{file.parent.name}/{file.name}")
    wheel = find_wheel()
    if wheel is not None and expected is not None and _hash(file) != expected:
        raise _refusal(wheel, file.parent.parent, f"{file.parent.name}/{file.name}")


@cache
def _recorded_hashes() -> dict[str, str]:
    """The SHA-256 of each file from the wheel's RECORD, by its path in the installation folder; empty without a wheel."""
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        return {}
    hashes = {
        file.as_posix(): file.hash.value
        for file in files
        if file.hash is not None
        and file.as_posix().startswith(tuple(f"{package}/" for package in (*_PACKAGES, _DAGS)))
        and _is_source(file)
    }
    # An editable installation has the copies of the DAG files, but no packages.
    return hashes if any(name.startswith(f"{_PACKAGES[0]}/") for name in hashes) else {}


def _imported_folder(package: str) -> Path:
    spec = util.find_spec(package.replace("/", "."))
    assert spec is not None, f"the wheel has {package}"
    assert spec.submodule_search_locations is not None, f"{package} is no package"
    return Path(next(iter(spec.submodule_search_locations)))


def _compare(wheel: metadata.Distribution, folder: Path, package: str) -> None:
    """Raise if a folder differs from the wheel. :raises MixedVersionsError: a file differs, is missing or is additional."""
    expected = {
        name.removeprefix(f"{package}/"): value
        for name, value in _recorded_hashes().items()
        if name.startswith(f"{package}/")
    }
    found = {path.relative_to(folder).as_posix(): _hash(path) for path in _sources(folder)}
    different = expected.items() ^ found.items()
    if different:
        raise _refusal(wheel, folder, min(name for name, _ in different))


def _sources(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and _is_source(path.relative_to(folder)):
            yield path


def _is_source(path: PurePath) -> bool:
    """False for byte code, hidden files and pages of the help, which only some installations build."""
    hidden = any(name == "__pycache__" or name.startswith(".") for name in path.parts)
    return not hidden and _HELP not in pairwise(path.parts)


def _hash(file: Path) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode()


def _refusal(wheel: metadata.Distribution, folder: Path, file: str) -> MixedVersionsError:
    return MixedVersionsError(
        f"インストールされた wheel {DISTRIBUTION} {wheel.version} とフォルダー {folder} は、別の版です（最初の違い: {file}）。"
        f"このフォルダーから作った wheel（make wheel）を入れ直す（pip の --force-reinstall）か、どちらか一方だけにしてください。"
    )
