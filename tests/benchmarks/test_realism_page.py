from __future__ import annotations

import numpy as np
import rasterio

from benchmarks.realism.page import SIDE, write_page


def pictures(path, sizes, above=0.0, below=1.0):
    made = [[np.full((3, size, size + 5), value, np.float32) for size in sizes] for value in (above, below)]
    write_page(path, *made)
    with rasterio.open(path) as file:
        return file.read()


def test_one_kind_is_above_the_other_in_columns_of_the_same_place(tmp_path) -> None:
    page = pictures(tmp_path / "page.png", [200] * 20)
    step = SIDE + 4
    assert page.shape == (3, 4 * step - 4, 4 * step - 4)
    for row, value in enumerate((0, 255, 0, 255)):
        assert (page[:, row * step : row * step + SIDE, :SIDE] == value).all()
    assert (page[:, SIDE : SIDE + 4] == 255).all()


def test_images_too_small_are_left_out_unless_all_are(tmp_path) -> None:
    mixed = pictures(tmp_path / "mixed.png", [50, 200, 60])
    assert (mixed[:, :SIDE, :SIDE] == 0).all()
    assert (mixed[:, :SIDE, SIDE:] == 255).all()
    small = pictures(tmp_path / "small.png", [50, 60])
    assert (small[:, :50, :50] == 0).all()
    assert (small[:, 50:SIDE, :SIDE] == 255).all()
