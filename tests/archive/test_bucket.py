"""Outputs in an object store, here fsspec's in memory."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from rasterio.io import MemoryFile

from cloudfix.archive.bucket import records_at
from cloudfix.archive.options import Options
from cloudfix.archive.run import Archive, run_archive
from cloudfix.archive.tasks import Names, plan
from cloudfix.errors import OutputError, UsageError

URL = "memory://bucket/clear"


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    MemoryFileSystem.store.clear()
    yield MemoryFileSystem()
    MemoryFileSystem.store.clear()


@pytest.fixture
def settle(bucket, write_scene, tiny_weights, tmp_path):
    """Runs an archive of two scenes and one bad one into the bucket; returns statuses."""
    paths = [write_scene(64, 64, name=f"{k}.tif", clouds=((10, 10, 20),)) for k in range(2)]
    (tmp_path / "bad.tif").write_text("no raster")

    def call():
        records = records_at(f"{URL}/")
        archive = Archive.open(records, Options(model=str(tiny_weights)))
        pages = tmp_path / "pages"
        pages.mkdir(exist_ok=True)
        names = Names(records.outputs, mask="{stem}_mask.tif", reports=pages, place=records.place)
        tasks = plan([(str(path),) for path in (*paths, tmp_path / "bad.tif")], names)
        return {outcome.to_json()["output"]: outcome for outcome in run_archive(archive, tasks)}

    return call


def test_outputs_and_records_end_up_in_the_bucket(settle, bucket, tmp_path):
    statuses = {output: outcome.status for output, outcome in settle().items()}
    assert statuses == {f"{URL}/0_clear.tif": "done", f"{URL}/1_clear.tif": "done", f"{URL}/bad_clear.tif": "failed"}
    assert sorted(path.removeprefix("/bucket/clear/") for path in bucket.find("/bucket")) == [
        ".cloudfix/0_clear.tif.json",
        ".cloudfix/1_clear.tif.json",
        ".cloudfix/bad_clear.tif.json",
        ".cloudfix/writable",
        "0_clear.tif",
        "0_mask.tif",
        "1_clear.tif",
        "1_mask.tif",
    ]
    with MemoryFile(bucket.cat("/bucket/clear/0_clear.tif")) as memory, memory.open() as made:
        assert made.count == 13
    assert not list((tmp_path / "scratch").rglob("*.tif"))
    assert len(list((tmp_path / "pages").iterdir())) == 2


def test_what_is_in_the_bucket_is_not_made_again(settle, bucket, tmp_path):
    settle()
    assert [outcome.status for outcome in settle().values()] == ["skipped", "skipped", "failed"]
    bucket.rm("/bucket/clear/1_mask.tif")
    again = settle()
    assert [outcome.status for outcome in again.values()] == ["skipped", "failed", "done"]
    assert [outcome.earlier for outcome in again.values()] == [False, True, False]
    (tmp_path / "pages" / "0_clear.tif.html").unlink()
    assert settle()[f"{URL}/0_clear.tif"].status == "done"


@pytest.mark.parametrize("kind", [RuntimeError, FileNotFoundError])
def test_a_bucket_that_does_not_take_an_output_is_told_and_asked_again(settle, monkeypatch, kind):
    def refuse(*_args, **_kwargs):
        raise kind("SlowDown:\nreduce your request rate")

    with monkeypatch.context() as broken:
        broken.setattr(MemoryFileSystem, "put_file", refuse)
        outcome = settle()[f"{URL}/0_clear.tif"]
    assert outcome.status == "failed"
    assert outcome.record.reason == (
        f"{URL}/0_clear.tif: cannot be reached (SlowDown: reduce your request rate); check address and rights"
    )
    assert settle()[f"{URL}/0_clear.tif"].status == "done"


@pytest.mark.parametrize("way", ["pipe_file", "cat_file"])
def test_a_bucket_out_of_reach_ends_the_run_before_it_begins(settle, monkeypatch, way):
    def refuse(*_args, **_kwargs):
        # As s3fs has it of a bucket that is not there, and of one that is not ours.
        raise {"pipe_file": FileNotFoundError, "cat_file": PermissionError}[way]("no such bucket")

    monkeypatch.setattr(MemoryFileSystem, way, refuse)
    with pytest.raises(OutputError, match=rf"{URL}/.*: cannot be reached \(no such bucket\)"):
        settle()


def test_a_store_that_nothing_knows_is_refused():
    with pytest.raises(UsageError, match="--out-dir nowhere://x"):
        records_at("nowhere://x")
