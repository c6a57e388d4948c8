from __future__ import annotations

import os
import sys
import types
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cloudfix.clouds.spectral import cloud_shadow_mask
from cloudfix.errors import CloudfixWarning, DataError, UsageError
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets import open_dataset
from cloudfix.training.datasets.sen12mscr import TEST, VALIDATION

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")


@pytest.fixture
def root(dataset_files: Any) -> Path:
    """Training regions 5 and 12 of two patches each, one region that validates, one that tests."""
    for season, region in (("ROIs1158_spring", 5), ("ROIs2017_winter", 12)):
        for patch in (30, 4):
            dataset_files.triplet(season, region, patch)
    dataset_files.triplet("ROIs1868_summer", 19, 7)
    dataset_files.triplet("ROIs1970_fall", 139, 7)
    return dataset_files.root


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        return file.read()


def kept(root: Path) -> list[Path]:
    return sorted((root / "cloudfix-masks").rglob("*.png"))


def test_the_published_split_is_whole() -> None:
    assert (len(TEST), len(VALIDATION)) == (10, 10)
    assert not TEST & VALIDATION


@pytest.mark.parametrize("suffixed", [True, False])
def test_both_layouts_give_triplets_in_the_published_split(dataset_files: Any, suffixed: bool) -> None:
    for season, region in (("ROIs1158_spring", 5), ("ROIs1868_summer", 19), ("ROIs1970_fall", 139)):
        for patch in (30, 4):
            dataset_files.triplet(season, region, patch, suffixed=suffixed)
    opened = {split: open_dataset("sen12mscr", dataset_files.root, split) for split in ("train", "validation", "test")}
    assert [dataset.regions() for dataset in opened.values()] == [
        ("ROIs1158_spring_5",) * 2,
        ("ROIs1868_summer_19",) * 2,
        ("ROIs1970_fall_139",) * 2,
    ]
    sample = opened["train"][0]
    assert sample.name == "ROIs1158_spring_5_p4"
    ends = [f"{role}_5/ROIs1158_spring_{role}_5_p4.tif" for role in ("s2", "s2_cloudy", "s1")]
    clear, cloudy, sar = (pixels(next(dataset_files.root.rglob(end))) for end in ends)
    np.testing.assert_allclose(sample.clear, clear / 1e4, atol=1e-6)
    np.testing.assert_allclose(sample.cloudy, cloudy / 1e4, atol=1e-6)
    assert sample.slots == SLOTS
    assert np.isnan(sample.sar[:, 0, 0]).all()
    np.testing.assert_array_equal(sample.sar[:, 1:], sar[:, 1:])


def test_masks_are_made_once_and_kept_beside(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset("sen12mscr", root, "train")
    sample = dataset[0]
    expected = cloud_shadow_mask(dict(zip(SLOTS, sample.cloudy, strict=True)))
    np.testing.assert_array_equal(sample.mask, expected != 0)
    assert 0 < sample.mask.mean() < 1
    (path,) = kept(root)
    assert path.relative_to(root).parts == (
        "cloudfix-masks", "dsen2-cr", "ROIs1158_spring_5", "ROIs1158_spring_5_p4.png",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = pixels(path)[0]
    np.testing.assert_array_equal(values, np.choose(expected + 1, [128, 0, 255]))
    monkeypatch.setattr("cloudfix.clouds.spectral.classes", lambda *_, **__: pytest.fail("made twice"))
    np.testing.assert_array_equal(open_dataset("sen12mscr", root, "train")[0].mask, sample.mask)


def test_masks_follow_their_image_and_survive_damage(root: Path) -> None:
    dataset = open_dataset("sen12mscr", root, "train")
    before = dataset[0].mask
    (path,) = kept(root)
    path.write_bytes(path.read_bytes()[:40])
    np.testing.assert_array_equal(dataset[0].mask, before)
    cloudy = next(root.rglob("ROIs1158_spring_s2_cloudy_5_p4.tif"))
    clear = next(root.rglob("ROIs1158_spring_s2_5_p4.tif"))
    cloudy.write_bytes(clear.read_bytes())
    later = path.stat().st_mtime + 10
    os.utime(cloudy, (later, later))
    assert not np.array_equal(dataset[0].mask, before)


def test_masks_of_write_protected_originals_go_to_the_cache(root: Path, tmp_path: Path) -> None:
    root.chmod(0o555)
    try:
        with pytest.warns(CloudfixWarning, match="is write-protected, so that cloud masks are kept in"):
            open_dataset("sen12mscr", root, "train")[0]
    finally:
        root.chmod(0o755)
    assert not kept(root)
    assert len(list((tmp_path / "cache" / "cloudfix" / "masks").rglob("*.png"))) == 1


def test_s2cloudless_masks_when_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"pip install 'cloudfix\[s2cloudless\]'"):
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        open_dataset("sen12mscr-s2cloudless", root, "train")

    class Detector:
        def get_cloud_probability_maps(self, spectra: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return (spectra[..., 2] > 0.1).astype(np.float32)

    module = types.ModuleType("s2cloudless")
    module.S2PixelCloudDetector = Detector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "s2cloudless", module)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: module)
    monkeypatch.setattr("cloudfix.clouds.s2cloudless._detector", Detector)
    assert open_dataset("sen12mscr-s2cloudless", root, "train")[0].mask.any()
    assert {path.parts[-3] for path in kept(root)} == {"s2cloudless"}


