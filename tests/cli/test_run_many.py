"""`cloudfix run --out-dir` as shells use it: pipes, lists, odd names, failures, interruptions."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from cloudfix.cli import app

ODD = ("with space.tif", "-dash.tif", "new\nline.tif", "quote'\".tif", "naïve ☁.tif")


@pytest.fixture
def small(write_scene):
    return lambda name: write_scene(64, 64, name=name, clouds=((10, 10, 20),))


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch):
    """Runs the command in the folder of the scenes."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, stdin=None, code=0):
        command = ["run", "--out-dir", "clear", "--model", str(tiny_weights), *map(str, arguments)]
        result = CliRunner().invoke(app, command, input=stdin)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return call


def counts(stderr):
    """The numbers of scenes, done, skipped and failed of the summary."""
    return tuple(map(int, re.search(r"scenes/min *\n *(\d+) +(\d+) +(\d+) +(\d+) ", stderr).groups()))


def test_paths_from_a_pipe_give_a_path_a_line(run, small):
    names = [small(name).name for name in ("a.tif", "b.tif")]
    result = run("-", stdin="\n".join(names).encode())
    assert result.stdout == "clear/a_clear.tif\nclear/b_clear.tif\n"
    assert counts(result.stderr) == (2, 2, 0, 0)
    again = run("-", stdin="\n".join(names).encode())
    assert again.stdout == ""
    assert counts(again.stderr) == (2, 0, 2, 0)


def test_odd_names_go_through_a_pipe_of_nul_separated_names(run, small, tmp_path):
    for name in ODD:
        small(name)
    result = run("-", "-0", stdin=b"\0".join(map(os.fsencode, ODD)))
    assert counts(result.stderr)[:2] == (len(ODD), len(ODD))
    printed = [os.fsdecode(path) for path in result.stdout_bytes.removesuffix(b"\0").split(b"\0")]
    assert printed == [f"clear/{name.removesuffix('.tif')}_clear.tif" for name in ODD]
    assert all((tmp_path / path).is_file() for path in printed)


def test_failures_are_told_and_counted_and_the_rest_is_done(run, small, tmp_path):
    (tmp_path / "bad.tif").write_text("no raster")
    result = run("bad.tif", small("a.tif"), code=1)
    assert result.stdout == "clear/a_clear.tif\n"
    assert re.search(r"^error: bad\.tif: not a raster", result.stderr, re.MULTILINE)
    assert counts(result.stderr) == (2, 1, 0, 1)
    again = run("bad.tif", "a.tif", code=1)
    assert "error:" not in again.stderr
    assert re.search(r"^failed: bad\.tif: not a raster.*--retry-failed", again.stderr, re.MULTILINE)
    assert "error: bad.tif" in run("bad.tif", "a.tif", "--retry-failed", code=1).stderr


def test_json_lines_tell_what_became_of_each(run, small, tmp_path):
    (tmp_path / "bad.tif").write_text("no raster")
    small("a.tif")
    bad, good = map(json.loads, run("bad.tif", "a.tif", "--json", code=1).stdout.splitlines())
    assert (bad["status"], bad["source"], bad["earlier"]) == ("failed", ["bad.tif"], False)
    assert "not a raster" in bad["reason"]
    assert (good["status"], good["output"], good["warnings"]) == ("done", "clear/a_clear.tif", [])
    assert good["seconds"] > 0
    assert 0 < good["cover"]["cloud"] < 1
    assert good["CLOUDFIX_MODEL"] == "aca-crnet.tiny"
    statuses = [json.loads(line)["status"] for line in run("bad.tif", "a.tif", "--json", code=1).stdout.splitlines()]
    assert statuses == ["failed", "skipped"]


def test_on_error_stop_leaves_the_rest(run, small, tmp_path):
    (tmp_path / "bad.tif").write_text("no raster")
    result = run("bad.tif", small("a.tif"), "--on-error", "stop", code=1)
    assert result.stdout == ""
    assert "1 of 2 scenes are settled" in result.stderr
    assert run("bad.tif", "a.tif", "--on-error", "stop", code=1).stdout == "clear/a_clear.tif\n"


def test_lists_names_masks_and_pictures(run, small, tmp_path):
    (tmp_path / "list").write_text(f"{small('a.tif')}\n{small('b.tif')}\n")
    names = ("--name", "{parent}-{stem}.tif", "--mask-out", "{stem}_m.tif", "--quicklook", "{stem}.png")
    assert run("--from-file", "list", *names).stdout.splitlines() == [
        f"clear/{tmp_path.name}-a.tif",
        f"clear/{tmp_path.name}-b.tif",
    ]
    assert {path.name for path in (tmp_path / "clear").glob("[ab]*")} == {"a_m.tif", "b_m.tif", "a.png", "b.png"}


def test_outputs_of_an_earlier_run_are_not_taken_for_scenes(run, small, tmp_path):
    small("a.tif")
    run("a.tif", "--mask-out", "{stem}_mask.tif")
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.tif"))
    assert len(found) == 3
    result = run("-", "--mask-out", "{stem}_mask.tif", stdin="\n".join(found))
    assert "2 of the files named are outputs of an earlier run" in result.stderr
    assert counts(result.stderr) == (1, 0, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.tif", "-o", "b.tif"], "either --output FILE"),
        ([], "no scene named"),
        (["a.tif", "--on-error", "ignore"], "--on-error ignore"),
        (["a.tif", "--name", "b.tif"], "--name b.tif"),
        (["a/x.tif", "b/x.tif"], "tell them apart"),
    ],
)
def test_wrong_use(run, arguments, said):
    error = run(*arguments, code=1).exception
    assert error.exit_code == 2
    assert said in str(error)


