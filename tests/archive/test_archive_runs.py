"""Many scenes: each done once, failures kept apart, and what makes a scene another one."""

import os
import shutil
from pathlib import Path

import pytest
import rasterio
from filelock import FileLock

from cloudfix.archive import run, scene
from cloudfix.archive.options import Options
from cloudfix.archive.records import Record, Records
from cloudfix.archive.run import Archive, run_archive
from cloudfix.archive.tasks import Names, plan
from cloudfix.errors import OutputError


@pytest.fixture
def options(tiny_weights):
    return Options(model=str(tiny_weights))


@pytest.fixture
def settle(tmp_path, options):
    """Runs an archive over paths; returns the outcomes by the scenes' stems."""

    def call(*paths, names=None, attempts=None, **how):
        archive = Archive.open(Records(tmp_path / "clear"), how.pop("options", options), **how)
        tasks = plan([(str(path),) for path in paths], names or Names(tmp_path / "clear"))
        outcomes = list(run_archive(archive, tasks, attempts))
        assert sorted(map(id, (o.task for o in outcomes))) == sorted(map(id, tasks))
        return {Path(outcome.task.sources[0]).stem: outcome for outcome in outcomes}

    return call


@pytest.fixture
def small(write_scene):
    def write(name="a.tif", **profile):
        return write_scene(64, 64, name=name, clouds=((10, 10, 20),), **profile)

    return write


def statuses(outcomes):
    return {name: outcome.status for name, outcome in outcomes.items()}


@pytest.fixture
def bad(tmp_path, small):
    """Scenes that cannot be restored, by what has to be said of them."""
    cut = small("cut.tif")
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size // 2)
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "empty.tif").touch()
    with rasterio.open(tmp_path / "bands.tif", "w", driver="GTiff", width=9, height=9, count=4, dtype="uint16"):
        pass
    said = {"cut": "truncated", "text": "not a raster", "folder": "folder", "empty": "0 bytes", "bands": "--bands"}
    return {tmp_path / f"{name}.tif": text for name, text in (said | {"absent": "no such file"}).items()}


def test_bad_scenes_do_not_stop_the_others_and_are_not_tried_again(settle, small, bad):
    paths = [*bad, small("a.tif"), small("b.tif")]
    first = settle(*paths)
    assert statuses(first) == {path.stem: "failed" for path in bad} | {"a": "done", "b": "done"}
    for path, text in bad.items():
        reason = first[path.stem].record.reason
        assert text in reason, reason
        assert str(path) in reason
        assert not first[path.stem].earlier
    again = settle(*paths)
    assert statuses(again) == {path.stem: "failed" for path in bad} | {"a": "skipped", "b": "skipped"}
    assert all(again[path.stem].earlier for path in bad)
    assert not any(outcome.earlier for outcome in settle(*paths, retry_failed=True).values())


def test_a_bad_scene_that_was_mended_is_tried_again(settle, small, tmp_path):
    path = tmp_path / "a.tif"
    path.write_text("no raster")
    assert statuses(settle(path)) == {"a": "failed"}
    small("a.tif")
    assert statuses(settle(path)) == {"a": "done"}


def test_what_is_done_is_left_alone(settle, small, tmp_path):
    path = small()
    assert statuses(settle(path)) == {"a": "done"}
    out = tmp_path / "clear" / "a_clear.tif"
    stat = out.stat()
    assert statuses(settle(path)) == {"a": "skipped"}
    assert (out.stat().st_mtime_ns, out.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)
    assert statuses(settle(path, overwrite=True)) == {"a": "done"}


