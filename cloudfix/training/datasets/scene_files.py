"""Which files in a folder are a scene, alone or together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudfix.errors import DataError, SceneError
from cloudfix.raster.header import read_header
from cloudfix.raster.names import band_name
from cloudfix.training.datasets.layout import check_folder, natural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RASTERS = (".tif", ".tiff", ".jp2", ".vrt")
"""Suffixes of files that are scenes or bands of one."""

_RESOLUTION = re.compile(r"[126]0m", re.IGNORECASE)


def find_scenes(root: Path) -> dict[str, list[Path]]:
    """The files of each scene by its name: of several bands each its own, of one band those of a product together.

    Args:
        root: a folder, in which and below which scenes lie, one raster, or a .txt file that lists some.

    Raises:
        DataError: there are none.
    """
    products: dict[Path, list[Path]] = {}
    for path in _files(root):
        products.setdefault(path.with_name(_product(path)), []).append(path)
    names = [product.name for product in products]
    return {
        product.name if names.count(product.name) == 1 else f"{product.parent.name}_{product.name}": paths
        for product, paths in products.items()
    }


def has_scenes(root: Path) -> bool:
    """Whether there are files that may be scenes."""
    return next(_rasters(root), None) is not None if root.is_dir() else root.is_file()


def _files(root: Path) -> list[Path]:
    if root.is_file() and root.suffix.lower() == ".txt":
        lines = root.read_text(encoding="utf-8").splitlines()
        return [root.parent / line.strip() for line in lines if line.strip()]
    if root.is_file():
        return [root]
    check_folder(root)
    found = sorted(_rasters(root), key=lambda path: natural(str(path)))
    if not found:
        raise DataError(f"{root}: no {', '.join(RASTERS)} in it or below; expected scenes")
    return found


def _rasters(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.suffix.lower() in RASTERS and not path.name.startswith("."))


def _product(path: Path) -> str:
    """The stem, for a file of one band without the part that names the band."""
    try:
        single = read_header(path).count == 1
    except SceneError:
        return path.stem
    parts = [part for part in path.stem.split("_") if band_name(part) is None and not _RESOLUTION.fullmatch(part)]
    return "_".join(parts) if single and parts else path.stem
