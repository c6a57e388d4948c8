"""Classes from the cloud bands that products carry: SCL, QA_PIXEL and BQA.

Every function takes the band's values in any numeric dtype, of any shape, and gives uint8 classes of that
shape. Cloud goes before shadow, and no data before both. Snow, water and terrain shade are clear.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.clouds.classes import CLEAR, CLOUD, NODATA, SHADOW
from cloudfix.errors import MaskError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_SCL_NODATA = 0
_SCL_SHADOW = 3
_SCL_CLOUDS = (8, 9, 10)
_SCL_LAST = 11
_SCL_ODD = 0.01
_LANDSAT_FILL = 1
_HIGH = 3
_MEDIUM = 2
_OLDER = 1 << 13


def classes_from(band: str, values: NDArray[Any]) -> NDArray[np.uint8]:
    """The classes that the quality band named `band` holds.

    Args:
        band: "SCL", "QA_PIXEL" or "BQA".
        values: the band's values.

    Raises:
        MaskError: the band is none of these, or its values are not what such a band holds.
    """
    try:
        read = _READERS[band]
    except KeyError:
        raise MaskError(f"quality band {band}: unknown; expected one of {', '.join(_READERS)}") from None
    return read(values)


def from_scl(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes from Sen2Cor's scene classification of Sentinel-2 L2A.

    3 is shadow; 8, 9 (cloud of medium and high probability) and 10 (thin cirrus) are cloud; 0 is no data.
    Saturated or defective pixels (1) count as clear: what is there was measured. So do the odd values above 11 that
    resampling and lossy compression leave in real files.

    Raises:
        MaskError: more than one value in a hundred is above 11.
    """
    scl = _integers(values, _SCL_NODATA)
    if scl.size and (scl > _SCL_LAST).mean() > _SCL_ODD:
        raise MaskError(f"SCL: found {scl.max()}, expected classes 0 to {_SCL_LAST}; name the bands with --bands")
    return _classes(np.isin(scl, _SCL_CLOUDS), scl == _SCL_SHADOW, scl == _SCL_NODATA)


def from_qa_pixel(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes from QA_PIXEL of Landsat Collection 2 (LSDS-1619).

    Cloud is one of the flags dilated cloud (bit 1), cirrus (2) and cloud (3), or high confidence of cloud
    (8–9) or cirrus (14–15); shadow is its flag (4) or high confidence (10–11); fill is bit 0.
    """
    qa = _integers(values, _LANDSAT_FILL)
    cloud = _flag(qa, 1) | _flag(qa, 2) | _flag(qa, 3) | (_confidence(qa, 8) == _HIGH) | (_confidence(qa, 14) == _HIGH)
    return _classes(cloud, _flag(qa, 4) | (_confidence(qa, 10) == _HIGH), _flag(qa, 0))


def from_bqa(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Classes from BQA of Landsat-8, of Collection 1 or from before the collections.

    The two layouts share a name but no bits. Collection 1 leaves bits 13–15 unset, while the older one has a
    cloud confidence in bits 14–15 that is never 0 where something was seen: so each pixel tells its layout.

    Collection 1: cloud is the flag (bit 4), or high confidence of cloud (5–6) or cirrus (11–12); shadow is
    its high confidence (7–8). Older: cloud is medium or high confidence of cloud (14–15), which came without
    the dilation of later ones and misses the rims otherwise, or high confidence of cirrus (12–13); there is
    no shadow. Fill is bit 0 in both.
    """
    qa = _integers(values, _LANDSAT_FILL)
    older = qa >= _OLDER
    cloud = _flag(qa, 4) | (_confidence(qa, 5) == _HIGH) | (_confidence(qa, 11) == _HIGH)
    older_cloud = (_confidence(qa, 14) >= _MEDIUM) | (_confidence(qa, 12) == _HIGH)
    return _classes(np.where(older, older_cloud, cloud), ~older & (_confidence(qa, 7) == _HIGH), _flag(qa, 0))


_READERS: Mapping[str, Callable[[NDArray[Any]], NDArray[np.uint8]]] = MappingProxyType(
    {"SCL": from_scl, "QA_PIXEL": from_qa_pixel, "BQA": from_bqa}
)


def _integers(values: NDArray[Any], fill: int) -> NDArray[np.uint16]:
    """The values as bit patterns; NaN, which a stack with float bands may hold, as fill."""
    return np.asarray(np.nan_to_num(values, nan=fill), np.uint16)


def _flag(qa: NDArray[np.uint16], bit: int) -> NDArray[np.bool_]:
    return np.asarray(qa & np.uint16(1 << bit), np.bool_)


def _confidence(qa: NDArray[np.uint16], low_bit: int) -> NDArray[np.uint16]:
    """A two-bit confidence: 0 undetermined, 1 low, 2 medium, 3 high."""
    return qa >> np.uint16(low_bit) & np.uint16(3)


def _classes(cloud: NDArray[np.bool_], shadow: NDArray[np.bool_], nodata: NDArray[np.bool_]) -> NDArray[np.uint8]:
    result = np.full(cloud.shape, CLEAR, np.uint8)
    result[shadow] = SHADOW
    result[cloud] = CLOUD
    result[nodata] = NODATA
    return result
