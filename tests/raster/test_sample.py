from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cloudfix.raster.sample import probe_windows, sample_range, value_range

_SIDES = st.integers(1, 20_000)


@given(_SIDES, _SIDES, st.integers(1, 6), st.integers(1, 128))
def test_windows_lie_in_the_raster_and_apart(height: int, width: int, per_side: int, size: int) -> None:
    windows = probe_windows(height, width, per_side=per_side, size=size)
    assert 1 <= len(windows) <= per_side**2
    for rows, columns in windows:
        assert 0 <= rows.start < rows.stop <= height
        assert 0 <= columns.start < columns.stop <= width
    for spans in ({(r.start, r.stop) for r, _ in windows}, {(c.start, c.stop) for _, c in windows}):
        ordered = sorted(spans)
        assert all(a[1] <= b[0] for a, b in pairwise(ordered))


def test_a_small_raster_is_sampled_whole() -> None:
    assert probe_windows(100, 256) == ((slice(0, 100), slice(0, 256)),)


@given(arrays(np.uint16, (2, 8, 9), elements=st.integers(0, 5)), st.sampled_from([None, 0.0, 3.0]))
def test_the_range_is_that_of_the_valid_values(block: np.ndarray, nodata: float | None) -> None:
    found = value_range(block, nodata)
    for index, band in enumerate(block):
        valid = band[band != nodata]
        assert np.array_equal(found.low[index], valid.min() if valid.size else np.nan, equal_nan=True)
        assert np.array_equal(found.high[index], valid.max() if valid.size else np.nan, equal_nan=True)
    assert found.valid == (block != nodata).sum()


@given(arrays(np.float32, (2, 8, 8), elements=st.sampled_from([np.nan, np.inf, -1.0, 0.5, 2.0])))
def test_the_range_of_parts_is_the_range_of_the_whole(block: np.ndarray) -> None:
    windows = [(slice(0, 3), slice(0, 8)), (slice(3, 8), slice(0, 5)), (slice(3, 8), slice(5, 8))]
    parts = sample_range(lambda rows, columns: block[:, rows, columns], windows, None)
    whole = value_range(block, None)
    np.testing.assert_array_equal(parts.low, whole.low)
    np.testing.assert_array_equal(parts.high, whole.high)
    assert parts.valid == whole.valid


def test_sampling_ends_when_it_has_seen_enough() -> None:
    read: list[slice] = []

    def look(rows: slice, columns: slice) -> np.ndarray:
        read.append(rows)
        return np.full((1, 2, 2), 300)

    sample_range(look, probe_windows(5000, 5000), None, lambda seen: seen.high[0] > 255)
    assert len(read) == 1
