from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import dask
import dask.threaded
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.raster import pyramid, store, waves
from cloudfix.raster.cog import write_cog
from cloudfix.raster.scene import open_scene


@given(st.lists(st.integers(1, 6000), min_size=1, max_size=40))
def test_strips_are_runs_of_whole_chunks(widths):
    strips = list(store._strips(widths))
    assert strips[0].start == 0
    assert strips[-1].stop == sum(widths)
    assert all(a.stop == b.start for a, b in pairwise(strips))
    assert {strip.stop for strip in strips} <= set(np.cumsum(widths).tolist())
    assert all(strip.stop - strip.start <= max(store._STRIP, *widths) for strip in strips)


def test_strips_read_equally_much():
    """A scene of twice the width takes no more memory."""
    strips = [strip.stop - strip.start for strip in store._strips([512] * 40)]
    assert strips == [4096, *[3072] * 4, 4096]
    assert [strip.stop for strip in store._strips([512] * 10)] == [5120]


def test_strips_do_not_change_the_file(write_scene, tmp_path, monkeypatch):
    scene = open_scene(write_scene(40, 5000), chunks=500)
    write_cog(scene, tmp_path / "whole.tif")
    monkeypatch.setattr(store, "_STRIP", 2 * pyramid.CHUNK)
    monkeypatch.setattr(store, "_MARGIN", 0)
    seen = []
    plain = store._store_strip
    monkeypatch.setattr(store, "_store_strip", lambda *args: seen.append(args[-1]) or plain(*args))
    write_cog(scene, tmp_path / "strips.tif")
    assert [strip.stop for strip in seen] == [2048, 4096, 5000]
    assert (tmp_path / "strips.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_scheduler_of_ones_own_gives_the_same_file(write_scene, tmp_path):
    scene = open_scene(write_scene(), chunks=20)
    write_cog(scene, tmp_path / "here.tif")
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler=pool):
        write_cog(scene, tmp_path / "there.tif")
    assert (tmp_path / "there.tif").read_bytes() == (tmp_path / "here.tif").read_bytes()


class Tracked:
    """A result that tells how many of its kind there are."""

    alive = 0

    def __init__(self, *_):
        Tracked.alive += 1

    def __del__(self):
        Tracked.alive -= 1


@pytest.mark.parametrize("get", [dask.threaded.get, dask.get])
def test_waves_run_every_task_once_and_hold_what_two_of_them_share(get):
    """Each output asks for its own input and those of the rows above and below."""
    rows, ran, alive = 40, [], []

    def read(row):
        ran.append(row)
        return Tracked()

    def write(row, *inputs):
        assert all(isinstance(value, Tracked) for value in inputs)
        ran.append(("write", row))
        alive.append(Tracked.alive)

    graph = {("read", row): (read, row) for row in range(rows)}
    for row in range(rows):
        near = [("read", other) for other in range(max(row - 1, 0), min(row + 2, rows))]
        graph["write", row] = (write, row, *near)
        graph["other", row] = (write, row, *near)
    waves.run(graph, [[("write", row), ("write", row + 1)] for row in range(0, rows, 2)], get)
    assert len(ran) == len(set(ran)) == 2 * rows
    assert max(alive) <= 4
    assert Tracked.alive == 0
