"""What is checked when a data set is opened: every file's header, sizes that have to agree, one mask."""

from __future__ import annotations

import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudfix.errors import CloudfixWarning, DataError
from cloudfix.raster.header import read_header
from cloudfix.training.datasets.images import PICTURES, read_mask
from cloudfix.training.datasets.reading import check_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cloudfix.raster.header import Header
    from cloudfix.training.datasets.layout import Entry

    Size: TypeAlias = tuple[int, int]

Unreadable: TypeAlias = Literal["refuse", "skip"]

MOST = 3000
"""Entries whose headers are looked at. SEN12MS-CR has 370 000 files; of what is not looked at, reading tells."""

_SHOWN = 3


def checked(
    entries: Sequence[Entry],
    inspect: Callable[[Entry], Size],
    *,
    root: Path,
    unreadable: Unreadable,
    one_size: bool,
) -> list[Entry]:
    """The entries in which nothing is wrong.

    Args:
        entries: at least one.
        inspect: gives an entry's size (rows, columns), or raises a DataError.
        root: of the data set, for messages.
        unreadable: what happens to the others.
        one_size: whether all have to be of the size that most are.

    Raises:
        DataError: something is wrong with one and that is to be refused, or with all of them.
    """
    step = -(-len(entries) // MOST)
    looked_at = entries[::step]
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(looked_at, pool.map(lambda entry: _inspected(entry, inspect), looked_at), strict=True))
    problems = {entry: size for entry, size in found.items() if isinstance(size, str)}
    if one_size:
        problems |= _odd_sizes({entry: size for entry, size in found.items() if not isinstance(size, str)})
    settle(list(problems.values()), root=root, total=len(entries), unreadable=unreadable)
    left = [entry for entry in entries if entry not in problems]
    if not left:
        raise DataError(f"{root}: nothing is left of {len(entries)} images; the first: {next(iter(problems.values()))}")
    if left[0].mask is not None and unreadable == "refuse":
        read_mask(left[0].mask)
    return left


def settle(problems: Sequence[str], *, root: Path, total: int, unreadable: Unreadable) -> None:
    """Refuse problems, or say that what has them is left out.

    Args:
        problems: one line each.
        root: of the data set.
        total: how many images or files there are.
        unreadable: which of the two.

    Raises:
        DataError: they are to be refused.
    """
    if not problems:
        return
    count = f"{len(problems)} of {total}"
    if unreadable == "refuse":
        remedy = "mend or remove what is wrong, or leave it out: evaluate --skip-unreadable, train data.unreadable=skip"
        raise DataError(f"{problems[0]} [{count} in {root} have something wrong]; {remedy}")
    more = " …" if len(problems) > _SHOWN else ""
    warnings.warn(f"{root}: {count} left out: {' | '.join(problems[:_SHOWN])}{more}", CloudfixWarning, stacklevel=3)


def pair_size(entry: Entry) -> Size:
    """The size that all files of a pair have.

    Raises:
        DataError: one cannot be read, has another size or number of bands than it should.
    """
    clear = _header(entry.clear)
    size = _size(clear)
    for path in (entry.cloudy, entry.mask, entry.thickness):
        if path is not None and (own := _size(_header(path))) != size:
            raise DataError(
                f"{path}: {_text(own)} pixels, but {entry.clear} has {_text(size)}; expected a pair of one size"
            )
    for path in (entry.clear, entry.cloudy):
        if path.suffix.lower() in PICTURES:
            check_bands(path, (3, 4), "red, green and blue")
        else:
            check_bands(path, (clear.count,), f"as in {entry.clear.name}")
    return size


def check_bands(path: Path, expected: Sequence[int], what: str) -> Size:
    """Refuse another number of bands than expected.

    Returns:
        Rows and columns.

    Raises:
        DataError: there are others, or the file cannot be read.
    """
    header = _header(path)
    if header.count not in expected:
        raise DataError(f"{path}: {header.count} bands; expected {expected[0]}, {what}")
    return _size(header)


def _inspected(entry: Entry, inspect: Callable[[Entry], Size]) -> Size | str:
    try:
        return inspect(entry)
    except DataError as error:
        return str(error)


def _header(path: Path) -> Header:
    header = read_header(path, DataError)
    check_ended(path)
    return header


def _size(header: Header) -> Size:
    return header.grid.height, header.grid.width


def _odd_sizes(sizes: dict[Entry, Size]) -> dict[Entry, str]:
    if not sizes:
        return {}
    usual, times = Counter(sizes.values()).most_common(1)[0]
    return {
        entry: f"{entry.clear}: {_text(size)} pixels, but most ({times} of {len(sizes)}) have {_text(usual)}; "
        "expected one size"
        for entry, size in sizes.items()
        if size != usual
    }


def _text(size: Size) -> str:
    return f"{size[0]} × {size[1]}"
