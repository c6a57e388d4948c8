import dask.array as da
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.restoration.graph import Call, as_array, tasks, windows
from cloudfix.restoration.tiles import Window

sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5).map(tuple)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.integers(0, 12))
def test_a_call_sees_exactly_its_window(rows, columns, halo):
    height, width = sum(rows), sum(columns)
    pixels = np.arange(2 * height * width).reshape(2, height, width)
    array = da.from_array(pixels, chunks=((2,), rows, columns))

    def core(window):
        return lambda block: block[:, *window.within(window.grow(halo, height, width)).slices]

    other = (2,) * (height // 2) + (1,) * (height % 2), (width,)
    calls = {
        (0, *index): Call(core(window), ((array, window.grow(halo, height, width)),))
        for index, window in windows(other).items()
    }
    result = as_array("test", tasks("test", calls), other, array.dtype, bands=2)
    np.testing.assert_array_equal(result.compute(scheduler="synchronous"), pixels)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.data())
def test_a_mosaic_is_the_array_it_stands_for(rows, columns, data):
    height, width = sum(rows), sum(columns)
    pixels = np.arange(3 * height * width, dtype=np.uint16).reshape(3, height, width)
    array = da.from_array(pixels, chunks=((3,), rows, columns))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    window = Window(top, data.draw(st.integers(top + 1, height)), left, data.draw(st.integers(left + 1, width)))
    inner = window.within(window)
    inner = Window(inner.bottom // 3, inner.bottom, inner.right // 2, inner.right)

    def look(mosaic):
        expected = pixels[:, *window.slices]
        assert (mosaic.shape, mosaic.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(mosaic[1], expected[1])
        np.testing.assert_array_equal(mosaic[:, *inner.slices], expected[:, *inner.slices])
        return mosaic[:, :, :]

    graph = tasks("look", {(0, 0, 0): Call(look, ((array, window),), lazy=True)})
    chunks = ((window.shape[0],), (window.shape[1],))
    found = as_array("look", graph, chunks, array.dtype, bands=3).compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, pixels[:, *window.slices])


def test_results_of_other_tasks_come_last():
    array = da.zeros((1, 4, 4), chunks=2)
    below = tasks(
        "below", {(k,): Call(lambda block, k=k: k + block.sum(), ((array, Window(0, 4, 0, 4)),)) for k in (1, 2)}
    )
    calls = {
        (0, 0, 0): Call(
            lambda block, others: block + sum(others), ((array, Window(1, 3, 1, 3)),), (("below", 1), ("below", 2))
        )
    }
    result = as_array("above", tasks("above", calls, below), ((2,), (2,)), array.dtype, bands=1)
    np.testing.assert_array_equal(result.compute(), np.full((1, 2, 2), 3))
