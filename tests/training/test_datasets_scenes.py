from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.errors import CloudfixWarning, DataError
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets import open_dataset
from cloudfix.training.datasets.scenes import SIDE, _spans

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.training.datasets import Dataset

pytestmark = pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
SPLITS = ("train", "validation", "test")


@pytest.fixture
def windows_of_16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudfix.training.datasets.scenes.SIDE", 16)


def dn(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        return file.read()


def placed(dataset: Dataset) -> dict[tuple[int, int], np.ndarray[Any, Any]]:
    samples = [dataset[index] for index in range(len(dataset))]
    return {tuple(map(int, sample.name.split("_")[-2:])): sample.clear for sample in samples}


@given(st.integers(1, 30000))
def test_windows_cover_a_side_without_overlap(length: int) -> None:
    spans = _spans(length)
    assert [position for span in spans for position in (span.start, span.stop)][1:-1] == [
        edge for span in spans[:-1] for edge in (span.stop, span.stop)
    ]
    assert (spans[0].start, spans[-1].stop) == (0, length)
    assert all(SIDE <= span.stop - span.start < 2 * SIDE for span in spans) or length < SIDE


@pytest.mark.usefixtures("windows_of_16")
def test_blocks_of_one_scene_cover_it_in_reflectance(dataset_files: Any) -> None:
    path = dataset_files.sentinel_2("clear.tif", side=70)
    opened = [open_dataset("scenes", path, split) for split in SPLITS]
    assert [len(dataset) for dataset in opened] == [10, 2, 4]
    whole = np.full((13, 70, 70), np.nan)
    for dataset in opened:
        for (top, left), image in placed(dataset).items():
            part = whole[:, top : top + image.shape[1], left : left + image.shape[2]]
            assert np.isnan(part).all()
            part[:] = image
    np.testing.assert_allclose(whole, dn(path) / 1e4, atol=1e-6)
    sample = opened[0][0]
    assert sample.cloudy is sample.mask is sample.sar is None
    assert (sample.slots, opened[0].slots) == (SLOTS, SLOTS)


@pytest.mark.usefixtures("windows_of_16")
def test_dates_of_one_place_keep_the_same_ground_for_the_test(dataset_files: Any) -> None:
    for date in ("2023-08-01", "2023-08-11"):
        dataset_files.sentinel_2(f"s2_{date}.tif", side=48)
    grounds = [{*placed(open_dataset("scenes", dataset_files.root, split))} for split in SPLITS]
    assert not grounds[0] & grounds[1]
    assert not (grounds[0] | grounds[1]) & grounds[2]
    assert len(grounds[0] | grounds[1] | grounds[2]) == 9


@pytest.mark.usefixtures("windows_of_16")
def test_many_scenes_are_split_whole(dataset_files: Any) -> None:
    for number in range(10):
        dataset_files.sentinel_2(f"sub{number % 2}/scene{number}.tif", side=32)
    with pytest.warns(CloudfixWarning, match=r"13 bands without names.*\(and 6 more scenes alike\)"):
        opened = [open_dataset("scenes", dataset_files.root, "train")]
    opened += [open_dataset("scenes", dataset_files.root, split) for split in SPLITS[1:]]
    regions = [{*dataset.regions()} for dataset in opened]
    assert list(map(len, opened)) == [28, 4, 8]
    assert list(map(len, regions)) == [7, 1, 2]
    assert len(set.union(*regions)) == 10


@pytest.mark.usefixtures("windows_of_16")
def test_named_scenes_are_held_back_though_they_are_few(dataset_files: Any) -> None:
    for name in ("a", "b", "c"):
        dataset_files.sentinel_2(f"{name}.tif", side=32)
    opened = {
        split: open_dataset("scenes", dataset_files.root, split, validation=["a"], test=["c"]) for split in SPLITS
    }
    assert [{*dataset.regions()} for dataset in opened.values()] == [{"b"}, {"a"}, {"c"}]


@pytest.mark.usefixtures("windows_of_16")
def test_windows_with_nodata_are_left_out_but_dark_ones_are_not(dataset_files: Any) -> None:
    path = dataset_files.sentinel_2("clear.tif", side=64)
    with rasterio.open(path, "r+") as file:
        values = file.read()
        values[:, 20, 3] = 0
        values[:11, 3, 20] = 0
        file.write(values)
        file.nodata = 0
    with pytest.warns(CloudfixWarning, match="1 of 10 windows hold nodata and are left out"):
        images = placed(open_dataset("scenes", path, "train"))
    assert (16, 0) not in images
    assert images[0, 16][0, 3, 4] == 0
    values[:] = 0
    values[:, ::16, ::16] = 500
    with rasterio.open(path, "r+") as file:
        file.write(values)
    with pytest.raises(DataError, match="each of the 10 windows holds nodata"):
        open_dataset("scenes", path, "train")


@pytest.mark.usefixtures("windows_of_16")
def test_a_picture_in_a_geotiff_is_a_scene_too(dataset_files: Any) -> None:
    values = np.arange(3 * 48 * 48).reshape(3, 48, 48).astype(np.uint8)
    path = dataset_files.picture("photo.tif", values=values)
    dataset = open_dataset("scenes", path, "train")
    assert (len(dataset), dataset.slots) == (6, ("red", "green", "blue"))
    np.testing.assert_allclose(dataset[1].clear * 255, values[:, :16, 16:32], atol=1e-4)


@pytest.mark.usefixtures("windows_of_16")
def test_bands_in_files_of_their_own_are_one_scene_per_product(dataset_files: Any) -> None:
    for date in ("20230815", "20230818"):
        for band in ("B02", "B03", "B04", "B08"):
            dataset_files.sentinel_2(f"S2A_33TWL_{date}_0_L2A_{band}.tif", bands=1, side=32)
    listed = dataset_files.root / "clear.txt"
    listed.write_text("\n".join(path.name for path in dataset_files.root.glob("*15*.tif")), encoding="utf-8")
    assert len(open_dataset("scenes", listed, "train")) == 2
    dataset = open_dataset("scenes", dataset_files.root, "train")
    assert dataset.slots == ("blue", "green", "red", "nir")
    sample = dataset[0]
    expected = dn(dataset_files.root / "S2A_33TWL_20230815_0_L2A_B04.tif")[0, :16, :16] / 1e4
    np.testing.assert_allclose(sample.clear[2], expected, atol=1e-6)


@pytest.mark.usefixtures("windows_of_16")
def test_damage_is_named_when_opened_and_when_read(dataset_files: Any) -> None:
    good = dataset_files.sentinel_2("good.tif", side=32)
    bad = dataset_files.sentinel_2("bad.tif", side=32)
    bad.write_bytes(good.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"bad.tif: truncated.*\[1 of 2 in"):
        open_dataset("scenes", dataset_files.root, "train")
    with pytest.warns(CloudfixWarning, match=r"1 of 2 left out: .*bad.tif: truncated"):
        dataset = open_dataset("scenes", dataset_files.root, "train", unreadable="skip")
    good.write_bytes(good.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"good.tif: cannot be read at rows"):
        for index in range(len(dataset)):
            dataset[index]


@pytest.mark.usefixtures("windows_of_16")
def test_data_sets_travel_to_the_processes_that_load(dataset_files: Any) -> None:
    path = dataset_files.sentinel_2("clear.tif", side=40)
    dataset = open_dataset("scenes", path, "train", resize=8)
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own bytes
    np.testing.assert_array_equal(again[1].clear, dataset[1].clear)
    assert again[1].clear.shape == (13, 8, 8)


def test_a_folder_without_scenes_is_refused(dataset_files: Any) -> None:
    dataset_files.picture("notes/picture.png")
    with pytest.raises(DataError, match=r"no .tif, .tiff, .jp2, .vrt in it or below; expected scenes"):
        open_dataset("scenes", dataset_files.root, "train")


def test_a_real_scene_of_band_files(real_data: Path) -> None:
    dataset = open_dataset("scenes", real_data / "scene_l8_cloudy", "train")
    sample = dataset[0]
    assert sample.slots == ("coastal", "blue", "green", "red", "nir08", "cirrus", "swir16", "swir22")
    assert sample.clear.shape == (8, 301, 313)
    assert 0 <= sample.clear.min() < sample.clear.max() < 1.5
