"""Sentinel-1 as folders and archives: the files of VV and VH among the others."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from cloudfix.raster.products.record import Product, ProductFile

if TYPE_CHECKING:
    from cloudfix.raster.products.tree import Tree

_RASTER = re.compile(r".*(?<![a-z])(vv|vh)(?![a-z]).*\.tiff?", re.IGNORECASE)
_MEASUREMENT = "measurement"
_AMPLITUDE = re.compile(r"_RTC\d\d_[A-Z]_.a[um][nf][ec]")
"""A HyP3 product's letters: scattering coefficient, then p power, d dB or a amplitude."""


def read(tree: Tree) -> Product | None:
    """The image in `tree`; None where there is none of this kind.

    Raises:
        CloudfixError: as `tree.error`: several images, or one in amplitude.
    """
    rasters = [path for path in tree.sizes if _RASTER.fullmatch(PurePosixPath(path).name)]
    # ESA's products keep noise and masks of the same polarisations in folders of their own.
    rasters = [path for path in rasters if _MEASUREMENT in PurePosixPath(path).parts] or rasters
    if not rasters:
        return None
    found: dict[str, str] = {}
    for path in rasters:
        polarisation = _RASTER.fullmatch(PurePosixPath(path).name)[1].lower()  # type: ignore[index]
        if polarisation in found:
            raise tree.error(
                f"{tree.root}: {found[polarisation]} and {path} are both {polarisation.upper()}; name the files of one "
                "image"
            )
        found[polarisation] = path
    if amplitude := next((path for path in found.values() if _AMPLITUDE.search(path)), None):
        raise tree.error(f"{tree.root}: {amplitude} is in amplitude; order it in power or dB, or square it")
    files = [ProductFile(tree.gdal_name(found[name]), (name,)) for name in ("vv", "vh") if name in found]
    return Product(tree.root.absolute().stem, tuple(files))
