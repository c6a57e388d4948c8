"""One scene's part of a run: what is read, and which files are to be made of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from string import Formatter
from typing import TYPE_CHECKING

from cloudfix.archive.listing import stem
from cloudfix.errors import UsageError
from cloudfix.raster.location import absolute, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PLACEHOLDERS = ("stem", "parent")


@dataclass(frozen=True)
class Task:
    """What is to be done about one scene.

    Attributes:
        sources: its file, folder or URL; or its band files.
        output: the COG to write.
        mask: where the mask goes, if anywhere.
        quicklook: where the picture goes, if anywhere.
        report: where the page to look at goes, if anywhere.
        item: where the STAC Item goes, if anywhere.
        place: URL under which the outputs end up, if it is not their folder.
    """

    sources: tuple[str, ...]
    output: Path
    mask: Path | None = None
    quicklook: Path | None = None
    report: Path | None = None
    item: Path | None = None
    place: str = ""

    @property
    def address(self) -> str:
        """What the output is called where it ends up."""
        return f"{self.place}/{self.output.name}" if self.place else str(self.output)

    @property
    def title(self) -> str:
        """What messages call the scene."""
        more = len(self.sources) - 1
        first = shown(self.sources[0])
        return f"{first} and {more} more" if more else first

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that are to be made."""
        wanted = (self.output, self.mask, self.quicklook, self.report, self.item)
        return tuple(path for path in wanted if path is not None)

    @property
    def hidden_mask(self) -> Path:
        """Where the mask is for as long as it is needed, if it is not wanted."""
        return self.output.with_name(f".{self.output.name}.mask.tif")

    def with_item(self) -> Task:
        """The same with a STAC Item beside the output, and the mask and the picture that it tells of."""
        named = self.output.with_name
        return replace(
            self,
            item=self.output.with_suffix(".json"),
            mask=self.mask or named(f"{self.output.stem}_mask.tif"),
            quicklook=self.quicklook or named(f"{self.output.stem}_quicklook.png"),
        )

    def absolute(self) -> Task:
        """The same for a process in another folder."""
        moved = {
            name: path.absolute()
            for name in ("output", "mask", "quicklook", "report", "item")
            if (path := getattr(self, name)) is not None
        }
        return replace(self, sources=tuple(absolute(source) for source in self.sources), **moved)


@dataclass(frozen=True)
class Names:
    """How outputs are named after their scenes: templates of file names with {stem} and {parent}.

    Attributes:
        folder: where all of them go, but for reports.
        output: of the COG.
        mask: of the mask.
        quicklook: of the picture.
        reports: folder of the pages to look at.
        items: whether STAC Items are written.
        place: as in `Task`.
    """

    folder: Path
    output: str = "{stem}_clear.tif"
    mask: str | None = None
    quicklook: str | None = None
    reports: Path | None = None
    items: bool = False
    place: str = ""

    def __post_init__(self) -> None:
        for option, template in (("name", self.output), ("mask-out", self.mask), ("quicklook", self.quicklook)):
            if template is not None:
                _check(f"--{option} {template}", template)

    def task(self, scene: tuple[str, ...]) -> Task:
        """What is to be made of one scene."""

        def path(template: str | None) -> Path | None:
            return None if template is None else self.folder / _fill(template, scene)

        output = self.folder / _fill(self.output, scene)
        report = None if self.reports is None else self.reports / f"{output.name}.html"
        task = Task(scene, output, path(self.mask), path(self.quicklook), report, place=self.place)
        return task.with_item() if self.items else task


def plan(scenes: Iterable[tuple[str, ...]], names: Names) -> list[Task]:
    """A task for every scene.

    Raises:
        UsageError: two scenes would be written to one file.
    """
    tasks = [names.task(scene) for scene in scenes]
    owners: dict[Path, Task] = {}
    for task in tasks:
        for path in task.outputs:
            other = owners.setdefault(path, task)
            if other is not task:
                raise UsageError(
                    f"--name {names.output}: {other.title} and {task.title} would both become {path.name}; "
                    "tell them apart, such as with '{parent}_{stem}_clear.tif'"
                )
    return tasks


def _check(option: str, template: str) -> None:
    try:
        fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except ValueError as reason:
        raise UsageError(f"{option}: {reason}; expected a file name such as '{{stem}}_clear.tif'") from None
    if "stem" not in fields or set(fields) - set(_PLACEHOLDERS) or PurePath(template).name != template:
        raise UsageError(
            f"{option}: expected a file name with {{stem}}, and maybe {{parent}}, such as '{{stem}}_clear.tif'; "
            "the folder is for --out-dir"
        )


def _fill(template: str, scene: Sequence[str]) -> str:
    values = {"stem": stem(scene), "parent": PurePath(absolute(scene[0])).parent.name}
    return re.sub(r"\{(stem|parent)\}", lambda found: values[found[1]], template)
