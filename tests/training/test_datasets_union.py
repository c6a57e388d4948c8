"""Several data sets as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cloudfix.errors import UsageError
from cloudfix.training.datasets import open_dataset
from cloudfix.training.datasets.union import Union

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::cloudfix.errors.CloudfixWarning")


@pytest.fixture
def both(dataset_files: Any) -> Path:
    dataset_files.pairs("RICE1", range(10))
    dataset_files.pairs("cloud/..", range(10, 15))
    return dataset_files.root


def test_samples_of_all_parts_follow_each_other(both: Path) -> None:
    parts = [open_dataset(name, both, "train") for name in ("rice1", "pairs")]
    union = open_dataset("rice1+pairs", both, "train")
    assert (union.name, union.slots, len(union)) == ("rice1+pairs", ("red", "green", "blue"), 7 + 3)
    assert union.regions() == tuple(
        f"{part.name}:{region}" for part in parts for region in part.regions()
    )  # each region keeps the name of its part
    expected = [part[index] for part in parts for index in range(len(part))]
    for index, sample in enumerate(expected):
        assert union[index].name == sample.name
        np.testing.assert_array_equal(union[index].cloudy, sample.cloudy)


def test_regions_are_named_after_their_part(both: Path) -> None:
    named = {"validation": ["rice1:3"], "test": ["rice1:9", "rice1:4"]}
    tests = open_dataset("rice1+pairs", both, "test", **named)
    own = open_dataset("pairs", both, "test").regions()
    assert tests.regions() == ("rice1:4", "rice1:9", *(f"pairs:{region}" for region in own))
    with pytest.raises(UsageError, match=r"region 3: expected one such as rice1:3, of rice1, pairs"):
        open_dataset("rice1+pairs", both, "test", validation=["3"])
    with pytest.raises(UsageError, match=r"data.validation=30: no such region"):
        open_dataset("rice1+pairs", both, "test", validation=["rice1:30"])
    with pytest.raises(UsageError, match=r"data set pear: unknown"):
        open_dataset("rice1+pear", both, "test")


def test_only_bands_that_all_have_are_there(both: Path) -> None:
    rgb, other = (open_dataset(name, both, "train") for name in ("rice1", "pairs"))
    other.slots = ("nir", "blue", "red")
    assert Union({"a": rgb, "b": other}).slots == ("red", "blue")
    other.slots = ("nir",)
    with pytest.raises(UsageError, match=r"a\+b: its parts have no band in common"):
        Union({"a": rgb, "b": other})
