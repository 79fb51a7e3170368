"""Docstrings that users read at run time: a DAG's page, an operation's effect, a command's description.

They are read from the source, because ``PYTHONOPTIMIZE=2`` (``-OO``) removes them.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path


def docstring_of(file: str | Path, class_name: str = "") -> str:
    """The docstring of a Python file, or of its class ``class_name``. Empty if there is none.

    :raises OSError: the file cannot be read.
    """
    return _docstrings(Path(file).read_bytes()).get(class_name, "")


# The source is the key, because a process may parse a DAG file again after a change. A form's file has many classes.
@lru_cache(maxsize=16)
def _docstrings(source: bytes) -> dict[str, str]:
    module = ast.parse(source)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    texts = {node.name: ast.get_docstring(node) or "" for node in classes}
    return {**texts, "": ast.get_docstring(module) or ""}
