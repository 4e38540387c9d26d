"""Hides one facial region at a time, and measures which groups' probabilities change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from far_keras.console import format_interval
from far_keras.errors import DatasetError
from far_keras.evaluation.bootstrap import interval, resample_means
from far_keras.evaluation.metrics import group_masks
from far_keras.evaluation.predict import read_faces
from far_keras.files import atomic_path, write_atomically
from far_keras.images import resize_image
from far_keras.models.storage import compile_forward
from far_keras.schema import REGIONS

if TYPE_CHECKING:
    from rich.table import Table

    from far_keras.models.storage import LoadedModel

__all__ = ["Occlusion", "hide", "occlude", "occlusion_plot", "occlusion_table", "write_occlusion"]

HIDDEN = tuple(region for region in REGIONS if region != "object")
"""The regions that are hidden one at a time; "object" is the whole head."""


@dataclass(frozen=True)
class Occlusion:
    """How far hiding each region moves each group's probabilities.

    Args:
        name: The network's.
        groups: G group names.
        own: (G, R) bool: whether hiding a region should move the group's probabilities: it is one
            of the group's, or covers at least half of the group's mask, as the lower face does with
            the mouth's. A group of the whole head owns every region.
        moved: (N, G, R) mean over the group's attributes of the absolute change of the
            probability, in [0, 1]; NaN for a region that the image does not show.
    """

    name: str
    groups: tuple[str, ...]
    own: NDArray[np.bool_]
    moved: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(G, R) means over the images; NaN for a region that none shows."""
        known = np.isfinite(self.moved)
        total = np.where(known, self.moved, 0.0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return total / known.sum(axis=0)

    def shares(self, resamples: int = 1000, seed: int = 0) -> dict[str, tuple[float, float, float]]:
        """Mean change by own and by foreign regions, with 95% intervals over images.

        Groups of the whole head are left out: no region is foreign to them.
        """
        local = ~self.own.all(axis=1)
        means: dict[str, tuple[float, float, float]] = {}
        for key, chosen in (("own", self.own[local]), ("foreign", ~self.own[local])):
            each = np.where(chosen, self.moved[:, local], np.nan).reshape(len(self.moved), -1)
            known = np.isfinite(each)
            total = np.where(known, each, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
            total = np.where(known.any(axis=1), total, np.nan)[:, None]
            low, high = interval(resample_means(total, resamples=resamples, seed=seed))
            means[key] = (float(np.nanmean(total)), float(low[0]), float(high[0]))
        return means


def occlude(
    models: Mapping[str, LoadedModel],
    records: str | Path,
    split: str = "test",
    count: int = 200,
    batch_size: int = 32,
) -> list[Occlusion]:
    """Measures networks on the first images of a split that have masks.

    Args:
        models: By name.
        records: Folder that `far_keras.datasets.annotate` wrote.
        split: ``"train"``, ``"valid"`` or ``"test"``.
        count: Number of images, or all that there are.
        batch_size: Images at once.

    Raises:
        DatasetError: The records cannot be used, or no image of the split has masks.
    """
    found = read_faces(records, split, list(range(count))).values()
    faces = [(image, regions) for image, regions in found if regions is not None and regions.any()]
    if not faces:
        raise DatasetError(f"{records}: the split {split!r} has no image with masks")
    return [_occlude(name, model, faces, batch_size) for name, model in models.items()]


def hide(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Puts the colours around a region over it, so that nothing of what it showed is left.

    The region, 3 pixels wider, takes the blurred colours of what surrounds it (a normalised
    Gaussian, 12 pixels wide); the middle of a large one takes the mean of the rest.

    Args:
        image: (H, W, 3).
        mask: (H, W): what is to be hidden.
    """
    wide = np.asarray(Image.fromarray(mask).convert("L").filter(ImageFilter.MaxFilter(7))) > 0
    if not wide.any() or wide.all():
        return image
    import cv2

    weight = (~wide)[..., None].astype(np.float32)
    around = cv2.GaussianBlur(
        np.concatenate([image * weight, weight], axis=-1),
        (0, 0),
        12,
        borderType=cv2.BORDER_REPLICATE,
    )
    mean = image[~wide].mean(axis=0)
    filled = (around[..., :3] + 1e-3 * mean) / (around[..., 3:] + 1e-3)
    return np.where(wide[..., None], filled.round().clip(0, 255), image).astype(np.uint8)


def occlusion_table(results: Sequence[Occlusion]) -> Table:
    """Own and foreign changes of each network, for the terminal."""
    from rich.table import Table

    table = Table(
        title="mean change of a probability when a region is hidden", title_justify="left"
    )
    for column in ("network", "own region", "foreign region", "foreign / own"):
        table.add_column(column)
    for result in results:
        shares = result.shares()
        cells = [format_interval(*shares[key]) for key in ("own", "foreign")]
        table.add_row(result.name, *cells, f"{shares['foreign'][0] / shares['own'][0]:.2f}")
    return table


def occlusion_plot(results: Sequence[Occlusion], path: str | Path) -> Path:
    """Draws the changes: one panel per network, groups by hidden regions, own ones framed."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    top = max(float(np.nanmax(result.mean)) for result in results)
    groups = results[0].groups
    size = (2.2 + 4.2 * len(results), 1.6 + 0.36 * len(groups))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for panel, result in zip(panels, results, strict=True):
        drawn = panel.imshow(result.mean, vmin=0, vmax=top, cmap="Blues", aspect="auto")
        for g, r in np.ndindex(result.mean.shape):
            value = result.mean[g, r]
            color = "white" if value > 0.6 * top else "#333333"
            panel.text(r, g, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)
            if result.own[g, r]:
                frame = Rectangle((r - 0.5, g - 0.5), 1, 1, fill=False, ec="#c0392b", lw=1.5)
                panel.add_patch(frame)
        labels = [region.replace("_", " ") for region in HIDDEN]
        panel.set_xticks(range(len(HIDDEN)), labels, rotation=35, ha="right", fontsize=8)
        panel.set_yticks(range(len(groups)), groups, fontsize=8)
        panel.set_title(result.name, fontsize=10)
        panel.set_xlabel("hidden region", fontsize=9)
    panels[0].set_ylabel("probabilities of the group", fontsize=9)
    figure.colorbar(drawn, ax=list(panels), label="mean change of the probability")
    path = Path(path)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    return path


def write_occlusion(results: Sequence[Occlusion], folder: str | Path) -> list[Path]:
    """Writes ``occlusion.json`` and ``occlusion.png`` into `folder`."""
    folder = Path(folder)
    data = [
        {
            "name": result.name,
            "images": len(result.moved),
            "regions": list(HIDDEN),
            "change": dict(zip(result.groups, result.mean.round(5).tolist(), strict=True)),
            **result.shares(),
        }
        for result in results
    ]
    write_atomically(folder / "occlusion.json", json.dumps(data, indent=1) + "\n")
    return [folder / "occlusion.json", occlusion_plot(results, folder / "occlusion.png")]


def _occlude(
    name: str,
    loaded: LoadedModel,
    faces: Sequence[tuple[NDArray, NDArray]],
    batch_size: int,
) -> Occlusion:
    schema, size = loaded.schema, loaded.image_size
    forward = compile_forward(loaded.model)
    untrained = set(loaded.untrained)

    def predict(images: Sequence[NDArray]) -> NDArray[np.float64]:
        small = [resize_image(image, size) for image in images]
        parts = [
            forward(np.stack(small[start : start + batch_size]).astype(np.float32))["attributes"]
            for start in range(0, len(small), batch_size)
        ]
        return loaded.calibration.probabilities(np.concatenate(parts), schema.attributes)

    shown = predict([image for image, _ in faces])
    moved = np.full((len(faces), schema.num_groups, len(HIDDEN)), np.nan)
    for r, region in enumerate(HIDDEN):
        masks = [regions[..., REGIONS.index(region)] for _, regions in faces]
        rows = [n for n, mask in enumerate(masks) if mask.any()]
        if not rows:
            continue
        change = np.abs(predict([hide(faces[n][0], masks[n]) for n in rows]) - shown[rows])
        for g, group in enumerate(schema.groups):
            columns = [schema.index(a) for a in group.attributes if a not in untrained]
            if columns:
                moved[rows, g, r] = change[:, columns].mean(axis=1)
    own = np.array(
        [[bool({r, "object"} & set(group.regions)) for r in HIDDEN] for group in schema.groups]
    )
    return Occlusion(name, schema.group_names, own | _covers(loaded, faces), moved)


def _covers(loaded: LoadedModel, faces: Sequence[tuple[NDArray, NDArray]]) -> NDArray[np.bool_]:
    """(G, R): whether a region covers at least half of a group's mask, over all images."""
    shared = np.zeros((loaded.schema.num_groups, len(HIDDEN)))
    areas = np.zeros((loaded.schema.num_groups, 1))
    for _, regions in faces:
        groups = group_masks(regions, loaded.schema).reshape(loaded.schema.num_groups, -1) > 0
        hidden = regions[..., [REGIONS.index(r) for r in HIDDEN]].reshape(-1, len(HIDDEN))
        shared += groups.astype(np.float32) @ hidden.astype(np.float32)
        areas += groups.sum(axis=1, keepdims=True)
    return shared >= 0.5 * np.maximum(areas, 1)
