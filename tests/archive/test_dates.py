"""When an image was taken."""

from datetime import UTC, datetime

import pytest

from cloudfix.archive.dates import acquired


def at(*numbers):
    return datetime(*numbers, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "when"),
    [
        ("S2A_MSIL1C_20200131T100031_N0208_R122_T33UUB_20200201T120000.tif", at(2020, 1, 31, 10, 0, 31)),
        ("LC08_L1TP_193024_20200131_20200214_02_T1_B4.TIF", at(2020, 1, 31)),
        ("s1a-iw-grd-vv-20200131t052310-20200131t052335-031-01.tiff", at(2020, 1, 31, 5, 23, 10)),
        ("tile_2020-01-31.tif", at(2020, 1, 31)),
        ("20209931.tif", None),
        ("T33UUB.tif", None),
        ("x/S2A_MSIL2A_20200131T100031_N0213.SAFE/GRANULE/L2A/IMG_DATA/B02.jp2", None),
        ("x/S2A_MSIL2A_20200131T100031_N0213.SAFE/IMG_DATA/B02.jp2", at(2020, 1, 31, 10, 0, 31)),
    ],
)
def test_names(path, when):
    assert acquired({}, path) == when


def test_tags_come_before_names_and_the_time_a_file_was_written_is_none():
    tags = {"DATE_ACQUIRED": "2019-05-04", "TIFFTAG_DATETIME": "2024:01:01 00:00:00"}
    assert acquired(tags, "x_20200131.tif") == at(2019, 5, 4)
    assert acquired({"TIFFTAG_DATETIME": "2024-01-01 00:00:00"}, "x.tif") is None
    assert acquired({"datetime": "2020-01-31T10:00:31.024Z"}, "x.tif") == at(2020, 1, 31, 10, 0, 31)
