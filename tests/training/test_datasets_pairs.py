from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio

from cloudfix.errors import CloudfixWarning, DataError, UsageError
from cloudfix.sensors import SLOTS
from cloudfix.training.datasets import names, open_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from cloudfix.training.datasets import Dataset, Sample

pytestmark = pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")
NUMBERS = (2, 10, 9, 33, 100, 7, 41, 55, 8, 61)
SPLITS = ("train", "validation", "test")


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path) as file:
            return file.read()


def named(dataset: Dataset) -> list[str]:
    return [dataset[index].name for index in range(len(dataset))]


def same(first: Sample, second: Sample) -> bool:
    arrays = ("clear", "cloudy", "mask", "sar", "thickness")
    return (first.name, first.slots, first.region) == (second.name, second.slots, second.region) and all(
        np.array_equal(getattr(first, key), getattr(second, key), equal_nan=key == "sar")
        for key in arrays
        if getattr(first, key) is not None or getattr(second, key) is not None
    )


def test_rice_1_in_contiguous_blocks_of_numbers(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    opened = [open_dataset("rice1", root, split) for split in SPLITS]
    assert list(map(named, opened)) == [["2", "7", "8", "9", "10", "33", "41"], ["55"], ["61", "100"]]
    sample = opened[0][0]
    np.testing.assert_allclose(sample.clear * 255, pixels(root / "label" / "2.png"), atol=1e-4)
    np.testing.assert_allclose(sample.cloudy * 255, pixels(root / "cloud" / "2.png"), atol=1e-4)
    assert sample.slots == opened[0].slots == ("red", "green", "blue")
    assert sample.clear.dtype == sample.cloudy.dtype == np.float32
    assert sample.mask is sample.sar is sample.thickness is None


def test_rice_is_found_in_the_folder_above_and_its_size_said(dataset_files: Any) -> None:
    dataset_files.pairs("RICE2", NUMBERS)
    with pytest.warns(CloudfixWarning, match=r"10 of the 736 pairs of rice2; results do not compare"):
        assert len(open_dataset("rice2", dataset_files.root, "train")) == 7


def test_both_of_rice_hold_back_blocks_of_their_own(dataset_files: Any) -> None:
    dataset_files.pairs("rice/RICE1", range(10))
    dataset_files.pairs("rice/RICE2", NUMBERS)
    opened = [open_dataset("rice", dataset_files.root, split) for split in SPLITS]
    assert list(map(named, opened)) == [
        [*(f"RICE1_{number}" for number in range(7)), *(f"RICE2_{number}" for number in (2, 7, 8, 9, 10, 33, 41))],
        ["RICE1_7", "RICE2_55"],
        ["RICE1_8", "RICE1_9", "RICE2_61", "RICE2_100"],
    ]


def test_one_part_of_rice_is_not_both(dataset_files: Any) -> None:
    dataset_files.pairs("RICE1", range(10))
    with pytest.raises(DataError, match=r"no RICE2/ in it; name the one part as rice1 or rice2"):
        open_dataset("rice", dataset_files.root, "train")


def test_rice_2_has_masks_where_they_are(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE2", range(5))
    assert open_dataset("rice2", root, "train")[0].mask is None
    values = np.zeros((1, 20, 20), np.uint8)
    values[0, 3], values[0, 4] = 128, 255
    for number in range(5):
        dataset_files.picture(f"RICE2/mask/{number}.png", values=values)
    mask = open_dataset("rice2", root, "train")[0].mask
    assert mask.dtype == bool
    assert np.flatnonzero(mask.any(axis=1)).tolist() == [3, 4]


def test_a_mask_of_wrong_values_is_refused(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE2", range(5))
    for number in range(5):
        values = np.full((1, 20, 20), 255 if number else 130, np.uint8)
        dataset_files.picture(f"RICE2/mask/{number}.png", values=values)
    with pytest.raises(DataError, match=r"mask/0.png: values 130 in a mask; expected 0 clear, 128 shadow, 255 cloud"):
        open_dataset("rice2", root, "train")
    dataset_files.picture("RICE2/mask/0.png", values=np.zeros((1, 20, 20), np.uint8))
    dataset_files.picture("RICE2/mask/1.png", values=np.full((1, 20, 20), 77, np.uint8))
    with pytest.raises(DataError, match=r"mask/1.png: values 77 in a mask"):
        open_dataset("rice2", root, "train")[1]


@pytest.mark.parametrize(
    ("cloudy", "clear"),
    [("cloud", "reference"), ("haze", "GT"), ("input", "target"), ("hazy", "label"), ("Cloudy", "gt")],
)
def test_t_cloud_under_any_folder_names(dataset_files: Any, cloudy: str, clear: str) -> None:
    for part, count in (("train", 20), ("test", 4)):
        dataset_files.pairs(f"T-CLOUD/{part}", range(count), cloudy, clear)
    with pytest.warns(CloudfixWarning, match=f"T-CLOUD: the pairs in {cloudy}/ and {clear}/ are taken"):
        opened = [open_dataset("t-cloud", dataset_files.root / "T-CLOUD", split) for split in SPLITS]
    assert named(opened[2]) == [f"test_{number}" for number in range(4)]
    assert named(opened[1]) == ["train_18", "train_19"]
    assert len(opened[0]) == 18


def test_satehaze1k_by_level_and_whole(dataset_files: Any) -> None:
    root = dataset_files.root / "Haze1k"
    for level in ("thin", "moderate", "thick"):
        for part, count in (("train", 4), ("valid", 2), ("test", 3)):
            for number in range(count):
                dataset_files.picture(f"Haze1k/Haze1k_{level}/{part}/input/{number}-inputs.png")
                dataset_files.picture(f"Haze1k/Haze1k_{level}/{part}/target/{number}-targets.png")
    assert [len(open_dataset("satehaze1k", root, split)) for split in SPLITS] == [12, 6, 9]
    thick = open_dataset("satehaze1k-thick", root, "validation")
    assert named(thick) == ["thick_valid_0", "thick_valid_1"]
    np.testing.assert_allclose(thick[1].cloudy * 255, pixels(root / "Haze1k_thick/valid/input/1-inputs.png"), atol=1e-4)
    assert len(open_dataset("satehaze1k-thin", root / "Haze1k_thin", "train")) == 4


def test_simulated_pairs_have_their_thickness(dataset_files: Any) -> None:
    root = dataset_files.pairs("out", range(5))
    with pytest.raises(DataError, match=r"no thickness/ in it"):
        open_dataset("simulated", root, "train")
    for number in range(5):
        values = np.full((1, 20, 20), 65535 // (number + 1), np.uint16)
        dataset_files.picture(f"out/thickness/{number}.png", values=values)
    sample = open_dataset("simulated", root, "train")[1]
    assert sample.thickness.shape == (20, 20)
    assert sample.thickness.max() == pytest.approx(0.5, abs=1e-4)


def test_pictures_by_the_ends_of_their_names(dataset_files: Any) -> None:
    for number in range(5):
        dataset_files.picture(f"mine/scene{number}_cloudy.png")
        dataset_files.picture(f"mine/scene{number}_clear.png")
    sample = open_dataset("pairs", dataset_files.root / "mine", "train")[2]
    assert sample.name == "scene2"
    np.testing.assert_allclose(sample.clear * 255, pixels(dataset_files.root / "mine/scene2_clear.png"), atol=1e-4)


def multispectral(files: Any, **profile: object) -> Path:
    for number in range(5):
        files.sentinel_2(f"s2/place{number}_cloudy.tif", bright=True, **profile)
        files.sentinel_2(f"s2/place{number}_clear.tif", **profile)
        files.sentinel_1(f"s2/place{number}_s1.tif")
    return files.root / "s2"


def test_multispectral_pairs_in_reflectance_with_radar_and_mask(dataset_files: Any) -> None:
    root = multispectral(dataset_files)
    (root / "place1_s1.tif").unlink()
    dataset = open_dataset("pairs", root, "train")
    sample = dataset[0]
    assert sample.slots == dataset.slots == SLOTS
    np.testing.assert_allclose(sample.clear, pixels(root / "place0_clear.tif") / 1e4, atol=1e-6)
    assert sample.mask[10, 10]
    assert not sample.mask[-1, -1]
    assert sample.sar.shape == (2, 24, 24)
    np.testing.assert_array_equal(sample.sar[:, 1:], pixels(root / "place0_s1.tif")[:, 1:])
    assert dataset[1].sar is None
    assert len(list((root / "cloudfix-masks" / "dsen2-cr").glob("*.png"))) == 2


def test_an_archive_unpacked_into_a_folder_of_its_own(dataset_files: Any) -> None:
    multispectral(dataset_files)
    first = open_dataset("pairs", dataset_files.root, "train")
    mask = first[0].mask
    assert (dataset_files.root / "cloudfix-masks").is_dir()
    np.testing.assert_array_equal(open_dataset("pairs", dataset_files.root, "train")[0].mask, mask)


def test_offsets_that_a_file_states_are_taken_out(dataset_files: Any) -> None:
    root = multispectral(dataset_files)
    with rasterio.open(root / "place0_clear.tif", "r+") as file:
        file.update_tags(RADIO_ADD_OFFSET="-1000")
    sample = open_dataset("pairs", root, "train")[0]
    expected = (pixels(root / "place0_clear.tif") / 1e4 - 0.1).clip(0)
    np.testing.assert_allclose(sample.clear, expected, atol=1e-6)
    np.testing.assert_allclose(sample.cloudy, pixels(root / "place0_cloudy.tif") / 1e4, atol=1e-6)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -9999])
def test_no_data_is_zero_in_both_images_and_finite(dataset_files: Any, hole: float) -> None:
    root = dataset_files.root / "holes"
    for number in range(3):
        for role in ("cloudy", "clear"):
            path = root / f"x{number}_{role}.tif"
            values = dataset_files.random(path).uniform(0.01, 1.3, (13, 24, 24)).astype(np.float32)
            values[3, 5, 6 if role == "clear" else 7] = hole
            path.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(path, "w", height=24, width=24, count=13, dtype="float32", nodata=-9999) as file:
                file.write(values)
    sample = open_dataset("pairs", root, "train")[0]
    for image in (sample.clear, sample.cloudy):
        assert np.isfinite(image).all()
        assert np.argwhere((image == 0).all(axis=0)).tolist() == [[5, 6], [5, 7]]
    assert not sample.mask[5, 6:8].any()
    assert sample.clear.max() > 1.2


def test_resized_samples_keep_their_means_and_sharp_masks(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE2", range(5))
    values = np.zeros((1, 20, 20), np.uint8)
    values[0, :10] = 255
    for number in range(5):
        dataset_files.picture(f"RICE2/mask/{number}.png", values=values)
    whole, small = (open_dataset("rice2", root, "train", resize=side)[0] for side in (None, 5))
    assert small.clear.shape == small.cloudy.shape == (3, 5, 5)
    assert small.mask.tolist() == [[row < 2] * 5 for row in range(5)]
    np.testing.assert_allclose(small.clear.mean(), whole.clear.mean(), atol=0.02)
    # without a filter against aliasing three pixels in four would be left out, and half of the noise stay
    assert small.clear.std() < 0.35 * whole.clear.std()


def test_named_regions_are_the_split(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    opened = {s: open_dataset("rice1", root, s, validation=["2"], test=["7", "100"]) for s in SPLITS}
    assert [opened[split].regions() for split in SPLITS[1:]] == [("2",), ("7", "100")]
    assert len(opened["train"]) == 7
    with pytest.raises(UsageError, match=r"data.validation=3: no such region"):
        open_dataset("rice1", root, "train", validation=["3"])


def test_the_same_bytes_give_the_same_samples(dataset_files: Any) -> None:
    roots = [dataset_files.pairs("RICE1", NUMBERS), multispectral(dataset_files)]
    for name, root in zip(("rice1", "pairs"), roots, strict=True):
        first, again = (open_dataset(name, root, "train", resize=17) for _ in range(2))
        assert first.regions() == again.regions()
        for index in reversed(range(len(first))):
            # the second time the mask comes from its file
            assert same(first[index], again[index])


def test_unpaired_files_are_counted_and_named_or_left_out(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    (root / "label" / "9.png").unlink()
    (root / "cloud" / "41.png").unlink()
    with pytest.raises(
        DataError, match=r"cloud/9.png: has no partner.*\[2 of 10 in .*RICE1 .*unreadable=skip"
    ) as error:
        open_dataset("rice1", root, "train")
    assert "\n" not in str(error.value)
    with pytest.warns(CloudfixWarning, match=r"2 of 10 left out: .*9.png: has no partner.* \| .*41.png"):
        dataset = open_dataset("rice1", root, "train", unreadable="skip")
    assert named(dataset) == ["2", "7", "8", "10", "33"]


def test_two_files_for_one_place_are_refused(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    dataset_files.picture("RICE1/cloud/9_input.png")
    with pytest.raises(DataError, match=r"is named for the same pair; keep one of the two"):
        open_dataset("rice1", root, "train")


def test_missing_and_empty_folders_are_named(dataset_files: Any, tmp_path: Path) -> None:
    for name in names():
        with pytest.raises(DataError, match="no such folder"):
            open_dataset(name, tmp_path / "nowhere", "train")
    (tmp_path / "empty").mkdir()
    for name in (*names(), None):
        with pytest.raises(DataError, match=r"empty: is empty; download|thickness"):
            open_dataset(name, tmp_path / "empty", "train")
    root = dataset_files.pairs("RICE1", NUMBERS)
    for path in (root / "label").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"RICE1/label: no PNG or GeoTIFF in it; expected the clear images"):
        open_dataset("rice1", root, "train")
    (root / "label").rmdir()
    with pytest.raises(DataError, match=r"no pairs in it; expected folders cloud/cloudy/haze.* against label/"):
        open_dataset("rice1", root, "train")


def test_mixed_sizes_are_named(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    dataset_files.pairs("RICE1", [9], side=16)
    with pytest.raises(DataError, match=r"9.png: 16 × 16 pixels, but most \(6 of 7\) have 20 × 20"):
        open_dataset("rice1", root, "train")
    assert open_dataset("pairs", root, "train")[3].clear.shape == (3, 16, 16)
    dataset_files.picture("RICE1/cloud/9.png")
    with pytest.raises(DataError, match=r"cloud/9.png: 20 × 20 pixels, but .*label/9.png has 16 × 16"):
        open_dataset("pairs", root, "train")


def test_wrong_numbers_of_bands_are_named(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", NUMBERS)
    dataset_files.picture("RICE1/label/8.png", values=np.zeros((1, 20, 20), np.uint8))
    with pytest.raises(DataError, match=r"label/8.png: 1 bands; expected 3, red, green and blue"):
        open_dataset("rice1", root, "train")
    root = multispectral(dataset_files)
    dataset_files.sentinel_2("s2/place1_cloudy.tif", bands=12)
    with pytest.raises(DataError, match=r"place1_cloudy.tif: 12 bands; expected 13, as in place1_clear.tif"):
        open_dataset("pairs", root, "train")


@pytest.mark.parametrize("keep", [0, 20, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_truncated_file_among_many_is_named_or_left_out(dataset_files: Any, kind: str, keep: float) -> None:
    if kind == "png":
        root, path = dataset_files.pairs("RICE1", NUMBERS), dataset_files.root / "RICE1/cloud/9.png"
    else:
        root, path = multispectral(dataset_files), dataset_files.root / "s2/place1_clear.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(DataError, match=f"{path.name}: .*unreadable=skip") as error:
        open_dataset("pairs", root, "train")
    assert "\n" not in str(error.value)
    with pytest.warns(CloudfixWarning, match=f"1 of .* left out: .*{path.name}"):
        dataset = open_dataset("pairs", root, "train", unreadable="skip")
    assert path.stem.split("_")[0] not in named(dataset)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_damage_inside_a_file_is_named_when_it_is_read(dataset_files: Any, kind: str) -> None:
    if kind == "png":
        root, path, index = dataset_files.pairs("RICE1", NUMBERS), dataset_files.root / "RICE1/cloud/9.png", 3
        start = path.stat().st_size // 2
    else:
        root, index = multispectral(dataset_files, compress="deflate"), 1
        path = root / "place1_clear.tif"
        with rasterio.open(path) as file:
            start = int(file.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
    whole = bytearray(path.read_bytes())
    whole[start : start + 20] = bytes(20)
    path.write_bytes(whole)
    dataset = open_dataset("pairs", root, "train")
    assert np.isfinite(dataset[0].clear).all()
    with pytest.raises(DataError, match=f"{path.name}: cannot be read.*: damaged, truncated or gone") as error:
        dataset[index]
    assert "\n" not in str(error.value)


def test_of_very_many_files_some_are_looked_at(dataset_files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = dataset_files.pairs("RICE1", range(40))
    (root / "cloud" / "1.png").write_bytes(b"")
    monkeypatch.setattr("cloudfix.training.datasets.checks.MOST", 10)
    dataset = open_dataset("rice1", root, "train")
    with pytest.raises(DataError, match=r"cloud/1.png: cannot be read"):
        dataset[1]
    (root / "cloud" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cloud/0.png: is empty"):
        open_dataset("rice1", root, "train")


def test_patches_of_one_place_stay_together(dataset_files: Any) -> None:
    places = ("alps", "burgos", "cairo", "delft", "essen")
    root = dataset_files.pairs("mine", [f"{place}_p{patch}" for place in places for patch in range(3)])
    opened = [open_dataset("pairs", root, split).regions() for split in SPLITS]
    assert opened == [("alps",) * 3 + ("burgos",) * 3 + ("cairo",) * 3, ("delft",) * 3, ("essen",) * 3]


def test_an_empty_split_says_how_to_fill_it(dataset_files: Any) -> None:
    root = dataset_files.pairs("RICE1", [1])
    said = r"none of 1 images is in the test split; .*--split train, .*data.validation=.* and data.test="
    with pytest.raises(DataError, match=said):
        open_dataset("rice1", root, "test")


def test_real_rice(real_data: Path) -> None:
    for name, total in (("rice1", 78), ("rice2", 122)):
        opened = [open_dataset(name, real_data / "rice", split, resize=64) for split in SPLITS]
        numbers = [[int(region) for region in dataset.regions()] for dataset in opened]
        assert max(numbers[0]) < min(numbers[1]) <= max(numbers[1]) < min(numbers[2])
        assert sum(map(len, opened)) == total
        assert len(opened[2]) == -(-total // 5)
        sample = opened[1][0]
        assert sample.clear.shape == (3, 64, 64)
        assert 0 <= sample.clear.min() < sample.clear.max() <= 1
        assert sample.cloudy.mean() > sample.clear.mean()
