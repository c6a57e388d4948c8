"""Whether a file is all there, by what it says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudfix.raster.location import is_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudfix.errors import CloudfixError

_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM_END = b"\xff\xd9"
_BOXES = 1000


def check_complete(name: str, dataset: Any, error: type[CloudfixError]) -> None:
    """Refuse a TIFF whose blocks, or a JPEG2000 whose codestream, reach beyond the end of the file.

    An archive that was cut short has lost its directory, and a remote file is as long as the server says.

    Args:
        name: the file.
        dataset: the open rasterio dataset of it.
        error: what to raise.

    Raises:
        CloudfixError: as `error`.
    """
    if is_virtual(name):
        return
    size = Path(name).stat().st_size
    end = max((offset + length for offset, length in block_extents(dataset)), default=0)
    if end > size:
        raise error(f"{name}: truncated, {size} bytes where its blocks need {end}; download or copy the file again")
    if dataset.driver == "JP2OpenJPEG" and not _codestream_ends(Path(name), size):
        raise error(f"{name}: truncated, its JPEG2000 codestream has no end in {size} bytes; download or copy it again")


def block_extents(dataset: Any) -> Iterator[tuple[int, int]]:
    """Offset and length in bytes of every block of a TIFF; (0, 0) for one that was never written."""
    if dataset.driver not in {"GTiff", "COG"}:
        return
    # A pixel-interleaved file keeps all bands of a block together, so that one band tells all.
    shared = str(getattr(dataset.interleaving, "value", "")).lower() == "pixel"
    for band in dataset.indexes[:1] if shared else dataset.indexes:
        block_height, block_width = dataset.block_shapes[band - 1]
        for row in range(-(-dataset.height // block_height)):
            for column in range(-(-dataset.width // block_width)):
                yield (
                    int(dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band) or 0),
                    int(dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band) or 0),
                )


def _codestream_ends(path: Path, size: int) -> bool:
    """Whether the last codestream of a JP2 ends in its marker, wherever in the file (ISO 15444-1, annexes A and I)."""
    end = size
    with path.open("rb") as file:
        if file.read(len(_JP2_SIGNATURE)) == _JP2_SIGNATURE:
            boxes = [stop for kind, stop in _boxes(file, size) if kind == b"jp2c"]
            end = boxes[-1] if boxes else 0
        if not len(_CODESTREAM_END) <= end <= size:
            return False
        file.seek(end - len(_CODESTREAM_END))
        return file.read(len(_CODESTREAM_END)) == _CODESTREAM_END


def _boxes(file: Any, size: int) -> Iterator[tuple[bytes, int]]:
    """Kind and end of each box of a JP2."""
    start = 0
    for _ in range(_BOXES):
        if start >= size:
            return
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        stop = start + length if length else size
        if stop <= start:
            return
        yield head[4:8], stop
        start = stop
