import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.errors import UsageError
from cloudfix.restoration.tiles import TileGrid, Window, blend_weights, chunk_windows, cover, origins

axes = st.tuples(st.integers(1, 2000), st.integers(1, 40).map(lambda n: 8 * n), st.floats(0, 0.5)).map(
    lambda a: (a[0], a[1], int(a[1] * a[2]))
)
grids = st.builds(
    lambda h, w, tile, share: TileGrid(h, w, tile, int(tile * share)),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(1, 12).map(lambda n: 8 * n),
    st.floats(0, 0.5),
)
cuts = st.lists(st.integers(1, 90), min_size=1, max_size=12)


@given(axes)
def test_tiles_cover_the_axis_and_end_with_it(axis):
    length, tile, overlap = axis
    starts = origins(length, tile, overlap)
    assert starts[0] == 0
    assert starts[-1] == max(length - tile, 0)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= tile - overlap).all()


@given(axes)
def test_weights_sum_to_one_everywhere(axis):
    length, tile, _ = axis
    total = np.zeros(max(length, tile))
    for start, weight in zip(origins(*axis), blend_weights(*axis), strict=True):
        assert (weight >= 0).all()
        total[start : start + tile] += weight
    np.testing.assert_allclose(total[:length], 1, atol=1e-12)
    assert (total[length:] == 0).all()


def test_weights_fall_smoothly_from_tile_to_tile():
    weights = blend_weights(600, 256, 64)
    steps = np.abs(np.diff(weights, axis=1)).max()
    assert steps < np.pi / 2 / 64 * 1.05


@given(grids, cuts, cuts)
def test_every_tile_has_one_owner_however_the_scene_is_cut(grid, rows, columns):
    chunks = _partition(rows, grid.height), _partition(columns, grid.width)
    owned = [tile for _, chunk in chunk_windows(*chunks) for tile in grid.owned(chunk)]
    assert sorted(owned) == sorted(grid.window(top, left) for top in grid.rows for left in grid.columns)


@given(grids)
def test_tile_weights_sum_to_one_over_the_scene(grid):
    total = np.zeros((grid.height, grid.width))
    for tile in grid.owned(Window(0, grid.height, 0, grid.width)):
        total[tile.slices] += grid.weight(tile)
    np.testing.assert_allclose(total, 1, atol=1e-12)


def test_windows_meet_grow_and_move():
    window = Window(2, 5, 3, 9)
    assert window.shape == (3, 6)
    assert window.grow(4, height=8, width=20) == Window(0, 8, 0, 13)
    assert window.intersection(Window(4, 9, 0, 4)) == Window(4, 5, 3, 4)
    assert window.intersection(Window(5, 9, 0, 4)) is None
    assert window.within(Window(1, 8, 3, 9)) == Window(1, 4, 0, 6)
    assert cover([window, Window(4, 9, 0, 4)]) == Window(2, 9, 0, 9)


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (250, 16), (64, 33), (64, -1)])
def test_impossible_grids_are_refused(tile, overlap):
    with pytest.raises(UsageError, match=r"--tile|--overlap"):
        TileGrid(100, 100, tile, overlap)


def _partition(sizes, length):
    parts = []
    while sum(parts) < length:
        parts.append(min(sizes[len(parts) % len(sizes)], length - sum(parts)))
    return tuple(parts)
