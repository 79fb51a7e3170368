"""Checks that Python finds ``include/skillreport``, before anything imports it.

``include`` is a namespace: each team on the same Airflow has its own folder in it. If any folder ``include`` on the path has an
``__init__.py``, Python takes it as a package and ignores the other folders.
"""

from __future__ import annotations

from importlib import util


class HiddenPackageError(ImportError):
    """Python does not find ``include/skillreport``."""


def require_own_include() -> None:
    """Check the import path. :raises HiddenPackageError: names the file that hides the folder, or says that the folder is missing, and
    the fix.
    """
    found = util.find_spec("include")
    if found is not None and util.find_spec("include.skillreport") is not None:
        return
    if found is not None and found.origin is not None:
        raise HiddenPackageError(
            f"{found.origin} があるため、Python は include/skillreport を見つけられません。このファイルを消してください"
            "（中身があれば、そのチームのフォルダーの中に移してください。include は複数のチームが共有する名前空間です）。"
        )
    raise HiddenPackageError(
        "include/skillreport が見つかりません。include を dags と同じ場所か dags の中に置くか、wheel を入れてください。"
    )


# The DAG files import this module first, so the error becomes an import error of every DAG.
require_own_include()
