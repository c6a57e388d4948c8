"""Where a TIFF says that its tiles lie (TIFF 6.0 and BigTIFF), which GDAL reads but does not let one write."""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

_ORDERS = {b"II": "<", b"MM": ">"}
_BIG = 43
_TILE_OFFSETS, _TILE_BYTE_COUNTS = 324, 325
_TYPES = {3: "u2", 4: "u4", 16: "u8"}


@dataclass(frozen=True)
class Column:
    """One number a tile, somewhere in a file.

    Attributes:
        position: of the first, in bytes.
        dtype: of each, as NumPy has it.
        length: how many.
    """

    position: int
    dtype: str
    length: int

    def read(self, file: BinaryIO) -> NDArray[np.uint64]:
        """(length,) the numbers."""
        file.seek(self.position)
        content = file.read(self.length * np.dtype(self.dtype).itemsize)
        return np.frombuffer(content, self.dtype).astype(np.uint64)

    def write(self, file: BinaryIO, numbers: ArrayLike) -> None:
        """Replace them by (length,) other `numbers`."""
        file.seek(self.position)
        file.write(np.asarray(numbers).astype(self.dtype).tobytes())


@dataclass(frozen=True)
class TileIndex:
    """What a directory says of its tiles, row by row.

    Attributes:
        offsets: where in the file each begins, 0 for one that is not there.
        sizes: in bytes.
    """

    offsets: Column
    sizes: Column


def tile_indices(file: BinaryIO) -> list[TileIndex]:
    """That of each directory in its order: of a COG the image, then its overviews from the finest to the coarsest.

    Raises:
        OSError: the file is cut short.
    """
    try:
        return list(_directories(file))
    except (struct.error, KeyError):
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from None


def _directories(file: BinaryIO) -> Iterator[TileIndex]:
    file.seek(0)
    head = file.read(16)
    order = _ORDERS[head[:2]]
    big = struct.unpack_from(order + "H", head, 2)[0] == _BIG
    link, count = ("Q", "Q") if big else ("I", "H")
    entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    (position,) = struct.unpack_from(order + link, head, 8 if big else 4)
    while position:
        file.seek(position)
        (entries,) = struct.unpack(order + count, file.read(struct.calcsize(count)))
        first = file.tell()
        table = file.read(entries * entry.size)
        (position,) = struct.unpack(order + link, file.read(struct.calcsize(link)))
        columns = {}
        for number, (tag, kind, length, value) in enumerate(entry.iter_unpack(table)):
            if tag in {_TILE_OFFSETS, _TILE_BYTE_COUNTS}:
                dtype = np.dtype(order + _TYPES[kind])
                # Numbers that fit into the entry take the place of the link to them.
                here = first + (number + 1) * entry.size - len(value)
                inline = length * dtype.itemsize <= len(value)
                place = here if inline else struct.unpack_from(order + link, value)[0]
                columns[tag] = Column(place, dtype.str, length)
        yield TileIndex(columns[_TILE_OFFSETS], columns[_TILE_BYTE_COUNTS])
