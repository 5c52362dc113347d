"""The version of the document that `flatout profile --json` prints."""

from typing import Final

VERSION: Final = 1  # another one where a key changes its meaning