def test_what_a_run_settled_itself_it_does_not_call_earlier(options, small, tmp_path):
    # A scene comes again when the worker that had settled it dies before it can tell.
    archive = Archive.open(Records(tmp_path / "clear"), options, overwrite=True, retry_failed=True)
    (tmp_path / "text.tif").write_text("no raster")
    tasks = plan([(str(small()),), (str(tmp_path / "text.tif"),)], Names(tmp_path / "clear"))
    inodes = []
    for _ in range(2):
        outcomes = [archive.attempt(task) for task in tasks]
        assert [(outcome.status, outcome.earlier) for outcome in outcomes] == [("done", False), ("failed", False)]
        inodes.append(tasks[0].output.stat().st_ino)
    assert inodes[0] == inodes[1]


def test_a_copy_of_the_archive_is_still_done(settle, small, tmp_path):
    path = small()
    settle(path)
    (tmp_path / "elsewhere").mkdir()
    os.utime(path)
    assert statuses(settle(path)) == {"a": "skipped"}
    assert statuses(settle(Path(shutil.copy(path, tmp_path / "elsewhere")))) == {"a": "skipped"}


@pytest.mark.parametrize(
    "change",
    [
        lambda tmp_path: (tmp_path / "clear" / "a_clear.tif").unlink(),
        lambda tmp_path: (tmp_path / "clear" / "a_clear.tif").write_bytes(b"cut short"),
        lambda tmp_path: (tmp_path / "clear" / ".cloudfix" / "a_clear.tif.json").write_text('{"status": "do'),
    ],
)
def test_what_is_not_there_as_it_was_made_is_made_again(settle, small, tmp_path, change):
    path = small()
    settle(path)
    made = (tmp_path / "clear" / "a_clear.tif").read_bytes()
    change(tmp_path)
    assert statuses(settle(path)) == {"a": "done"}
    assert (tmp_path / "clear" / "a_clear.tif").read_bytes() == made


def test_other_pixels_or_options_make_it_another_scene(settle, small, tiny_weights, tmp_path):
    path = small()
    settle(path)
    other = Options(model=str(tiny_weights), buffer=3)
    assert statuses(settle(path, options=other)) == {"a": "done"}
    assert statuses(settle(path, options=other)) == {"a": "skipped"}
    with rasterio.open(path, "r+") as file:
        file.write(file.read() + 1)
    assert statuses(settle(path, options=other)) == {"a": "done"}
    masked = Names(tmp_path / "clear", mask="{stem}_mask.tif")
    assert statuses(settle(path, options=other, names=masked)) == {"a": "done"}
    assert statuses(settle(path, options=other)) == {"a": "skipped"}


def test_other_weights_under_the_same_name_make_it_another_scene(settle, small, tiny_weights, tmp_path):
    from dataclasses import replace

    from cloudfix.models import load, save

    weights = tmp_path / "mine.safetensors"
    module, card = load(tiny_weights)
    save(weights, module, card)
    path, options = small(), Options(model=str(weights))
    settle(path, options=options)
    save(weights, module, replace(card, licence="another"))
    assert statuses(settle(path, options=options)) == {"a": "skipped"}
    next(module.parameters()).data += 1
    save(weights, module, card)
    assert statuses(settle(path, options=options)) == {"a": "done"}


def test_a_scene_that_another_run_has_in_hand_is_left_to_it(settle, small, tmp_path, monkeypatch):
    paths = [small("a.tif"), small("b.tif")]
    settle(paths[0])
    record = tmp_path / "clear" / ".cloudfix" / "a_clear.tif.json"
    kept = record.read_bytes()
    record.unlink()
    other = FileLock(record.with_suffix(".lock"))
    other.acquire()
    waited = []

    def finish(_seconds):
        waited.append(1)
        record.write_bytes(kept)
        other.release()

    monkeypatch.setattr(run.time, "sleep", finish)
    assert statuses(settle(*paths)) == {"b": "done", "a": "skipped"}
    assert waited


