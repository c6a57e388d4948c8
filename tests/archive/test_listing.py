"""Names in, scenes out: lists, odd names, band files that belong together."""

import io
import os

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from cloudfix.archive.listing import expand, group, product_name, stem
from cloudfix.errors import UsageError

ODD = ("with space.tif", "new\nline.tif", 'quote".tif', "-dash.tif", "naïve.tif", "tab\t.tif", "latin\udce9.tif")


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_a_list_on_standard_input_comes_where_the_dash_stands(stdin):
    stdin(b"b.tif\nc.tif\r\n\n")
    assert expand(["a.tif", "-", "d.tif"]) == ["a.tif", "b.tif", "c.tif", "d.tif"]


@given(
    st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1), unique=True)
)
def test_any_name_survives_a_list_of_nul_separated_names(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("lists") / "list"
    path.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in names))
    found = expand([], [path], null=True)
    assert set(found) <= set(names)
    assert {os.path.normpath(name) for name in found} == {os.path.normpath(name) for name in names}


def test_names_that_no_encoding_explains_come_through(stdin):
    stdin(b"\0".join(map(os.fsencode, ODD)))
    assert expand(["-"], null=True) == list(ODD)


def test_a_name_given_twice_is_one_scene():
    assert expand(["a.tif", "./a.tif", "https://host/a.tif", "https://host//a.tif"]) == [
        "a.tif",
        "https://host/a.tif",
        "https://host//a.tif",
    ]


def test_a_list_of_the_other_kind_is_refused(tmp_path):
    (tmp_path / "list").write_bytes(b"a.tif\0b.tif")
    with pytest.raises(UsageError, match="--null"):
        expand([], [tmp_path / "list"])
    with pytest.raises(UsageError, match=r"--from-file .*absent: No such file"):
        expand([], [tmp_path / "absent"])


@pytest.mark.parametrize(
    ("file", "product"),
    [
        ("T33UUB_20200101T100031_B02_10m.jp2", "T33UUB_20200101T100031"),
        ("LC08_L2SP_193024_20200101_02_T1_SR_B2.TIF", "LC08_L2SP_193024_20200101_02_T1"),
        ("LC08_L2SP_193024_20200101_02_T1_QA_PIXEL.TIF", "LC08_L2SP_193024_20200101_02_T1"),
        ("B8A.tif", ""),
        ("scene.tif", "scene.tif"),
        ("https://host/T33_B04.tif?key=1", "T33"),
    ],
)
def test_the_product_of_a_band_file(file, product):
    assert product_name(file) == product


def test_band_files_are_sorted_by_folder_and_product(tmp_path):
    def single(name):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8", "crs": "EPSG:32633"}
        with rasterio.open(path, "w", **profile, transform=from_origin(5e5, 5e6, 10, 10)) as file:
            file.write(np.ones((1, 4, 4), "uint8"))
        return str(path)

    first = [single("one/T33_2020_B02.tif"), single("one/T33_2020_B03.tif")]
    second = [single("one/T33_2021_B02.tif"), single("one/T33_2021_B03.tif")]
    third = [single("two/T33_2020_B02.tif"), single("two/T33_2020_B04.tif")]
    other = str(tmp_path / "one" / "stack.tif")
    mixed = [first[0], third[0], second[0], other, first[1], second[1], third[1]]
    assert list(group(mixed)) == [tuple(first), tuple(third), tuple(second), (other,)]


def test_what_a_scene_is_called(tmp_path):
    safe, landsat = tmp_path / "S2A_MSIL2A_2020.SAFE", tmp_path / "LC08.v2"
    safe.mkdir()
    landsat.mkdir()
    assert stem([str(safe)]) == "S2A_MSIL2A_2020"
    assert stem([str(landsat)]) == "LC08.v2"
    assert stem(["S2A_MSIL1C_2020.SAFE.zip"]) == stem(["S2A_MSIL1C_2020.zip"]) == "S2A_MSIL1C_2020"
    assert stem(["LC08_2020_T1.tar"]) == stem(["LC08_2020_T1.tar.gz"]) == "LC08_2020_T1"
    assert stem(["a.b.tif"]) == "a.b"
    assert stem(["https://host/x/item.json?key=1"]) == "item"
    assert stem(["x/T33_2020_B02.tif", "x/T33_2020_B03.tif"]) == "T33_2020"
    assert stem(["march/B02.tif", "march/B03.tif"]) == "march"
