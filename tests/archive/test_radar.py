"""Which radar image guides which scene."""

from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from cloudfix.archive.radar import Catalogue, Place
from cloudfix.errors import CloudfixWarning, SarError
from cloudfix.raster.scene import open_scene

SCENE = "S2A_MSIL1C_20200110T100000_T17.tif"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s1").mkdir()
    return tmp_path / "s1"


@pytest.fixture
def radar(folder):
    """Writes VV and VH in dB, `east` metres off the scene."""

    def write(name, *, east=0.0, side=200, bands=("VV", "VH"), crs="EPSG:32617"):
        profile = {"driver": "GTiff", "width": side, "height": side, "count": len(bands), "dtype": "float32"}
        transform = from_origin(499900 + east, 4000100, 10, 10)
        with rasterio.open(folder / name, "w", **profile, crs=crs, transform=transform) as file:
            file.write(np.full((len(bands), side, side), -12, "float32"))
            file.descriptions = bands
        return folder / name

    return write


def paired(folder, scene, days=6):
    pair = Catalogue.read(folder, days).pair(open_scene(scene))
    return None if pair is None else pair.note


def test_the_nearest_in_time_of_those_over_the_scene(folder, radar, write_scene):
    scene = write_scene(name=SCENE)
    radar("S1A_20200104T100000.tif")
    radar("S1A_20200108T220000.tif")
    radar("S1A_20200110T110000_elsewhere.tif", east=90000)
    assert paired(folder, scene) == "S1A_20200108T220000.tif: 1.5 days before the scene"


def test_one_that_covers_the_scene_comes_before_a_nearer_one_that_touches_it(folder, radar, write_scene):
    scene = write_scene(name=SCENE)
    radar("S1A_20200110T110000_half.tif", east=1000)
    radar("S1A_20200113T100000.tif")
    assert paired(folder, scene) == "S1A_20200113T100000.tif: 3.0 days after the scene"


def test_none_in_time_is_said(folder, radar, write_scene):
    radar("S1A_20200120T100000.tif")
    scene = write_scene(name=SCENE)
    with pytest.warns(CloudfixWarning, match="no radar image in .* within 6 days"):
        assert paired(folder, scene) is None
    assert paired(folder, scene, days=10) is not None


def test_a_scene_without_a_date_gets_none(folder, radar, write_scene):
    radar("S1A_20200110T100000.tif")
    with pytest.warns(CloudfixWarning, match=r"scene\.tif: no date"):
        assert paired(folder, write_scene()) is None


def test_an_image_that_cannot_guide_gives_way_to_the_next(folder, radar, write_scene):
    damaged = radar("S1A_20200110T100000.tif")
    with rasterio.open(damaged, "r+") as file:
        file.write(np.full((2, 200, 200), 9000, "float32"))
    radar("S1A_20200111T100000.tif")
    with pytest.warns(CloudfixWarning, match="neither dB"):
        assert paired(folder, write_scene(name=SCENE)).startswith("S1A_20200111")


def test_polarisations_in_files_of_their_own_are_one_image(folder, radar, write_scene):
    radar("s1a-iw-grd-vv-20200110t100000-001.tif", bands=("VV",))
    radar("s1a-iw-grd-vh-20200110t100000-002.tif", bands=("VH",))
    catalogue = Catalogue.read(folder, 6)
    assert len(catalogue.images) == 1
    pair = catalogue.pair(open_scene(write_scene(name=SCENE)))
    assert pair.radar.band.values.tolist() == ["vv", "vh"]


def test_what_cannot_be_paired_is_said_and_left_out(folder, radar):
    radar("S1A_20200110.tif")
    radar("undated.tif")
    (folder / "S1A_20200111.tif").write_text("no raster")
    with pytest.warns(CloudfixWarning) as said:
        catalogue = Catalogue.read(folder, 6)
    assert [image.when for image in catalogue.images] == [datetime(2020, 1, 10, tzinfo=UTC)]
    assert sorted(str(warning.message).split(": ")[1][:10] for warning in said) == ["no date; n", "not a rast"]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(SarError, match="no such folder"):
        Catalogue.read(tmp_path / "absent", 6)
    with pytest.raises(SarError, match="no raster in it"):
        Catalogue.read(tmp_path, 6)


def test_a_choice_is_known_again_and_changes_with_the_folder(folder, radar, write_scene):
    radar("S1A_20200104T100000.tif")
    place = Place.of(open_scene(write_scene(name=SCENE)))
    again = Place.from_json(place.to_json())
    assert again == place
    before = Catalogue.read(folder, 6).choice(place)
    assert Catalogue.read(folder, 6).choice(again) == before
    radar("S1A_20200109T100000.tif")
    assert Catalogue.read(folder, 6).choice(again) != before
