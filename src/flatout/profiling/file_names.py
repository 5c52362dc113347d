"""What a file is called in a report."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def shown_name(file: str, folder: Path) -> str:
    """Relative to a folder where it lies in it; a cell of a notebook as the notebook numbers it, "In[3]".

    >>> shown_name("/work/package/train.py", Path("/work")), shown_name("/elsewhere/train.py", Path("/work"))
    ('package/train.py', '/elsewhere/train.py')
    """
    if (cell := _cell(file)) is not None:
        return cell
    try:
        return os.path.relpath(file, folder) if Path(file).is_relative_to(folder) else file
    except ValueError:
        return file


def _cell(file: str) -> str | None:
    """The label that IPython gives to the code of a cell; its file has the name of a checksum."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    labels = getattr(getattr(shell, "compile", None), "format_code_name", None)
    label = None if labels is None else labels(file)
    return None if label is None else str(label[1])
