"""Files made to harm: refused in one line, within a second, without reading what was not asked for."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from rasterio.vrt import WarpedVRT

from cloudfix.errors import MaskError, SceneError
from cloudfix.raster.mask import open_mask
from cloudfix.raster.scene import open_scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BANDS = {"sensor": "sentinel-2-l2a", "bands": ["B02"]}


def refused(path: Any, **options: Any) -> str:
    began = time.perf_counter()
    with pytest.raises(SceneError) as error:
        open_scene(path, **options)
    assert time.perf_counter() - began < 5
    assert "\n" not in str(error.value)
    return str(error.value)


def claim(
    path: Path, width: int, height: int, *, compression: int = 8, tile: int | None = None, bands: int = 1
) -> Path:
    """A TIFF of a few bytes that claims to be large."""
    data = b"\0" * 64
    entries = [
        (256, 4, width), (257, 4, height), (258, 3, 16), (259, 3, compression), (262, 3, 1),
        (277, 3, bands), (284, 3, 2 if bands > 1 else 1),
    ]  # fmt: skip
    if tile:
        entries += [(322, 4, tile), (323, 4, tile), (324, 4, 8), (325, 4, len(data))]
    else:
        entries += [(273, 4, 8), (278, 4, height), (279, 4, len(data))]
    packed = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack({3: "<H", 4: "<I"}[kind], value).ljust(4, b"\0")
        for tag, kind, value in sorted(entries)
    )
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(start + data + struct.pack("<H", len(entries)) + packed + b"\0" * 4)
    return path


@pytest.mark.parametrize("options", [{}, {"compression": 1}, {"tile": 256}])
def test_two_million_pixels_a_side(tmp_path, options):
    path = claim(tmp_path / "huge.tif", 2_000_000, 2_000_000, **options)
    assert "claims 2000000 × 2000000 pixels" in refused(path, **BANDS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "in blocks of 150000 × 150000 pixels, 45.0 GB each"),
        ({"tile": 150_000}, "in blocks of 150000 × 150000 pixels"),
        ({"tile": 16}, "claims 87890625 blocks, more than its size can list"),
        ({"compression": 1}, "claims 150000 blocks, more than its size can list"),
        ({"bands": 60_000}, "claims 60000 bands"),
    ],
)
def test_nothing_is_allocated_by_claim(tmp_path, options, said):
    assert said in refused(claim(tmp_path / "large.tif", 150_000, 150_000, **options), **BANDS)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A web server's address, and the list of what it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            asked.append(str(self.raw_requestline))
            return False

        def log_message(self, *_: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}", asked
    web.shutdown()
    web.server_close()


def vrt(path: Path, source: str, *, band: str = "", attributes: str = "", root: str = "", more: str = "") -> Path:
    """A VRT of 50 × 40 pixels with one band, made of `source`."""
    path.write_text(
        f'<VRTDataset rasterXSize="50" rasterYSize="40"{root}>'
        "<SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
        f'<VRTRasterBand dataType="UInt16" band="1"{band}>{more}<SimpleSource>'
        f"<SourceFilename{attributes}>{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return path


@pytest.mark.parametrize("name", ["passwd.vrt", "passwd.tif"])
def test_a_vrt_of_what_is_no_raster(tmp_path, name):
    path = vrt(tmp_path / name, "/etc/passwd")
    assert "is made of /etc/passwd, which is no GeoTIFF or JPEG2000" in refused(path, **BANDS)


@pytest.mark.parametrize(
    "options",
    [
        {"band": ' subClass="VRTRawRasterBand"'},
        {"band": ' SUBCLASS="vrtrawrasterband"'},
        {"more": "<subclass>VRTRawRasterBand</subclass>"},
        {"root": ' subClass="VRTProcessedDataset"'},
    ],
)
def test_a_vrt_of_raw_bytes(tmp_path, options):
    """GDAL 3.10 reads the bytes of any file for it."""
    assert "can be made of any bytes" in refused(vrt(tmp_path / "raw.vrt", "/etc/passwd", **options), **BANDS)


def test_a_vrt_that_runs_code(tmp_path, raster, dn, monkeypatch):
    monkeypatch.setenv("GDAL_VRT_ENABLE_PYTHON", "YES")
    flag = tmp_path / "ran"
    code = (
        "<PixelFunctionLanguage>Python</PixelFunctionLanguage><PixelFunctionType>f</PixelFunctionType>"
        f"<PixelFunctionCode><![CDATA[open({str(flag)!r}, 'w')]]></PixelFunctionCode>"
    )
    source = raster("a.tif", dn(1))
    path = vrt(tmp_path / "code.vrt", str(source), band=' subClass="VRTDerivedRasterBand"', more=code)
    assert "runs code ('Python')" in refused(path, **BANDS)
    assert not flag.exists()


@pytest.mark.parametrize("prefix", ["", "/vsicurl/", "/vsizip//vsicurl/", "/vsicurl_streaming/"])
def test_a_vrt_of_a_url_asks_nobody(tmp_path, server, prefix):
    address, asked = server
    path = vrt(tmp_path / "remote.vrt", f"{prefix}{address}/a.tif")
    assert "which is not a file on disk; --allow-remote" in refused(path, **BANDS)
    assert asked == []
    if not prefix.startswith("/vsizip"):
        assert "which is no GeoTIFF" in refused(path, allow_remote=True, **BANDS)
        assert asked


def test_a_vrt_of_another_vrt(tmp_path, raster, dn):
    vrt(tmp_path / "inner.vrt", str(raster("a.tif", dn(1))))
    outer = vrt(tmp_path / "outer.vrt", "inner.vrt", attributes=' relativeToVRT="1"')
    assert "inner.vrt, which is no GeoTIFF" in refused(outer, **BANDS)
    loop = vrt(tmp_path / "loop.vrt", "loop.vrt", attributes=' relativeToVRT="1"')
    assert "loop.vrt, which is no GeoTIFF" in refused(loop, **BANDS)


@pytest.mark.parametrize(
    "content",
    [
        "<VRTDataset rasterXSize='9'",
        '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><VRTDataset>&b;</VRTDataset>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><VRTDataset>&a;</VRTDataset>',
    ],
)
def test_a_vrt_that_is_no_plain_xml(tmp_path, content):
    (tmp_path / "a.vrt").write_text(content)
    assert "damaged VRT" in refused(tmp_path / "a.vrt", **BANDS)


def test_honest_vrts_are_read(tmp_path, raster, dn, monkeypatch):
    """As gdalbuildvrt and gdalwarp write them: of files beside them, elsewhere on the disk, or in an archive."""
    values = dn(1)
    source = raster("a b/ä.tif", values)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(source, "in/a.tif")
    (tmp_path / "vrts").mkdir()
    monkeypatch.chdir(tmp_path)
    made = [
        vrt(tmp_path / "vrts" / "absolute.vrt", str(source)),
        vrt(tmp_path / "vrts" / "relative.vrt", "../a b/ä.tif", attributes=' relativeToVRT="1"'),
        vrt(tmp_path / "vrts" / "working.vrt", "a b/ä.tif", attributes=' relativeToVRT="0"'),
        vrt(tmp_path / "vrts" / "packed.vrt", f"/vsizip/{tmp_path}/a.zip/in/a.tif"),
        tmp_path / "vrts" / "warped.vrt",
    ]
    with rasterio.open(source) as file, WarpedVRT(file, crs=file.crs) as warped:
        rasterio.shutil.copy(warped, made[-1], driver="VRT")
    for path in made:
        np.testing.assert_array_equal(open_scene(path, **BANDS).values, values)
    source.unlink()
    assert "there is no such file; write the VRT again" in refused(made[0], **BANDS)


@pytest.mark.parametrize(
    "content", ["<GDAL_WMS><Service name='TMS'><ServerUrl>{}</ServerUrl></Service></GDAL_WMS>", "{}"]
)
def test_files_that_are_addresses_ask_nobody(tmp_path, server, content):
    """GDAL has formats of a few lines that fetch: WMS, WMTS, STACIT and more."""
    address, asked = server
    (tmp_path / "a.tif").write_text(content.format(address))
    assert "not a raster that GDAL can read" in refused(tmp_path / "a.tif")
    assert asked == []


@pytest.mark.parametrize("name", ["../../evil.jp2", "/etc/evil.jp2", "a/../../evil", "..\\evil"])
def test_names_that_leave_the_archive(products, tmp_path, name):
    packed = products.zipped(products.sentinel2(tmp_path, bands=("B02",)))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, "x")
    assert "points out of it" in refused(packed)
    tar = tmp_path / "a.tar"
    with tarfile.open(tar, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert "points out of it" in refused(tar)


def test_a_zip_bomb_of_metadata(products, tmp_path):
    safe = products.sentinel2(tmp_path, bands=("B02",))
    packed = tmp_path / "bomb.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(
            next(safe.rglob("*_B02.jp2")), f"{safe.name}/GRANULE/L1C_X/IMG_DATA/T33UUB_20200527T100031_B02.jp2"
        )
        with archive.open(f"{safe.name}/MTD_MSIL1C.xml", "w") as metadata:
            for _ in range(40):
                metadata.write(b" " * 2**20)
    assert "has more than 16 MiB, no metadata have" in refused(packed)


def test_a_zip_bomb_of_imagery(products, tmp_path):
    packed = products.zipped(products.sentinel2(tmp_path, bands=("B02",)))
    content = bytearray(packed.read_bytes())
    entry = content.rindex(b"_B02.jp2") - len(content)
    header = content.rindex(b"PK\x01\x02", 0, entry)
    content[header + 24 : header + 28] = struct.pack("<I", 4_000_000_000)
    packed.write_bytes(content)
    assert "claims 4000000000 bytes of" in refused(packed)


def test_archives_that_are_none(tmp_path, products):
    packed = products.zipped(products.sentinel2(tmp_path, bands=("B02",)))
    whole = packed.read_bytes()
    for name, content in (
        ("a.zip", b"PK\x03\x04"),
        ("b.tar", b"x" * 2000),
        ("c.zip", whole[: len(whole) // 2]),
        ("d.zip", b""),
    ):
        (tmp_path / name).write_bytes(content)
        assert "cannot be listed" in refused(tmp_path / name)
    (tmp_path / "e.tar.gz").write_bytes(b"x")
    assert "a compressed tar cannot be read in pieces; unpack it" in refused(tmp_path / "e.tar.gz")


def test_a_tar_that_was_cut_short(products, tmp_path):
    packed = products.tarred(products.landsat(tmp_path))
    os.truncate(packed, packed.stat().st_size // 2)
    assert "cannot be listed" in refused(packed)


def test_an_archive_of_very_many_files(tmp_path):
    path = tmp_path / "many.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(20_001):
            archive.addfile(tarfile.TarInfo(str(number)), io.BytesIO())
    assert "more than 20000 files" in refused(path)


def test_a_tar_of_a_directory_without_end(tmp_path):
    """Its header claims 8 GiB for a name."""
    path = tmp_path / "sparse.tar"
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33 - 512
    with path.open("wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(2**33)
    assert "a directory of more than 16 MiB" in refused(path)


NAMES = (
    "a b.tif", " lead.tif", "a\nb.tif", "q\"u'o`te$(x).tif", "ünï-雲.tif", "-o.tif", "--help.tif", "a?b#c%41.tif",
    "a{b}[c]*.tif", "https:x.tif", "NETCDF:a.tif", "a,b;c!d.tif", "\x1b[31m.tif",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_names(raster, dn, products, tmp_path, name, monkeypatch):
    values = dn(1)
    path = raster(name, values)
    monkeypatch.chdir(tmp_path)
    for source in (path, name):
        np.testing.assert_array_equal(open_scene(source, **BANDS).values, values)
    safe = products.sentinel2(tmp_path / f"in {name}", bands=("B02",))
    packed = products.zipped(safe)
    np.testing.assert_array_equal(open_scene(packed).values, open_scene(safe).values)


def test_a_null_in_a_name():
    assert "embedded null byte" in refused("a\0b.tif")


@pytest.mark.parametrize(
    "name", ["https://x.invalid/a.tif", "s3://bucket/a.tif", "/vsicurl/http://x.invalid/a.tif", "/vsimem/a.tif"]
)
def test_remote_names_need_leave(name, raster, dn):
    assert "not a file on disk; --allow-remote (allow_remote=True)" in refused(name)
    with pytest.raises(MaskError, match="not a file on disk"):
        open_mask(name, open_scene(raster("a.tif", dn(1)), **BANDS))


def test_secrets_in_addresses_are_not_repeated():
    assert "secret" not in refused("https://x.invalid/a.tif?sig=secret")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    assert "is a pipe or a device" in refused(tmp_path / "a.tif")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(raster, dn):
    path = raster("a.tif", dn(1))
    path.chmod(0)
    assert "no permission to read it" in refused(path)


def test_pixels_without_an_area_are_refused(tmp_path):
    path = tmp_path / "flat.tif"
    profile = {"driver": "GTiff", "width": 8, "height": 8, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(path, "w", **profile, transform=Affine(10, 5, 5e5, 5, -10, 5e6)) as file:
        file.write(np.ones((3, 8, 8), np.uint8))
    # As damage leaves it: rasterio itself does not write such a transform.
    content = path.read_bytes()
    row = np.array([10.0, 5.0]).tobytes()
    assert content.count(row) == 1
    path.write_bytes(content.replace(row, np.zeros(2).tobytes()))
    with pytest.raises(SceneError, match=r"flat\.tif: its pixels have no area on the ground; the file is damaged"):
        open_scene(path, sensor="rgb")
