"""How outputs are named."""

from pathlib import Path

import pytest

from cloudfix.archive.tasks import Names, plan
from cloudfix.errors import UsageError


def test_names_are_filled_in_and_nothing_else_is():
    names = Names(Path("out"), "{parent}-{stem}.tif", mask="{stem}_mask.tif")
    (task,) = plan([("march/{parent}.tif",)], names)
    assert task.output == Path("out/march-{parent}.tif")
    assert task.mask == Path("out/{parent}_mask.tif")
    assert task.outputs == (task.output, task.mask)


@pytest.mark.parametrize("template", ["same.tif", "{stem}/x.tif", "{date}_{stem}.tif", "{stem.tif", "{}_{stem}.tif"])
def test_a_template_that_cannot_work_is_refused(template):
    with pytest.raises(UsageError, match="--name"):
        Names(Path("out"), template)


def test_two_scenes_of_one_name_are_told_apart_before_anything_runs():
    scenes = [("march/scene.tif",), ("april/scene.tif",)]
    with pytest.raises(UsageError, match=r"march/scene.tif and april/scene.tif would both become scene_clear.tif"):
        plan(scenes, Names(Path("out")))
    assert len({task.output for task in plan(scenes, Names(Path("out"), "{parent}_{stem}.tif"))}) == 2


def test_for_a_process_in_another_folder_all_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (task,) = plan([("a.tif", "https://host/b.tif", "/vsizip/x.zip/c.tif")], Names(Path("out"), mask="{stem}_m.tif"))
    moved = task.absolute()
    assert moved.sources == (str(tmp_path / "a.tif"), "https://host/b.tif", "/vsizip/x.zip/c.tif")
    assert moved.output.parent == moved.mask.parent == tmp_path / "out"
