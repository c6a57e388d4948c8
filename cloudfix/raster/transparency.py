"""Files that keep "no data" in a mask or an alpha band, not in a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudfix.raster.names import CLASS_BANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudfix.raster.header import Header


def has_mask(header: Header, names: Sequence[str], slots: Sequence[str]) -> bool:
    """Whether a file's mask or alpha band says where its bands have no data.

    Args:
        header: the file's.
        names: of its bands.
        slots: of its bands, "" for none.
    """
    bands = zip(header.colorinterp, names, slots, strict=True)
    # Writers call the fourth of four bands alpha, whatever it is.
    mislabelled = any(kind == "alpha" and (slot or name in CLASS_BANDS) for kind, name, slot in bands)
    return header.masked and not mislabelled and any(slots)
