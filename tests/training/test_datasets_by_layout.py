from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cloudfix.errors import CloudfixWarning, DataError, UsageError
from cloudfix.sensors import SLOTS
from cloudfix.training import corpus
from cloudfix.training.datasets import names, open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")


def rice(files: Any) -> Path:
    return files.pairs("RICE2", range(5))


def both_of_rice(files: Any) -> Path:
    files.pairs("RICE1", range(5))
    return rice(files).parent


def t_cloud(files: Any) -> Path:
    files.pairs("T-CLOUD/test", range(2))
    return files.pairs("T-CLOUD/train", range(5)).parent


def satehaze1k(files: Any) -> Path:
    for level in ("thin", "moderate", "thick"):
        for part in ("train", "valid", "test"):
            files.pairs(f"haze/Haze1k_{level}/{part}", range(2), "input", "target")
    return files.root / "haze"


def satehaze1k_thin(files: Any) -> Path:
    return satehaze1k(files) / "Haze1k_thin"


def sen12mscr(files: Any) -> Path:
    files.triplet("ROIs1158_spring", 5, 1)
    files.triplet("ROIs1158_spring", 6, 1)
    return files.root


def pairs(files: Any) -> Path:
    return files.pairs("mine", range(5), "hazy", "gt")


def simulated(files: Any) -> Path:
    for number in range(5):
        files.picture(f"mine/thickness/{number}.png", values=np.zeros((1, 20, 20), np.uint16))
    return files.pairs("mine", range(5))


def scenes(files: Any) -> Path:
    return files.sentinel_2("here/a.tif", side=32).parent


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (rice, "rice2"),
        (both_of_rice, "rice"),
        (t_cloud, "t-cloud"),
        (satehaze1k, "satehaze1k"),
        (satehaze1k_thin, "satehaze1k-thin"),
        (sen12mscr, "sen12mscr"),
        (pairs, "pairs"),
        (simulated, "simulated"),
        (scenes, "scenes"),
    ],
)
def test_layouts_are_recognised(dataset_files: Any, make: Callable[[Any], Path], name: str) -> None:
    root = make(dataset_files)
    with pytest.warns(CloudfixWarning, match=f"taken for {name} by its layout"):
        dataset = open_dataset(None, root, "train")
    assert dataset.name == name
    assert dataset.regions() == open_dataset(name, root, "train").regions()


def test_ambiguous_and_unknown_layouts_list_the_names(dataset_files: Any) -> None:
    dataset_files.pairs("RICE1", range(5))
    dataset_files.pairs("Haze1k_thin/train", range(5), "input", "target")
    with pytest.raises(DataError, match=r"looks like rice1 and satehaze1k-thin; name its data set, one of rice, rice1"):
        open_dataset(None, dataset_files.root, "train")
    (dataset_files.root / "notes").mkdir()
    (dataset_files.root / "notes" / "readme.md").touch()
    with pytest.raises(DataError, match=r"is laid out as no known data set; name its data set, one of rice, rice1"):
        open_dataset(None, dataset_files.root / "notes", "train")
    with pytest.raises(UsageError, match=r"data set rice3: unknown; use one of rice, rice1, rice2"):
        open_dataset("rice3", dataset_files.root, "train")


def test_pairs_beside_other_images_are_no_scenes(dataset_files: Any) -> None:
    dataset_files.sentinel_2("scene.tif")
    dataset_files.pairs("mine", range(5), "cloudy", "clear")
    with pytest.raises(DataError, match=r"is no data set itself, but has pairs in mine; name such a folder"):
        open_dataset(None, dataset_files.root, "train")
    assert open_dataset(None, dataset_files.root / "mine", "train").name == "pairs"


@pytest.mark.parametrize("folder", ["in/a/folder", "mine/train"])
def test_what_is_recognised_as_pairs_is_opened(dataset_files: Any, folder: str) -> None:
    dataset_files.pairs(folder, range(5), "cloudy", "clear")
    assert open_dataset(None, dataset_files.root, "train").name == "pairs"


def test_every_promised_name_is_there() -> None:
    promised = {
        "rice",
        "rice1",
        "rice2",
        "t-cloud",
        "satehaze1k",
        "sen12mscr",
        "pairs",
        "scenes",
        "corpus",
        "simulated",
    }
    assert promised <= {*names()}


def test_the_corpus_is_made_once_and_read_as_its_sources_are(
    dataset_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_files.sentinel_2("sen12mscr/a_s2_clear.tif")
    stack = np.arange(13 * 64).reshape(13, 8, 8).astype(np.uint16)
    stack[10] = 0
    slots = tuple(slot for slot in SLOTS if slot != "cirrus")
    built = []

    def build(originals: Path, cache: Path) -> None:
        built.append(originals)
        for number in range(10):
            cloudy = stack + 1 if number else None
            mask = None if cloudy is None else cloudy[0] > 30
            corpus.Sample(f"s{number}", f"region{number // 2}", slots, stack, cloudy, mask).save(cache)

    monkeypatch.setattr(corpus, "build", build)
    opened = [open_dataset("corpus", dataset_files.root, split) for split in ("train", "validation", "test")]
    assert len(built) == 1
    assert [{*dataset.regions()} for dataset in opened] == [
        {"region0", "region1", "region2"}, {"region3"}, {"region4"},
    ]  # fmt: skip
    sample = opened[0][1]
    assert (sample.slots, opened[0].slots) == (slots, SLOTS)
    np.testing.assert_allclose(sample.clear, stack[[SLOTS.index(slot) for slot in slots]] / 1e4, atol=1e-7)
    assert sample.cloudy.shape == (12, 8, 8)
    assert opened[0][0].cloudy is None
    assert open_dataset("corpus", dataset_files.root, "test", test=["region1"]).regions() == ("region1",) * 2
    dataset_files.sentinel_2("sen12mscr/b_s2_clear.tif")
    open_dataset("corpus", dataset_files.root, "train")
    assert len(built) == 2
    assert not list(dataset_files.root.rglob("*.npz"))


def test_a_corpus_that_was_not_finished_is_made_again(
    dataset_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_files.sentinel_2("sen12mscr/a_s2_clear.tif")
    stack = np.ones((13, 8, 8), np.uint16)

    def build(_: Path, cache: Path) -> None:
        corpus.Sample("first", "here", SLOTS, stack).save(cache)
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "build", build)
    with pytest.raises(KeyboardInterrupt):
        open_dataset("corpus", dataset_files.root, "train")
    monkeypatch.setattr(
        corpus,
        "build",
        lambda _, cache: [corpus.Sample(name, name, SLOTS, stack).save(cache) for name in ("first", "second")],
    )
    assert len(open_dataset("corpus", dataset_files.root, "train", test=["second"])) == 1


def test_the_wrong_folder_for_the_corpus_is_named(dataset_files: Any) -> None:
    dataset_files.sentinel_2("a/b.tif")
    with pytest.raises(UsageError, match="expected a folder with sen12mscr/"):
        open_dataset("corpus", dataset_files.root, "train")