def test_an_empty_pipe_is_no_mistake(run):
    assert counts(run("-", stdin=b"").stderr) == (0, 0, 0, 0)


def start(folder, tiny_weights, *arguments):
    command = [sys.executable, "-m", "cloudfix", "run", *arguments, "--out-dir", "clear", "--model", str(tiny_weights)]
    # A shell starts what runs in the background, as these tests may, deaf to Ctrl-C.
    return subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_says_how_to_go_on(small, tiny_weights, tmp_path):
    names = [small(f"{k:02}.tif").name for k in range(40)]
    process = start(tmp_path, tiny_weights, *names)
    assert process.stdout.readline() == "clear/00_clear.tif\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    done = 1 + len(out.splitlines())
    assert err.splitlines()[-1].startswith(f"error: interrupted; {done} of 40 scenes are settled")
    assert "Traceback" not in err
    assert done < 40
    assert sorted(path.name for path in (tmp_path / "clear").iterdir()) == [
        ".cloudfix",
        *(f"{k:02}_clear.tif" for k in range(done)),
    ]


def test_killed_again_and_again_it_ends_with_the_files_of_a_quiet_run(run, small, tiny_weights, tmp_path):
    names = [small(f"{k:02}.tif").name for k in range(9)]
    for name in ("x.tif", "y.tif", "z.tif"):
        (tmp_path / name).write_text("no raster")
        names.insert(4, name)
    for scenes in (1, 4):
        process = start(tmp_path, tiny_weights, *names)
        for _ in range(scenes):
            process.stdout.readline()
        time.sleep(0.1)
        process.kill()
        process.communicate()
    before = {path.name for path in (tmp_path / "clear").glob("*.tif")}
    assert 0 < len(before) < 9
    assert counts(run(*names, code=1).stderr)[3] == 3
    (tmp_path / "clear").rename(tmp_path / "troubled")
    assert counts(run(*names, code=1).stderr) == (12, 9, 0, 3)
    troubled, quiet = (
        {path.name: path.read_bytes() for path in (tmp_path / folder).glob("*.tif")} for folder in ("troubled", "clear")
    )
    assert len(quiet) == 9
    assert troubled == quiet
    assert not list((tmp_path / "troubled").glob(".*.partial"))


def test_a_name_that_gdal_cannot_take_costs_one_scene(run, small, tmp_path):
    latin = os.fsdecode(b"latin\xe9.tif")
    small("a.tif").rename(tmp_path / latin)
    small("b.tif")
    result = run("-", stdin=os.fsencode(latin) + b"\nb.tif\n", code=1)
    assert result.stdout == "clear/b_clear.tif\n"
    assert counts(result.stderr) == (2, 1, 0, 1)
    assert "check the name" in result.stderr


def test_pages_and_items_of_many(run, small, tmp_path):
    pytest.importorskip("pystac")
    (tmp_path / "bad.tif").write_text("no raster")
    options = ("--report", "pages/index.html", "--stac")
    run(small("a.tif").name, "bad.tif", *options, code=1)
    assert {path.name for path in (tmp_path / "pages").iterdir()} == {"index.html", "a_clear.tif.html"}
    assert {path.suffix for path in (tmp_path / "clear").glob("a_clear*")} == {".tif", ".png", ".json"}
    index = (tmp_path / "pages" / "index.html").read_text()
    assert 'href="a_clear.tif.html"' in index
    assert "bad.tif: not a raster" in index
    assert "data:image/jpeg" in index
    assert counts(run("a.tif", "bad.tif", *options, code=1).stderr) == (2, 0, 1, 1)
    assert "data:image/jpeg" in (tmp_path / "pages" / "index.html").read_text()


def test_a_page_and_an_item_of_one(small, tiny_weights, tmp_path):
    pytest.importorskip("pystac")
    outputs = ("-o", str(tmp_path / "out.tif"), "--report", str(tmp_path / "out.html"), "--stac", "--json")
    result = CliRunner().invoke(app, ["run", str(small("a.tif")), *outputs, "--model", str(tiny_weights)])
    record = json.loads(result.stdout)
    assert record["cover"]["cloud"] > 0
    assert {path.name for path in tmp_path.glob("*out*")} == {
        "out.tif",
        "out.html",
        "out.json",
        "out_mask.tif",
        "out_quicklook.png",
    }


def test_workers_do_the_same(run, small, tmp_path):
    names = [small(f"{k}.tif").name for k in range(3)]
    assert sorted(run(*names, "--workers", "1").stdout.split()) == [f"clear/{k}_clear.tif" for k in range(3)]
    (tmp_path / "clear").rename(tmp_path / "workers")
    run(*names)
    for k in range(3):
        assert (tmp_path / "workers" / f"{k}_clear.tif").read_bytes() == (
            tmp_path / "clear" / f"{k}_clear.tif"
        ).read_bytes()
