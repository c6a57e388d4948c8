"""The classes that every mask source is brought to."""

from __future__ import annotations

from typing import Final

CLEAR: Final = 0
CLOUD: Final = 1
SHADOW: Final = 2
NODATA: Final = 255
