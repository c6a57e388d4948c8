from itertools import pairwise

import dask.array as da
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.raster import store
from cloudfix.raster.cog import write_cog
from cloudfix.raster.scene import open_scene


@given(st.lists(st.integers(1, 6000), min_size=1, max_size=40))
def test_strips_are_runs_of_whole_chunks(widths):
    strips = list(store._strips(widths))
    assert strips[0].start == 0
    assert strips[-1].stop == sum(widths)
    assert all(a.stop == b.start for a, b in pairwise(strips))
    assert {strip.stop for strip in strips} <= set(np.cumsum(widths).tolist())
    assert all(strip.stop - strip.start <= max(4096, *widths) for strip in strips)


def test_strips_do_not_change_the_file(write_scene, tmp_path, monkeypatch):
    scene = open_scene(write_scene(), chunks=20)
    write_cog(scene, tmp_path / "whole.tif")
    monkeypatch.setattr(store, "_STRIP", 45)
    seen = []
    plain = da.store
    monkeypatch.setattr(da, "store", lambda *args, **kwargs: seen.append(kwargs["regions"]) or plain(*args, **kwargs))
    write_cog(scene, tmp_path / "strips.tif")
    assert len(seen) == -(-scene.sizes["x"] // 40) > 1
    assert (tmp_path / "strips.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
