"""Damaged and hostile metadata and archives: a product or one line, never anything else.

For long, as before a release: pytest tests/raster/test_fuzz_products.py --hypothesis-profile=long --timeout=0
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudfix.errors import CloudfixError, SceneError
from cloudfix.raster.complete import _codestream_ends
from cloudfix.raster.header import read_header
from cloudfix.raster.products import find_radar, find_scene, landsat, mtl, safe, sentinel1
from cloudfix.raster.products.tree import Tree, open_tree
from cloudfix.raster.vrt_sources import sources_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TOKENS = (
    b"", b"nan", b"-1", b"1e999", b"9" * 400, b"\xff\xfe", b"\0", b"../", b"<", b"</", b"<![CDATA[", b"&#0;", b"&x;",
    b"<!DOCTYPE x>", b"null", b"[]", b"{}", b'"', b"[" * 50, b"\\ud800", b"file:///etc/passwd", b"https://x/",
    b"/vsicurl/", b"GROUP = X\n", b"END_GROUP\n", b"=", b"\n",
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["B02", "red", "a.tif"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ITEM_KEYS = ("href", "type", "roles", "bands", "eo:bands", "raster:bands", "gsd", "raster:scale", "name")

fuzzed = settings(deadline=None)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with some bytes taken out, put in, or both."""
    out = bytearray(content)
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(out)))
        length = draw(st.integers(0, 16))
        out[place : place + length] = draw(st.sampled_from(TOKENS) | st.binary(max_size=16))
    return bytes(out)


@dataclass(frozen=True)
class Memory(Tree):
    """Files that are not on disk."""

    content: bytes = b""

    def read(self, name: str) -> bytes:
        return self.content


def one_line(call: Callable[[], Any]) -> Any:
    """What a call returns, or None where it refuses as it should."""
    try:
        return call()
    except CloudfixError:
        return None


