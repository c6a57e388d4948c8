"""One scene, from its files to all outputs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudfix.archive.notes import collected_notes
from cloudfix.archive.radar import Place
from cloudfix.archive.stac import write_item
from cloudfix.clouds.classes import CLOUD, NODATA, SHADOW
from cloudfix.errors import CloudfixError
from cloudfix.raster.cog import write_cog
from cloudfix.raster.header import opened
from cloudfix.raster.sar import open_sar
from cloudfix.raster.scene import open_scene
from cloudfix.report.page import Story, write_page
from cloudfix.restoration.cover import Cover
from cloudfix.restoration.restore import restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudfix.archive.options import Options
    from cloudfix.archive.radar import Catalogue
    from cloudfix.archive.tasks import Task

PAIR_TAG = "CLOUDFIX_SAR_PAIR"


@dataclass(frozen=True)
class Restored:
    """What is known of a scene once its outputs are written.

    Attributes:
        provenance: the tags of the output.
        cover: shares of cloud and shadow, counted in the mask; None if it was not asked for.
        radar: the record of how a radar image was chosen, if one was looked for.
        picture: of the output, small, as a data URI; where a page was written.
    """

    provenance: dict[str, str]
    cover: Cover | None = None
    radar: dict[str, Any] | None = None
    picture: str | None = None


def restore_scene(
    task: Task,
    options: Options,
    *,
    catalogue: Catalogue | None = None,
    count: bool = False,
    notes: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Restored:
    """Restore a scene and write all its outputs, on dask's current scheduler.

    Args:
        task: what is read and written.
        options: how.
        catalogue: radar images to choose from.
        count: whether the cover is to be told.
        notes: what the page is to tell, with what comes to be said until it is written.
        progress: as for `write_cog`.

    Raises:
        CloudfixError: whatever is wrong with scene, options or outputs.
    """
    began = time.perf_counter()
    sources = task.sources[0] if len(task.sources) == 1 else task.sources
    scene = open_scene(sources, **options.opening)
    pair = catalogue.pair(scene) if catalogue else None
    radar = pair.radar if pair else None
    if options.sar:
        radar = open_sar(options.sar, scene, allow_remote=options.allow_remote)
    restored = restore(scene, sar=radar, **options.restoring)
    tags = {PAIR_TAG: pair.note} if pair else {}
    with _mask_of(task, needed=count or task.report is not None or task.item is not None) as mask:
        write_cog(
            restored,
            task.output,
            mask_path=mask,
            quicklook=task.quicklook,
            before=scene if task.quicklook else None,
            compress=options.compress,
            tags=tags,
            progress=progress,
        )
        provenance = restored.attrs["provenance"] | tags
        cover = None if mask is None else count_cover(mask, provenance["CLOUDFIX_MASK"])
        picture = None
        if task.report is not None and mask is not None and cover is not None:
            seconds = time.perf_counter() - began
            story = Story(task.title, scene, task.output, mask, cover, seconds, provenance, list(notes))
            picture = write_page(task.report, story)
        if task.item is not None and cover is not None:
            write_item(task, scene, cover, provenance)
    return Restored(provenance, cover, catalogue.choice(Place.of(scene)) if catalogue else None, picture)


@dataclass(frozen=True)
class Single:
    """What is done with a scene that is a run of its own; small enough to travel to any worker.

    Attributes:
        options: how.
        catalogue: as for `restore_scene`.
    """

    options: Options
    catalogue: Catalogue | None = None

    def absolute(self) -> Single:
        """The same for a process in another folder."""
        return replace(self, options=self.options.absolute())

    def attempt(self, task: Task) -> tuple[Restored | CloudfixError, list[str]]:
        """Restore the scene: what is known of it or why it failed, and the notes on the way.

        An error is a result here: raised, it would travel with those of GDAL that led to it, which do not.
        """
        with collected_notes() as notes:
            try:
                return restore_scene(task, self.options, catalogue=self.catalogue, count=True, notes=notes), notes
            except CloudfixError as error:
                return type(error)(str(error)), notes


@contextmanager
def _mask_of(task: Task, *, needed: bool) -> Iterator[Path | None]:
    """Where the mask is while the outputs are made: where it is to stay, or hidden beside the output."""
    if task.mask is not None or not needed:
        yield task.mask
        return
    try:
        yield task.hidden_mask
    finally:
        task.hidden_mask.unlink(missing_ok=True)


def count_cover(mask: Path, source: str) -> Cover:
    """Shares of cloud and shadow among the pixels of a mask that have data, a block at a time.

    Args:
        mask: as `write_cog` writes it.
        source: what told them.
    """
    counts = np.zeros(256, np.int64)
    with opened(mask) as dataset:
        for _, window in dataset.block_windows(1):
            counts += np.bincount(dataset.read(1, window=window).ravel(), minlength=256)
    seen = max(int(counts.sum() - counts[NODATA]), 1)
    return Cover(float(counts[CLOUD] / seen), float(counts[SHADOW] / seen), source)
