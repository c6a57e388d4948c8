"""The pages hold: commands run and say what is printed below them, outputs appear, links and figures are right.

A page is followed from top to bottom in a folder with small stand-ins for the files that it names. What stands below a
command may leave out parts (…), and its numbers may differ; its words may not.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
import typer
import yaml
from rasterio.windows import Window

from cloudfix.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

ELSEWHERE = {
    "docs/clusters.md": "a cluster, GPUs or a bucket; tests/archive/test_cluster.py has the real ones",
    "docs/models/": "the images that the weights were judged on",
}
"""Pages whose commands are not run here but checked against the command line, and why."""

QUICK = (
    "batch=2", "steps=2", "validate_every=2", "tile=32", "overlap=8", "data.workers=0", "data.crop=16", "data.resize=32"
)  # fmt: skip
"""What is appended to trainings."""

OUTPUTS = ("-o", "--mask-out", "--quicklook", "--report", "--thickness", "--panels", "--write-card")
LATER = {"docs/archives.md": ("clear/a_clear.tif", "named/archive_a.tif", "named/a_mask.tif", "pages/index.html")}
"""What has to be there when a page is through, besides what OUTPUTS name."""


@dataclass(frozen=True)
class Command:
    """A line of a shell, and the comment behind it."""

    line: str
    comment: str

    @property
    def runs(self) -> bool:
        return not self.comment.startswith("needs ") and "…" not in self.line

    @property
    def words(self) -> list[str]:
        """What comes after `cloudfix`; nothing in a line of other programs."""
        words = shlex.split(self.line)
        return words[len(words) - words[::-1].index("cloudfix") :] if "cloudfix" in words else []


def blocks(page):
    """Language and text of each block of code; what is only indented is a shell's, as far as it is cloudfix."""
    block = re.compile(r"^```(\w*)\n(.*?)^```$|^((?: {4}[^\n]+\n)+)", re.MULTILINE | re.DOTALL)
    for language, text, indented in block.findall(page.read_text(encoding="utf-8")):
        lines = [line for line in indented.splitlines() if re.match(r" {4}(\S.* \| )?cloudfix ", line)]
        yield ("sh", "\n".join(lines)) if indented else (language, text)


def commands(text):
    for line in text.replace("\\\n", " ").splitlines():
        code, _, comment = re.sub(r"\s+# ", "\0", line, count=1).partition("\0")
        if code.strip():
            yield Command(code.strip(), comment.strip())


def check_options(command):
    """The command and its options exist."""
    if not command.words:
        return
    context, words = typer.Context(typer.main.get_command(app)), command.words
    while isinstance(context.command, typer.core.TyperGroup) and words and not words[0].startswith("-"):
        found = context.command.get_command(context, words[0])
        assert found, f"{command.line}: no command {words[0]}"
        context, words = typer.Context(found), words[1:]
    known = {name for option in context.command.get_params(context) for name in (*option.opts, *option.secondary_opts)}
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word not in known]
    assert not unknown, f"{command.line}: no option {unknown[0]}"


def like(line):
    """A pattern for a printed line: … is anything, a number any number."""
    words, *others = re.split(r"(…|(?<![\w.+-])\d[\d.]*(?!\w))", line.strip())
    pairs = zip(others[::2], others[1::2], strict=True)
    return re.escape(words) + "".join((".*" if part == "…" else r"[\d.]+") + re.escape(rest) for part, rest in pairs)


class Shell:
    """Runs commands as they are typed, `cloudfix` in this process."""

    def __init__(self, typed):
        self.typed = typed

    def run(self, command):
        """What the command prints; it must not fail, unless it is to be refused, and has to leave its outputs."""
        before, _, last = command.line.rpartition(" | ")
        if not last.startswith("cloudfix "):
            done = subprocess.run(["bash", "-c", command.line], capture_output=True, text=True)
            assert done.returncode == 0, (command.line, done.stderr)
            return done.stdout
        check_options(command)
        listed = subprocess.run(["bash", "-c", before], capture_output=True, check=True).stdout if before else b""
        quick = QUICK if command.words[0] == "train" and "--data" in command.words else ()
        began = time.time_ns()
        done = self.typed(*command.words, *quick, stdin=listed)
        code, said = done.returncode, done.stdout + done.stderr
        refused = command.comment == "refused"
        assert (code in {1, 2}) if refused else code == 0, (command.line, code, said)
        for option, value in zip(command.words, command.words[1:], strict=False):
            if option in OUTPUTS and "{" not in value and not refused:
                assert Path(value).stat().st_mtime_ns >= began - 1e7, f"{command.line}: no {value} was written"
        return said


