"""Products as they are downloaded. A new kind is a module with `read(tree)` and a name in the table below."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cloudfix.errors import SarError, SceneError
from cloudfix.raster.checks import check_path
from cloudfix.raster.location import absolute, gdal_name, is_remote
from cloudfix.raster.products import landsat, safe, sentinel1, stac
from cloudfix.raster.products.record import Product, ProductFile, printable, select
from cloudfix.raster.products.stac_item import is_item
from cloudfix.raster.products.tree import open_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudfix.errors import CloudfixError
    from cloudfix.raster.products.tree import Tree

__all__ = ["Product", "ProductFile", "find_radar", "find_scene", "select"]


@dataclass(frozen=True)
class _Kind:
    """What may be named in one place: what reads folders and archives, each in turn, and what reads STAC items."""

    trees: tuple[Callable[[Tree], Product | None], ...]
    item: Callable[..., Product]
    error: type[CloudfixError]
    known: str


_SCENE = _Kind(
    (safe.read, landsat.read), stac.read_scene, SceneError, "a Sentinel-2 .SAFE, a Landsat Collection 2 product"
)
_RADAR = _Kind(
    (sentinel1.read,), stac.read_radar, SarError, "a terrain-corrected Sentinel-1 image with files of VV and VH"
)

_ARCHIVE = re.compile(r".*\.(zip|tar|tgz|tar\.(gz|bz2|xz))", re.IGNORECASE | re.DOTALL)
_METADATA = re.compile(r"(MTD_MSI\w+\.xml|manifest\.safe|L\w+_MTL\.(txt|json|xml))", re.IGNORECASE)
"""Files that other tools open to mean the product they are in."""


def find_scene(sources: Sequence[str | Path], *, allow_remote: bool) -> Product:
    """What a user's names stand for: one product, or loose rasters.

    Raises:
        SceneError: there is no such file, it is remote and that is not allowed, or it is of no kind that is known.
    """
    return _find(sources, _SCENE, allow_remote=allow_remote)


def find_radar(sources: Sequence[str | Path], *, allow_remote: bool) -> Product:
    """The same for a radar image.

    Raises:
        SarError: as `find_scene`.
    """
    return _find(sources, _RADAR, allow_remote=allow_remote)


def _find(sources: Sequence[str | Path], kind: _Kind, *, allow_remote: bool) -> Product:
    if len(sources) == 1:
        (name,) = map(str, sources)
        if is_item(name) and not _METADATA.fullmatch(Path(name).name):
            _check_reachable(name, kind.error, allow_remote=allow_remote)
            return _from(name, kind.item(name, kind.error, allow_remote=allow_remote))
        if not is_remote(name) and (root := _root(Path(name))):
            return _from(str(root), _packed(root, kind))
    files = [ProductFile(gdal_name(source, kind.error, allow_remote=allow_remote)) for source in sources]
    return Product(Path(sources[0]).name, tuple(files), sources=tuple(absolute(str(source)) for source in sources))


def _from(name: str, product: Product) -> Product:
    return replace(printable(product), sources=(absolute(name),))


def _check_reachable(name: str, error: type[CloudfixError], *, allow_remote: bool) -> None:
    gdal_name(name, error, allow_remote=allow_remote)
    if not is_remote(name):
        check_path(Path(name), error)


def _root(path: Path) -> Path | None:
    """The folder or archive that a name stands for, if it does."""
    if path.is_dir() or (_ARCHIVE.fullmatch(path.name) and path.is_file()):
        return path
    return path.parent if _METADATA.fullmatch(path.name) and path.is_file() else None


def _packed(root: Path, kind: _Kind) -> Product:
    tree = open_tree(root, kind.error)
    product = next((found for read in kind.trees if (found := read(tree))), None)
    if product is None:
        what = "an archive" if tree.packed else "a folder"
        raise kind.error(f"{root}: is {what} of no product that is known ({kind.known}); name the rasters in it")
    return product
