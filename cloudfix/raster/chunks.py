"""How a file's blocks decide the chunks it is read in."""

from __future__ import annotations

_SIDE = 512
_ROWS = 256
_LARGEST = 2048
"""Blocks of more than this a side are not worth the memory of a chunk that holds them."""


def natural_chunks(block: tuple[int, int], width: int) -> tuple[int, int]:
    """Rows and columns of chunks of which none decodes what belongs to another.

    About 512² in whole blocks for a tiled file. A block of a striped file is as wide as the file: each of several
    chunks side by side would decode all of it, so that a chunk is as wide, too.

    Args:
        block: rows and columns of a block.
        width: of the raster.
    """
    rows, columns = block
    if columns >= width > _SIDE and rows <= _LARGEST:
        return _whole(rows, _ROWS), columns
    return _whole(rows, _SIDE), _whole(columns, _SIDE)


def _whole(block: int, wanted: int) -> int:
    if block > _LARGEST:
        return wanted
    return max(wanted // block, 1) * block