def write(path, values, profile, names=None, tags=None):
    """A raster of its own size and place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    profile = profile | {"count": count, "height": height, "width": width, "dtype": values.dtype, "tiled": False}
    with rasterio.open(path, "w", **profile | {"blockxsize": None, "blockysize": None}) as file:
        file.write(values)
        file.descriptions = names or file.descriptions
        file.update_tags(**tags or {})


def crop(source, target, window, bands=None):
    """A part of a raster, with all or some of its bands (from 1)."""
    with rasterio.open(source) as file:
        indexes = bands or file.indexes
        names = [file.descriptions[index - 1] for index in indexes]
        profile = file.profile | {"transform": file.window_transform(window)}
        write(target, file.read(indexes, window=window), profile, names, file.tags())


HERE, HERE_IN_RADAR = Window(192, 192, 96, 96), Window(108, 101, 54, 56)
"""A part of the samples with cloud, shadow and clear ground."""


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory, samples, tiny_weights, products):
    """A folder with all files that the pages name, small."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for name in ("sentinel2_cloudy", "sentinel2_clear", "landsat8_scene"):
        crop(samples / f"{name}.tif", folder / f"sample_data/{name}.tif", HERE)
    cloudy, radar = samples / "sentinel2_cloudy.tif", samples / "sentinel2_sar.tif"
    scenes = ("archive/a.tif", "archive/b.tif", "archive/S2A_MSIL1C_20200110T100000.tif")
    (folder / "scenes.txt").write_text("\n".join(scenes))
    for name in ("scene.tif", *scenes):
        crop(cloudy, folder / name, HERE)
    for name in ("sample_data/sentinel2_sar.tif", "s1.tif", "radar/S1A_20200112T052310.tif"):
        crop(radar, folder / name, HERE_IN_RADAR)
    crop(radar, folder / "s1_vv.tif", HERE_IN_RADAR, [1])
    crop(radar, folder / "s1_vh.tif", HERE_IN_RADAR, [2])
    crop(radar, folder / "s1_half.tif", Window(108, 101, 25, 56))
    crop(cloudy, folder / "rgbn.tif", HERE, [2, 3, 4, 8])
    write_altered(folder, folder / "scene.tif")
    write_data_sets(folder, samples)
    write_weights(folder, tiny_weights)
    products.zipped(products.sentinel2(folder, level="L2A", offset=-1000))
    return folder


def write_altered(folder, scene):
    """The scene with an offset that nothing states; a stack without names; masks."""
    with rasterio.open(scene) as file:
        dn, profile, names = file.read(), file.profile, file.descriptions
    write(folder / "shifted.tif", dn + np.uint16(1000), profile, names)
    write(folder / "stack.tif", dn[[1, 2, 3, 8, 11, 12]] // 4 + np.uint16(7500), profile)
    mask = np.zeros((1, *dn.shape[1:]), "uint8")
    mask[:, 20:50, 20:50] = 1
    write(folder / "mask.tif", mask, profile | {"nodata": None})
    write(folder / "probability.tif", mask * np.float32(0.7), profile | {"nodata": None})


def write_data_sets(folder, samples):
    """Clear scenes, and pairs; one folder has too few."""
    for k, (row, column) in enumerate(product((0, 96, 192), (0, 96))):
        place = Window(column, row, 96, 96)
        crop(samples / "sentinel2_clear.tif", folder / f"my-scenes/place{k}.tif", place)
        for pairs in ("my-pairs", "DIR", "one-pair")[: 2 if k else 3]:
            for role in ("cloudy", "clear"):
                crop(samples / f"sentinel2_{role}.tif", folder / f"{pairs}/{role}/place{k}.tif", place)


def write_weights(folder, tiny_weights):
    """Weights under the name of those that come along, and a checkpoint."""
    from cloudfix.models import load, save
    from cloudfix.models.exporting import export_weights

    network, card = load(tiny_weights)
    save(folder / "my.safetensors", network, replace(card, name="aca-crnet.multi"))
    export_weights(tiny_weights, folder / "checkpoint.pth")


@pytest.fixture
def shell(stand_ins, tmp_path, monkeypatch, typed):
    """A shell in a copy of the stand-ins, with small weights under the name of those that come along."""
    folder = shutil.copytree(stand_ins, tmp_path / "folder")
    monkeypatch.chdir(folder)
    monkeypatch.setattr("cloudfix.models.registry._files", lambda: {"aca-crnet.multi": stand_ins / "my.safetensors"})
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Shell(typed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_can_be_followed(page, shell):
    name, said = page.relative_to(ROOT).as_posix(), ""
    elsewhere = name.startswith(tuple(ELSEWHERE))
    for language, text in blocks(page):
        if language == "sh":
            said = ""
            for command in commands(text):
                if elsewhere or not command.runs:
                    check_options(command)
                else:
                    said += shell.run(command)
        elif language == "text":
            for line in filter(str.strip, text.splitlines()):
                assert any(re.fullmatch(like(line), each.strip()) for each in said.splitlines()), (line, said)
        elif language == "yaml":
            follow_yaml(text)
        elif language == "python":
            code = compile(text, name, "exec")
            if not elsewhere and "…" not in text:
                exec(code, {})  # noqa: S102 - as a reader would
    assert [path for path in LATER.get(name, ()) if not Path(path).is_file()] == []


def follow_yaml(text):
    """Parse a block of YAML; one that begins with a file's name is that file."""
    assert yaml.safe_load(text)
    if named := re.match(r"# (\S+\.yaml)\n", text):
        Path(named[1]).write_text(text, encoding="utf-8")


def anchors(page):
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES[1:]} - {"README.md"}
    assert pages - set(re.findall(r"\]\(([^)#]+\.md)\)", index)) == set()


def test_figures_are_those_of_the_card():
    from cloudfix.models import read_card

    metrics = read_card("aca-crnet.multi").metrics
    about = "test/real cloud/all bands"
    assert metrics[f"{about}/all pixels/network/images"] == 9
    for page, key, words in (
        ("sar", "all pixels/network/psnr", "{:.2f} dB with radar"),
        ("sar", "all pixels/network, no SAR/psnr", "{:.2f} dB without"),
        ("models", "all pixels/network/psnr", "cloud {:.2f} dB"),
        ("models", "all pixels/nearest-clear/psnr", "gives {:.2f} dB"),
        ("models", "all pixels/copy/psnr", "input {:.2f} dB"),
        ("faq", "all pixels/network/ndvi", "off by {:.2f}"),
        ("faq", "all pixels/copy/ndvi", "input by {:.2f}"),
        ("faq", "clear pixels/network/changed", "by {:.3f} reflectance"),
    ):
        text = " ".join((ROOT / f"docs/{page}.md").read_text(encoding="utf-8").split())
        assert words.format(metrics[f"{about}/{key}"]) in text, (page, key)
