from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudfix import sensors
from cloudfix.raster.names import band_name, common_name, in_sensor


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("B4, central wavelength 665 nm", "B4"),
        ("B02", "B02"),
        ("b8a", "B8A"),
        ("Band 4", "B4"),
        ("band_4", "B4"),
        ("SR_B2", "SR_B2"),
        ("blue", "blue"),
        ("Blue", "blue"),
        ("SWIR 1", "swir16"),
        ("rededge071", "rededge071"),
        ("nir08", "nir08"),
        ("Red (B04)", "B04"),
        ("S2A_33TWL_20230815_0_L2A_B02", "B02"),
        ("T33UUB_20170527T100031_B8A_20m", "B8A"),
        ("T33UUB_20170527T100031_SCL_20m", "SCL"),
        ("LC08_L1TP_021039_20170603_20200903_02_T1_B10", "B10"),
        ("LC09_L2SP_021039_20230603_20230903_02_T1_SR_B2", "SR_B2"),
        ("LC09_L2SP_021039_20230603_20230903_02_T1_QA_PIXEL", "QA_PIXEL"),
        ("l8_BQA", "BQA"),
        ("l8_B1", "B1"),
        ("scene", None),
        ("T33UUB_20170527T100031_TCI_10m", "TCI"),
        ("", None),
        ("probability", None),
    ],
)
def test_a_text_names_its_band(text: str, name: str | None) -> None:
    assert band_name(text) == name


@pytest.mark.parametrize(
    ("name", "sensor", "expected"),
    [
        ("B2", "sentinel-2-l1c", ("B02", "blue")),
        ("B8A", "sentinel-2-l2a", ("B8A", "nir08")),
        ("B5", "sentinel-2-l2a", ("B05", "rededge071")),
        ("B5", "landsat-8-l1", ("B5", "nir08")),
        ("B05", "landsat-8-l1", ("B5", "nir08")),
        ("SR_B5", "landsat-8-l2", ("B5", "nir08")),
        ("ST_B10", "landsat-8-l2", ("ST_B10", "")),
        ("B10", "sentinel-2-l1c", ("B10", "cirrus")),
        ("B10", "sentinel-2-l2a", ("B10", "")),
        ("B10", "landsat-8-l1", ("B10", "")),
        ("nir", "landsat-8-l2", ("nir", "nir08")),
        ("nir", "sentinel-2-l2a", ("nir", "nir")),
        ("rededge071", "landsat-8-l2", ("rededge071", "")),
        ("blue", None, ("blue", "blue")),
        ("B02", None, ("B02", "")),
    ],
)
def test_the_same_name_is_another_slot_for_another_sensor(
    name: str, sensor: str | None, expected: tuple[str, str]
) -> None:
    assert in_sensor(name, sensors.get(sensor) if sensor else None) == expected


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    name = band_name(text)
    assert name is None or name


@given(st.sampled_from(sensors.SLOTS), st.sampled_from([str.upper, str.title, str]))
def test_every_slot_is_a_common_name(slot: str, spelled: type[str]) -> None:
    assert common_name(spelled(slot)) == slot
    assert band_name(slot) == slot