def test_the_flat_layout_with_and_without_radar(dataset_files: Any) -> None:
    for number in range(10):
        for role in ("s2_clear", "s2_cloudy"):
            dataset_files.sentinel_2(f"id_{number}_{role}.tif")
    dataset_files.sentinel_1("id_3_s1.tif")
    with pytest.warns(CloudfixWarning, match="6 of 7 pairs of this split have no Sentinel-1 image"):
        dataset = open_dataset("sen12mscr", dataset_files.root, "train")
    assert dataset.regions() == tuple(f"id_{number}" for number in range(7))
    assert dataset[3].sar is not None
    assert dataset[2].sar is None


def test_what_is_wrong_is_named(root: Path, dataset_files: Any) -> None:
    cloudy = next(root.rglob("ROIs1158_spring_s2_cloudy_5_p4.tif"))
    whole = cloudy.read_bytes()
    dataset_files.sentinel_2(str(cloudy.relative_to(root)), bands=12)
    with pytest.raises(DataError, match=r"5_p4.tif: 12 bands; expected 13, the bands of Sentinel-2 L1C"):
        open_dataset("sen12mscr", root, "train")
    dataset_files.sentinel_2(str(cloudy.relative_to(root)), side=12)
    with pytest.raises(DataError, match=r"5_p4.tif: another size than"):
        open_dataset("sen12mscr", root, "train")
    cloudy.write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"s2_cloudy_5_p4.tif: truncated"):
        open_dataset("sen12mscr", root, "train")
    cloudy.unlink()
    with pytest.raises(DataError, match=r"5_p4.tif: has no partner of that name"):
        open_dataset("sen12mscr", root, "train")
    assert len(open_dataset("sen12mscr", root, "train", unreadable="skip")) == 3


def test_a_folder_of_other_things_is_refused(dataset_files: Any) -> None:
    dataset_files.sentinel_2("scene.tif")
    with pytest.raises(DataError, match=r"no SEN12MS-CR in it; expected folders such as ROIs1158_spring_s2_cloudy"):
        open_dataset("sen12mscr", dataset_files.root, "train")


def test_real_triplets(real_data: Path, dataset_files: Any) -> None:
    originals = real_data / "sen12mscr"
    opened = [open_dataset("sen12mscr", originals, split) for split in ("train", "validation", "test")]
    assert sum(map(len, opened)) == 23
    regions = [{*dataset.regions()} for dataset in opened]
    assert not regions[0] & regions[1]
    assert not (regions[0] | regions[1]) & regions[2]
    held_back = open_dataset("sen12mscr", originals, "test", test=["savanna"])
    assert [held_back[index].name[-4:] for index in range(len(held_back))] == ["5254", "5278", "5349"]
    sample = held_back[0]
    assert sample.clear.shape == (13, 256, 256)
    assert sample.sar.shape == (2, 256, 256)
    assert 0.1 < sample.mask.mean() < 1
    # under the mask there is light that the ground does not send
    assert sample.cloudy[1][sample.mask].mean() > sample.clear[1][sample.mask].mean() + 0.05
    assert not (originals / "cloudfix-masks").exists()