@pytest.fixture(scope="module")
def made(products, tmp_path_factory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {
        "L1C": products.sentinel2(folder, offset=-1000, bands=("B02",), side=4),
        "L2A": products.sentinel2(folder, level="L2A", offset=-1000, bands=("B02",), side=4),
        "landsat": products.landsat(folder, mtl=mtl.FORMS, height=16, width=16),
        "rtc": products.sentinel1_rtc(folder, height=16, width=16),
    }


@fuzzed
@given(data=st.data(), level=st.sampled_from(["L1C", "L2A"]))
def test_metadata_of_sentinel_2(made, data, level):
    root = made[level]
    sizes = open_tree(root, SceneError).sizes
    content = data.draw(damaged((root / f"MTD_MSI{level}.xml").read_bytes()))
    product = one_line(lambda: safe.read(Memory(root, sizes, SceneError, content)))
    if product is not None:
        assert all(scale > 0 for scale, _ in product.radiometry.values())


@fuzzed
@given(data=st.data(), form=st.sampled_from(mtl.FORMS))
def test_metadata_of_landsat(made, data, form):
    root = made["landsat"]
    sizes = {name: 0 for name in open_tree(root, SceneError).sizes if "_MTL" not in name or name.endswith(form)}
    (metadata,) = root.glob(f"*_MTL.{form}")
    content = data.draw(damaged(metadata.read_bytes()))
    product = one_line(lambda: landsat.read(Memory(root, sizes, SceneError, content)))
    if product is not None:
        assert all(scale > 0 for scale, _ in product.radiometry.values())


@fuzzed
@given(content=st.binary(max_size=200), form=st.sampled_from(mtl.FORMS))
def test_any_bytes_as_metadata(content, form):
    try:
        groups = mtl.parse(content, form)
    except ValueError:
        return
    assert all(isinstance(value, str) for group in groups.values() for value in group.values())


@fuzzed
@given(names=st.lists(st.text(alphabet=st.characters(exclude_characters="\0"), max_size=30), max_size=6))
def test_any_names_of_files(names):
    tree = Memory(Path("x"), dict.fromkeys(names, 0), SceneError)
    for read in (safe.read, landsat.read, sentinel1.read):
        one_line(lambda read=read: read(tree))


@fuzzed
@given(
    assets=st.dictionaries(
        st.sampled_from(["B02", "blue", "visual", "SCL", "vv", "x"]),
        JSON
        | st.dictionaries(st.sampled_from(ITEM_KEYS), JSON, min_size=3)
        | st.just({"href": "a.tif", "name": "B02"}),
    ),
    properties=JSON | st.dictionaries(st.sampled_from(["s2:processing_baseline", "view:sun_elevation"]), JSON),
    collection=st.sampled_from(["sentinel-2-l2a", "LC08_L1", "x"]) | JSON,
)
def test_items_with_anything_in_them(tmp_path_factory, assets, properties, collection):
    path = tmp_path_factory.getbasetemp() / "fuzzed.json"
    item = {"type": "Feature", "id": "a", "assets": assets, "properties": properties, "collection": collection}
    path.write_text(json.dumps(item))
    for find in (find_scene, find_radar):
        one_line(lambda find=find: find([path], allow_remote=False))


@fuzzed
@given(data=st.data())
def test_damaged_items(products, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    asset = {"href": "a.tif", "type": "image/tiff", "bands": [{"name": "B02", "raster:scale": 1e-4}]}
    products.stac_item(path, {"B02": asset}, {"s2:processing_baseline": "05.00"}, collection="sentinel-2-l2a")
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    product = one_line(lambda: find_scene([path], allow_remote=False))
    if product is not None:
        folder = path.parent.resolve()
        assert all(Path(file.path).resolve().is_relative_to(folder) for file in product.files)


VRT = (
    b'<VRTDataset rasterXSize="9" rasterYSize="9">'
    b'<VRTRasterBand dataType="Byte" band="1" subClass="VRTSourcedRasterBand"><SimpleSource>'
    b'<SourceFilename relativeToVRT="1">a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>'
)


@fuzzed
@given(content=damaged(VRT))
def test_damaged_vrts(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.vrt"
    path.write_bytes(content)
    one_line(lambda: sources_of(path, SceneError, allow_remote=False))


@fuzzed
@given(data=st.data(), kind=st.sampled_from(["zip", "tar"]))
def test_damaged_archives(tmp_path_factory, data, kind):
    whole = tmp_path_factory.getbasetemp() / f"whole.{kind}"
    if not whole.exists():
        _pack(whole)
    path = whole.with_name(f"fuzzed.{kind}")
    path.write_bytes(data.draw(damaged(whole.read_bytes())))
    tree = one_line(lambda: open_tree(path, SceneError))
    for name in tree.sizes if tree else ():
        one_line(lambda name=name: tree.read(name))
    one_line(lambda: find_scene([path], allow_remote=False))


def _pack(path: Path) -> None:
    names = ("S2A.SAFE/MTD_MSIL1C.xml", "S2A.SAFE/GRANULE/L1C_X/IMG_DATA/T33UUB_20200527T100031_B02.jp2")
    source = path.with_name("member")
    source.write_bytes(b"<a/>" * 20)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in names:
                archive.write(source, name)
    else:
        with tarfile.open(path, "w") as archive:
            for name in names:
                archive.add(source, name)


@fuzzed
@given(data=st.data(), kind=st.sampled_from(["jp2", "TIF"]))
def test_damaged_rasters(made, tmp_path_factory, data, kind):
    whole = next(made["L1C"].rglob("*.jp2")) if kind == "jp2" else next(made["landsat"].glob("*_B2.TIF"))
    path = tmp_path_factory.getbasetemp() / f"fuzzed.{kind}"
    path.write_bytes(data.draw(damaged(whole.read_bytes())))
    one_line(lambda: read_header(path))
    if path.stat().st_size:
        _codestream_ends(path, path.stat().st_size)
