"""Outputs appear whole or not at all, also after kill -9, beside a second run, and on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from cloudfix.errors import OutputError
from cloudfix.raster.atomic import staging
from cloudfix.raster.cog import write_cog
from cloudfix.raster.scene import open_scene

L2A = ("B02", "B03", "B04", "B08", "SCL")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def scene(raster, rng):
    """Random numbers, which no codec makes smaller: 5 × 700 × 700 pixels, 4.9 MB."""
    values = rng.integers(1, 65535, (5, 700, 700)).astype("uint16")
    path = raster("in/input.tif", values, descriptions=L2A, tags={"PRODUCT_TYPE": "S2MSI2A"}, tiled=True)
    return open_scene(path, chunks=256)


def files_in(folder):
    return sorted(str(item.relative_to(folder)) for item in folder.rglob("*"))


def test_a_published_file_replaces_the_old_one(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    with staging(final) as stage:
        stage.file.write_text("new")
        assert final.read_text() == "old"
        stage.publish()
    assert final.read_text() == "new"
    assert files_in(tmp_path) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(ZeroDivisionError), staging(final) as stage:
        stage.file.write_text("half")
        (stage.scratch / "x").write_text("more")
        raise ZeroDivisionError
    assert final.read_text() == "old"
    assert files_in(tmp_path) == ["a.txt"]


def test_leftovers_of_a_killed_run_are_cleared_before_the_next(tmp_path):
    left = tmp_path / ".a.txt.partial" / "scratch-1"
    left.mkdir(parents=True)
    (left / "x.tif").write_text("large")
    (left.parent / "y.tif").write_text("large")
    with staging(tmp_path / "a.txt") as stage:
        assert files_in(stage.folder) == ["lock"]
    assert files_in(tmp_path) == []


def test_a_worker_that_is_left_of_a_killed_run_does_not_write_into_the_next(tmp_path):
    final = tmp_path / "a.txt"
    with staging(final) as killed:
        file = killed.scratch / "bands.tif"
        file.touch()
    with staging(final) as stage:
        (stage.scratch / "bands.tif").touch()
        assert not file.exists()
        with pytest.raises(FileNotFoundError):
            file.write_text("late")


def test_a_second_run_on_the_same_output_is_refused(scene, tmp_path):
    final = tmp_path / "out.tif"
    with staging(final) as stage:
        stage.file.write_text("mine")
        with pytest.raises(OutputError, match=r"out\.tif: another run is writing this file"):
            write_cog(scene, final)
        assert stage.file.read_text() == "mine"
    write_cog(scene, final)


def test_names_that_look_like_scratch_files_are_safe(scene, tmp_path):
    for name in ("lock", "scratch", "bands.tif", "mask.tif", "-o.tif", "ä b'\".tif"):
        np.testing.assert_array_equal(open_scene(write_cog(scene, tmp_path / name)), scene)


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX signal")
def test_a_killed_run_leaves_no_half_file_and_the_next_one_cleans_up(scene, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    code = f"""
        import time, warnings
        from cloudfix.raster.cog import write_cog
        from cloudfix.raster.scene import open_scene
        scene = open_scene({scene.attrs["source"][0]!r}, chunks=256)
        write_cog(scene, {str(out / "out.tif")!r}, progress=lambda done, total: time.sleep(60 * (done == total)))
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY)
    deadline = time.monotonic() + 60
    while not _scratch(out, 100_000) and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert [item.name for item in out.iterdir()] == [".out.tif.partial"]
    assert _scratch(out)
    write_cog(scene, out / "out.tif")
    assert files_in(out) == ["out.tif"]
    np.testing.assert_array_equal(open_scene(out / "out.tif"), scene)


def _scratch(out, size=0):
    return [file for file in out.glob(".out.tif.partial/*/out.tif") if file.stat().st_size > size]


def test_a_folder_that_cannot_be_written_is_refused(scene, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(OutputError, match="no permission"):
        write_cog(scene, folder / "out.tif")


def test_a_folder_that_refuses_at_the_last_moment_is_one_line(scene, tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"out\.tif: cannot be written \(permission denied\)"):
        write_cog(scene, tmp_path / "out.tif")


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of a few MB, if this user may."""
    mounted = []

    def mount(megabytes):
        folder = tmp_path / "disk"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no permission to mount a small file system")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_disk_is_refused(scene, small_disk):
    disk = small_disk(20)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OutputError, match=r"out\.tif: .*(read-only file system|no permission)"):
        write_cog(scene, disk / "out.tif")


@pytest.mark.parametrize("megabytes", [1, 12])
def test_a_full_disk_is_one_line_and_leaves_nothing(scene, small_disk, megabytes, capfd):
    disk = small_disk(megabytes)
    with pytest.raises(OutputError, match=r"\(no space left on device: 14\.2 MB needed, .*free some space") as full:
        write_cog(scene, disk / "out.tif")
    assert "\n" not in str(full.value)
    assert files_in(disk) == []
    assert capfd.readouterr().err == ""


def test_what_just_fits_is_written(scene, small_disk):
    np.testing.assert_array_equal(open_scene(write_cog(scene, small_disk(15) / "out.tif")), scene)


@pytest.mark.parametrize("megabytes", [1, 2, 3, 4])
def test_a_disk_that_fills_up_unnoticed_is_still_an_output_error(scene, small_disk, monkeypatch, megabytes):
    """Another process may take the space after the look at it: while chunks, overviews or the COG are written."""
    for module in ("store", "cog"):
        monkeypatch.setattr(f"cloudfix.raster.{module}.require_space", lambda *_: None)
    disk = small_disk(megabytes)
    with pytest.raises(OutputError, match=r"out\.tif: cannot be written"):
        write_cog(scene, disk / "out.tif")
    assert files_in(disk) == []
