"""A disk that fills up or goes read-only in the middle of an archive."""

import subprocess

import pytest

from cloudfix.archive.options import Options
from cloudfix.archive.records import Records
from cloudfix.archive.run import Archive, run_archive
from cloudfix.archive.tasks import Names, plan


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own; returns its folder and a function to mount it with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode

    if mount("size=24m"):
        pytest.skip("mounting a small disk needs root")
    yield folder, mount
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def settle(disk, write_scene, tiny_weights):
    """Runs an archive of six scenes onto the disk; yields the outcomes one by one."""
    paths = [write_scene(200, 200, name=f"{k}.tif", clouds=((10, 10, 40),)) for k in range(6)]

    def call():
        archive = Archive.open(Records(disk[0] / "clear"), Options(model=str(tiny_weights), compress="NONE"))
        yield from run_archive(archive, plan([(str(path),) for path in paths], Names(disk[0] / "clear")))

    return call


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".cloudfix")


def test_a_full_disk_costs_the_scenes_that_do_not_fit(disk, settle):
    folder, mount = disk
    outcomes = list(settle())
    done = [outcome.task.output.name for outcome in outcomes if outcome.status == "done"]
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    assert 0 < len(done) < 6
    assert len(done) + len(failed) == 6
    assert all("space" in outcome.record.reason.lower() for outcome in failed)
    assert all("\n" not in outcome.record.reason for outcome in failed)
    assert left(folder / "clear") == sorted(done)
    assert not list(folder.rglob("*.partial"))
    assert mount("remount,size=128m") == 0
    assert [outcome.status for outcome in settle()].count("done") == len(failed)
    assert len(left(folder / "clear")) == 6


def test_a_disk_that_goes_read_only_costs_what_is_left(disk, settle):
    folder, mount = disk
    assert mount("remount,size=128m") == 0
    outcomes = settle()
    assert next(outcomes).status == "done"
    assert mount("remount,ro") == 0
    rest = list(outcomes)
    assert [outcome.status for outcome in rest] == ["failed"] * 5
    assert all("read-only file system" in outcome.record.reason.lower() for outcome in rest)
    assert mount("remount,rw") == 0
    assert left(folder / "clear") == ["0_clear.tif"]
    assert [outcome.status for outcome in settle()] == ["skipped"] + ["done"] * 5