def test_an_output_that_cannot_be_written_is_tried_again_in_the_next_run(settle, small, monkeypatch):
    path, write = small(), scene.write_cog

    def fail(*_args, **_kwargs):
        raise OutputError("a_clear.tif: cannot be written (no space left on device)")

    monkeypatch.setattr(scene, "write_cog", fail)
    assert settle(path)["a"].record.reason.startswith("a_clear.tif: cannot be written")
    monkeypatch.setattr(scene, "write_cog", write)
    assert statuses(settle(path)) == {"a": "done"}


def test_a_mistake_of_ours_costs_one_scene(settle, small, monkeypatch):
    whole = scene.open_scene

    def fail(source, **options):
        if "b.tif" in source:
            raise ZeroDivisionError("by\nzero")
        return whole(source, **options)

    monkeypatch.setattr(scene, "open_scene", fail)
    outcomes = settle(*(small(f"{name}.tif") for name in "abc"))
    assert statuses(outcomes) == {"a": "done", "b": "failed", "c": "done"}
    assert "b.tif: unexpected ZeroDivisionError: by zero" in outcomes["b"].record.reason


def test_what_was_noticed_is_told_with_the_outcome(settle, small):
    outcome = settle(small(crs=None))["a"]
    assert any("no coordinate reference system" in note for note in outcome.record.warnings)
    assert 0.05 < outcome.record.cover["cloud"] < 0.2
    assert outcome.to_json()["CLOUDFIX_MODEL"] == "aca-crnet.tiny"


def test_nothing_but_outputs_and_records_is_left(settle, small, bad, tmp_path):
    settle(small(), *bad)
    clear = tmp_path / "clear"
    assert sorted(path.name for path in clear.iterdir()) == [".cloudfix", "a_clear.tif"]
    assert {path.suffix for path in (clear / ".cloudfix").iterdir()} == {".json", ".lock"}


def test_a_record_that_cannot_be_written_leaves_nothing(tmp_path):
    records = Records(tmp_path)
    (records.folder / "a.tif.json").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"\.cloudfix: cannot be written"):
        records.write("a.tif", Record("failed", "", "", {}, "", 0.0))
    assert [path.name for path in records.folder.iterdir()] == ["a.tif.json"]
    assert records.read("a.tif") is None


def test_a_failure_that_cannot_be_kept_is_still_told(options, small, tmp_path):
    archive = Archive.open(Records(tmp_path / "clear"), options)
    (task,) = plan([(str(small()),)], Names(tmp_path / "clear"))
    shutil.rmtree(archive.records.folder)
    archive.records.folder.write_text("in the way")
    assert archive.fail(task, "its worker died").record.reason == "its worker died"


def test_a_radar_image_that_came_later_is_used(settle, small, options, tmp_path):
    from dataclasses import replace

    import numpy as np

    folder = tmp_path / "s1"
    folder.mkdir()

    def radar(name):
        with rasterio.open(small("S2_20200110.tif")) as like:
            profile = like.profile | {"count": 2, "dtype": "float32", "nodata": None}
        with rasterio.open(folder / name, "w", **profile) as file:
            file.write(np.full((2, 64, 64), -12, "float32"))
            file.descriptions = ("VV", "VH")

    radar("S1A_20200301.tif")
    path, paired = small("S2_20200110.tif"), replace(options, sar_dir=folder)
    first = settle(path, options=paired)["S2_20200110"]
    assert "CLOUDFIX_SAR_PAIR" not in first.record.provenance
    assert statuses(settle(path, options=paired)) == {"S2_20200110": "skipped"}
    radar("S1A_20200112.tif")
    second = settle(path, options=paired)["S2_20200110"]
    assert second.record.provenance["CLOUDFIX_SAR_PAIR"] == "S1A_20200112.tif: 2.0 days after the scene"
    with rasterio.open(second.task.output) as file:
        assert file.tags()["CLOUDFIX_SAR_PAIR"] == second.record.provenance["CLOUDFIX_SAR_PAIR"]
    assert statuses(settle(path, options=paired)) == {"S2_20200110": "skipped"}
