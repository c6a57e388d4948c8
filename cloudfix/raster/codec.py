"""How tiles are compressed: the lossless codecs, by the names and with the options of GDAL's drivers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_PREDICTED = ("DEFLATE", "ZSTD", "LZW")
COMPRESSIONS = (*_PREDICTED, "LERC", "LERC_DEFLATE", "LERC_ZSTD", "NONE")
"""Lossless codecs, by the names of GDAL's COG driver."""

_DEFLATE_LEVEL = 1
"""A quarter of the time of GDAL's default, 6. After the predictor it costs no space: Sentinel-2 and Landsat images even
get 1 to 2 % smaller."""


@dataclass(frozen=True)
class Codec:
    """A lossless codec.

    Attributes:
        name: one of `COMPRESSIONS`.
    """

    name: str

    @classmethod
    def named(cls, name: str) -> Codec:
        """The codec of that name, in whatever case.

        Raises:
            UsageError: it is none of `COMPRESSIONS`.
        """
        if name.upper() not in COMPRESSIONS:
            raise UsageError(f"--compress {name}: unknown or lossy; use one of {', '.join(COMPRESSIONS)}")
        return cls(name.upper())

    @property
    def cog_options(self) -> dict[str, Any]:
        """For the COG driver."""
        return {"compress": self.name} | ({"predictor": "YES"} if self.name in _PREDICTED else {})

    def tile_options(self, dtype: DTypeLike) -> dict[str, Any]:
        """For the GTiff driver, so that its tiles are as the COG's directories say."""
        options: dict[str, Any] = {"compress": self.name}
        if self.name in _PREDICTED:
            options["predictor"] = 3 if np.dtype(dtype).kind == "f" else 2
        if self.name == "DEFLATE":
            options["zlevel"] = _DEFLATE_LEVEL
        return options
