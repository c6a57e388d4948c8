from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfix.errors import UsageError
from cloudfix.training.datasets.layout import natural
from cloudfix.training.datasets.splits import assign

if TYPE_CHECKING:
    from cloudfix.training.datasets.sample import Split

REGIONS = st.lists(st.integers(0, 30).map(str), min_size=1, max_size=120).map(lambda names: sorted(names, key=natural))
SPLITS = st.sampled_from(["train", "validation", "test", None])


def parts(regions: list[str], splits: tuple[Split, ...]) -> dict[str, set[str]]:
    assert len(splits) == len(regions)
    return {
        name: {region for region, split in zip(regions, splits, strict=True) if split == name}
        for name in ("train", "validation", "test")
    }


@given(REGIONS)
def test_blocks_are_contiguous_and_of_whole_regions(regions: list[str]) -> None:
    splits = assign(regions)
    assert [split for split, _ in groupby(splits)] == ["train", "validation", "test"][: min(len({*regions}), 3)] or (
        len({*regions}) == 2 and [split for split, _ in groupby(splits)] == ["train", "test"]
    )
    found = parts(regions, splits)
    count = len({*regions})
    assert sum(map(len, found.values())) == count
    if count > 2:
        assert len(found["test"]) == math.ceil(count / 5)
        assert len(found["validation"]) == math.ceil(count / 10)


@given(REGIONS, st.data())
def test_an_own_split_is_kept_and_no_region_is_in_two(regions: list[str], data: st.DataObject) -> None:
    own = {region: data.draw(SPLITS) for region in {*regions}}
    found = parts(regions, assign(regions, [own[region] for region in regions]))
    assert sum(map(len, found.values())) == len({*regions})
    for region, split in own.items():
        if split in {"validation", "test"}:
            assert region in found[split]
        if split == "train":
            assert region not in found["test"]
    trained = [region for region, split in own.items() if split == "train"]
    assert found["validation"] or (len(trained) <= 1 and list(own.values()).count(None) <= 2)


@given(REGIONS, st.data())
def test_regions_that_are_named_decide(regions: list[str], data: st.DataObject) -> None:
    known = sorted({*regions})
    named = data.draw(st.lists(st.sampled_from(known), unique=True, min_size=1))
    cut = data.draw(st.integers(0, len(named)))
    found = parts(regions, assign(regions, ["test"] * len(regions), validation=named[:cut], test=named[cut:]))
    assert found["validation"] == {*named[:cut]}
    assert found["test"] == {*named[cut:]}
    assert found["train"] == {*known} - {*named}


def test_published_numbers_of_the_test_pictures() -> None:
    assert assign([str(number) for number in range(500)]).count("test") == 100
    assert assign([str(number) for number in range(736)]).count("test") == 148


def test_wrong_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"data.test=x: no such region; the data set has a, b"):
        assign(["a", "a", "b"], test=["x"])
    with pytest.raises(UsageError, match=r"both name a;"):
        assign(["a", "b"], validation=["a"], test=["a"])
