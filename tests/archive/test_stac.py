"""STAC Items: valid by pystac, against schemas that need no network."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin

from cloudfix.archive.options import Options
from cloudfix.archive.scene import restore_scene
from cloudfix.archive.stac import EXTENSIONS, footprint, make_item, require_pystac
from cloudfix.archive.tasks import Task
from cloudfix.errors import UsageError
from cloudfix.raster.grid import Grid
from cloudfix.raster.scene import open_scene
from cloudfix.restoration.cover import Cover

pystac = pytest.importorskip("pystac")
pytest.importorskip("jsonschema")

SCHEMAS = Path(__file__).parent / "schemas"
PROVENANCE = {
    "CLOUDFIX_VERSION": "0.1.0",
    "CLOUDFIX_MODEL": "aca-crnet.tiny",
    "CLOUDFIX_MODEL_SHA256": "ab" * 32,
    "CLOUDFIX_MASK": "SCL",
}


def validate(item):
    """Against the core's schemas, which come with pystac, and those of the extensions."""
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    class Offline(JsonSchemaSTACValidator):
        def _get_schema(self, schema_uri):
            if schema_uri in EXTENSIONS:
                return json.loads((SCHEMAS / f"{schema_uri.split('/')[3]}.json").read_text())
            if not self._is_core(schema_uri):
                pytest.fail(f"{schema_uri}: asked of the network")
            return super()._get_schema(schema_uri)

        @staticmethod
        def _is_core(uri):
            from pystac.validation.local_validator import get_local_schema_cache

            return uri in get_local_schema_cache()

    return pystac.Item.from_dict(item).validate(Offline())


def item_of(path, **scene):
    task = Task((str(path),), path.with_name("out #1.tif")).with_item()
    return make_item(task, open_scene(path), Cover(0.25, 0.1, "SCL"), PROVENANCE)


def test_a_written_item_is_valid_and_tells_of_files_that_are_there(write_scene, tiny_weights, tmp_path):
    source = write_scene(64, 80, name="S2A_MSIL1C_20200131T100031.tif", clouds=((10, 10, 20),))
    task = Task((str(source),), tmp_path / "clear.tif").with_item()
    restore_scene(task, Options(model=str(tiny_weights)))
    item = json.loads(task.item.read_text())
    validate(item)
    assert item["properties"]["datetime"] == "2020-01-31T10:00:31Z"
    assert item["properties"]["proj:code"] == "EPSG:32617"
    assert item["properties"]["proj:shape"] == [64, 80]
    assert 5 < item["properties"]["eo:cloud_cover"] < 20
    assert item["properties"]["cloudfix:model"] == "aca-crnet.tiny"
    assert {(tmp_path / asset["href"]).resolve() for asset in item["assets"].values()} == {
        tmp_path / name for name in ("clear.tif", "clear_mask.tif", "clear_quicklook.png")
    }
    assert item["assets"]["image"]["bands"][3] == {"name": "B04", "eo:common_name": "red"}


def test_a_scene_without_a_date_has_a_range(write_scene):
    item = item_of(write_scene(64, 64))
    validate(item)
    assert item["properties"]["datetime"] is None
    assert item["assets"]["image"]["href"] == "./out%20%231.tif"
    end = datetime.fromisoformat(item["properties"]["end_datetime"])
    assert item["properties"]["start_datetime"] < "2000" < end.isoformat()
    assert end <= datetime.now(UTC)


def test_a_scene_that_lies_nowhere_has_no_geometry(write_scene):
    item = item_of(write_scene(64, 64, crs=None))
    validate(item)
    assert item["geometry"] is None
    assert "bbox" not in item


def test_a_reference_system_without_a_number_is_spelled_out(write_scene):
    item = item_of(write_scene(64, 64, crs=CRS.from_proj4("+proj=laea +lat_0=37 +lon_0=-80 +datum=WGS84")))
    validate(item)
    assert item["properties"]["proj:code"] is None
    assert item["properties"]["proj:wkt2"].startswith("PROJCS")


def test_footprints_are_cut_at_the_date_line_and_turn_left():
    utm_1 = Grid(CRS.from_epsg(32601), from_origin(350000, 8000000, 1000, 1000), 100, 100)
    outline = footprint(utm_1)
    assert outline.geom_type == "MultiPolygon"
    assert outline.is_valid
    west, _, east, _ = outline.bounds
    assert (west, east) == (-180, 180)
    simple = footprint(Grid(CRS.from_epsg(32633), from_origin(500000, 5000000, 10, 10), 100, 100))
    assert simple.exterior.is_ccw
    assert len(simple.exterior.coords) < 10


def test_without_pystac_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pystac", None)
    with pytest.raises(UsageError, match=r"pip install 'cloudfix\[stac\]'"):
        require_pystac()
