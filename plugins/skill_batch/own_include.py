"""Check that Python finds ``include/skillreport``, before anything imports it.

``include`` is a namespace: each team on the same Airflow has a folder of its own in it. A folder ``include`` with a file ``__init__.py`` is
a package instead. Python then looks into no other folder ``include``, wherever that package is on the path.
"""

from __future__ import annotations

from importlib import util


class HiddenPackageError(ImportError):
    """Python does not find ``include/skillreport``."""


def require_own_include() -> None:
    """:raises HiddenPackageError: names the file that hides the folder, or says that the folder is missing, and what to do."""
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
