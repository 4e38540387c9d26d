"""Draws a network as an SVG file.

python -m research.network_diagram mgmtn_efficientnetlite0 docs/images/network.svg
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from far_keras.models.summary import Level, NetworkSummary, summarize
from far_keras.schema import CELEBA, AttributeSchema
from research.receptive_field import describe_field, fields_of_levels

if TYPE_CHECKING:
    import keras

__all__ = ["draw_network"]

_TOP, _ROW, _MARGIN = 96, 80, 20
_MOST_GROUPS = 10

# An own background keeps the drawing legible on any page; the colours follow the reader's scheme.
_STYLE = """
svg { --page:#ffffff; --ink:#1f2328; --dim:#59636e; --edge:#d1d9e0; --box:#ffffff;
 --backbone:#ddeeff; --mask:#dcf5e3; --fusion:#fff0d6; --heads:#efe3ff; --flow:#57606a; --green:#1a7f37 }
@media (prefers-color-scheme: dark) {
 svg { --page:#0d1117; --ink:#e6edf3; --dim:#9198a1; --edge:#3d444d; --box:#161b22;
 --backbone:#10263f; --mask:#10301b; --fusion:#372707; --heads:#2a1a42; --flow:#9198a1; --green:#3fb950 } }
text { font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif; font-size:13px;
 fill:var(--ink) }
.title { font-size:16px; font-weight:600 } .head { font-weight:600 }
.small { font-size:11.5px; fill:var(--dim) }
.page { fill:var(--page); stroke:var(--edge) } .box { fill:var(--box); stroke:var(--edge) }
.backbone { fill:var(--backbone) } .mask { fill:var(--mask) } .fusion { fill:var(--fusion) }
.heads { fill:var(--heads) }
.flow { fill:none; stroke:var(--flow); stroke-width:1.4; marker-end:url(#tip) }
.masks { fill:none; stroke:var(--green); stroke-width:1.6; marker-end:url(#green) }
.tip { fill:var(--flow) } .greentip { fill:var(--green) }
"""  # noqa: E501
_TIPS = "".join(
    f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    f'orient="auto"><path class="{kind}" d="M0 0 8 4 0 8z"/></marker>'
    for name, kind in (("tip", "tip"), ("green", "greentip"))
)


def draw_network(
    model: keras.Model, schema: AttributeSchema, summary: NetworkSummary | None = None
) -> str:
    """Draws a network: image, pyramid, mask network, pooling by groups, fusion and heads.

    Args:
        model: A network of `far_keras.models` for the attributes of `schema`.
        schema: Names the groups at the heads.
        summary: Its summary, if it was computed already.

    Returns:
        An SVG document of about 1100 x 560 units, without scripts and links; it is light or dark
        as its reader's system is.
    """
    return _Drawing(model, schema, summary or summarize(model)).document()


class _Columns(NamedTuple):
    """Left edges and widths, in SVG units."""

    image: tuple[int, int] = (20, 84)
    backbone: tuple[int, int] = (140, 168)
    masks: tuple[int, int] = (352, 140)
    pooling: tuple[int, int] = (544, 148)
    fusion: tuple[int, int] = (732, 124)
    heads: tuple[int, int] = (896, 184)


class _Drawing:
    """Collects the shapes; arrows lie under the boxes."""

    def __init__(self, model: keras.Model, schema: AttributeSchema, summary: NetworkSummary):
        self.summary = summary
        self.fields = fields_of_levels(model)
        self.schema = schema
        kinds = {type(layer).__name__: layer for layer in model.layers}
        self.fusion = kinds.get("GroupGlobalFusion")
        self.pooling = kinds.get("GroupPooling")
        self.has_global = "GlobalAveragePooling2D" in kinds
        self.grouped = "GroupedHead" in kinds
        self.shortcut = self.grouped and any(
            type(layer).__name__ == "Dense" for layer in model.layers
        )
        self.has_masks = "masks" in summary.outputs
        self.has_unet = "mask_network" in (layer.name for layer in model.layers)
        self.columns = _Columns()
        if not self.has_masks:
            self.columns = _Columns(pooling=(348, 148), fusion=(536, 124), heads=(700, 184))
            if self.fusion is None:
                self.columns = self.columns._replace(heads=(536, 184))
        first = 1 if self.has_masks else 0.4  # rows of masks, or room for the title
        self.level_y = {
            level.name: _TOP + _ROW * (first + i) for i, level in enumerate(summary.levels)
        }
        self.bottom = max(self.level_y.values()) + 2 * _ROW - 66
        self.areas: list[str] = []
        self.arrows: list[str] = []
        self.boxes: list[str] = []

    def document(self) -> str:
        self._image_and_backbone()
        if self.has_masks:
            self._masks()
        self._pooling()
        self._heads()
        width = self.columns.heads[0] + self.columns.heads[1] + _MARGIN
        height = int(self.bottom + 42)
        size = f"{self.summary.parameters / 1e6:.2f} M parameters, "
        size += f"{_giga(self.summary.flops)} GFLOPs per image"
        title = self._text(_MARGIN, 34, self.summary.name, "title") + self._text(
            _MARGIN, 54, size, "small"
        )
        body = "\n".join([*self.areas, title, *self.arrows, *self.boxes])
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" '
            f'aria-label="{escape(self.summary.name)}: diagram of the network">\n'
            f"<style>{_STYLE}</style><defs>{_TIPS}</defs>\n"
            f'<rect class="page" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10"/>'
            f"\n{body}\n</svg>\n"
        )

    def _image_and_backbone(self) -> None:
        levels = self.summary.levels
        x, w = self.columns.image
        self.image_y = self.level_y[levels[0].name] + 26
        shape = next(iter(self.summary.inputs.values()))
        self._box(x, self.image_y - 26, w, 52, ["image", _shape(shape)])
        self._arrow([(x + w, self.image_y), (self.columns.backbone[0] + 10, self.image_y)])
        self._area(self.columns.backbone, self.level_y[levels[0].name], "backbone", "backbone")
        middle = self.columns.backbone[0] + self.columns.backbone[1] // 2
        for level in levels:
            y = self.level_y[level.name]
            field = self.fields[level.name]
            stride = f"stride {field.stride}, " if field else ""
            sees = f"{stride}sees {describe_field(field)}"
            self._box(
                self.columns.backbone[0] + 10, y, self.columns.backbone[1] - 20, 52,
                [f"{level.name}   {_shape(level.shape)}", sees],
            )  # fmt: skip
            if level is not levels[-1]:
                self._arrow([(middle, y + 52), (middle, y + _ROW)])

    def _masks(self) -> None:
        x, w = self.columns.masks
        inner, right, top = x + 10, x + w - 10, _TOP
        own = [level for level in self.summary.levels if "mask network" in level.read_by]
        last = self.level_y[own[-1].name] + 30 if own else top + 52
        self._area(self.columns.masks, top, "mask network", "mask", bottom=last + 12)
        shape = _shape(self.summary.outputs["masks"])
        self._box(inner, top, w - 20, 52, ["group masks", shape])
        middle = x + w // 2
        for level in own:
            y = self.level_y[level.name]
            self._box(inner, y, w - 20, 30, [f"decode {level.name}"])
            self._arrow(
                [
                    (self.columns.backbone[0] + self.columns.backbone[1] - 10, y + 15),
                    (inner, y + 15),
                ]
            )
            above = y - _ROW + (52 if level is own[0] else 30)
            self._arrow([(middle, y), (middle, above)], "masks")
        if self.has_unet:
            start = self.columns.image[0] + self.columns.image[1] // 2
            self._arrow([(start, self.image_y - 26), (start, top + 26), (inner, top + 26)])
        # To the right as an output, and down to the pooling.
        self._arrow([(right, top + 18), (self.columns.heads[0], top + 18)], "masks")
        self._box(self.columns.heads[0], top, self.columns.heads[1], 36, [f"masks   {shape}"])
        bus = self.columns.pooling[0] - 26
        for level in self._pooled():
            y = self.level_y[level.name] + 15
            self._arrow(
                [(right, top + 36), (bus, top + 36), (bus, y), (self.columns.pooling[0] + 10, y)],
                "masks",
            )

    def _pooled(self) -> list[Level]:
        return [level for level in self.summary.levels if "fusion" in level.read_by]

    def _pooling(self) -> None:
        pooled = self._pooled()
        first, last = (self.level_y[pooled[i].name] for i in (0, -1))
        self.middle = (first + last + 52) / 2
        title = "masked pooling" if self.pooling is not None else "average pooling"
        self._area(
            self.columns.pooling, first, title, "fusion", bottom=last + 64, cost=self.fusion is None
        )
        target = (self.columns.fusion if self.fusion is not None else self.columns.heads)[0] + 10
        bus = self.columns.pooling[0] + self.columns.pooling[1] + 16
        for level in pooled:
            y, channels = self.level_y[level.name], level.shape[2]
            lines = [f"global   {channels}"] if self.has_global else []
            if self.pooling is not None:
                lines = [f"groups   {_shape((self.schema.num_groups, channels))}", *lines]
            self._box(self.columns.pooling[0] + 10, y, self.columns.pooling[1] - 20, 52, lines)
            start = self.columns.backbone[0] + self.columns.backbone[1] - 10
            self._arrow([(start, y + 41), (self.columns.pooling[0] + 10, y + 41)])
            right = self.columns.pooling[0] + self.columns.pooling[1] - 10
            self._arrow([(right, y + 26), (bus, y + 26), (bus, self.middle), (target, self.middle)])

    def _heads(self) -> None:
        schema = self.schema
        middle = self.middle
        if self.fusion is not None:
            self._area(
                self.columns.fusion, middle - 36, "G2FF fusion", "fusion", bottom=middle + 48
            )
            shape = _shape(tuple(self.fusion.output.shape[1:]))
            self._box(
                self.columns.fusion[0] + 8,
                middle - 36,
                self.columns.fusion[1] - 16,
                72,
                [self.fusion.mode, shape],
            )
        x, w = self.columns.heads
        chips = [(group.name, len(group.attributes)) for group in schema.groups]
        if not self.grouped:
            chips = [("one dense layer", schema.num_attributes)]
        elif len(chips) > _MOST_GROUPS:
            rest = chips[_MOST_GROUPS:]
            chips = [
                *chips[:_MOST_GROUPS], (f"{len(rest)} more groups", sum(n for _, n in rest)),
            ]  # fmt: skip
        height = 24 * len(chips)
        top = max(middle - height / 2, _TOP + 84 if self.has_masks else _TOP)
        self._area(self.columns.heads, top, "heads", "heads", bottom=top + height + 6)
        for i, (name, count) in enumerate(chips):
            y = top + 24 * i
            self.boxes.append(_rect("box", x + 10, y, w - 20, 20, 4))
            self.boxes.append(self._text(x + 20, y + 14.5, _short(name), "small"))
            self.boxes.append(self._text(x + w - 20, y + 14.5, str(count), "small", "end"))
        end = top + height + 6
        if self.fusion is not None:
            self._arrow(
                [(self.columns.fusion[0] + self.columns.fusion[1] - 8, middle), (x, middle)]
            )
        self.bottom = max(self.bottom, end + 38)
        output = self.bottom - 14
        self._box(x, output, w, 36, [f"attributes   {schema.num_attributes}"])
        self._arrow([(x + w / 2, end), (x + w / 2, output)])
        if self.shortcut:
            last = self.level_y[self._pooled()[-1].name]
            start = self.columns.pooling[0] + self.columns.pooling[1] // 2
            self._arrow([(start, last + 52), (start, output + 18), (x, output + 18)])
            self.boxes.append(
                self._text(start + 12, output + 12, "global shortcut: one dense layer", "small")
            )

    def _area(
        self, column: tuple[int, int], top: float, title: str, kind: str,
        bottom: float | None = None, cost: bool = True,
    ) -> None:  # fmt: skip
        """A part's tinted area with its name and, for a part of the summary, its size and cost."""
        x, w = column
        # Titles take two lines above the first box.
        part = self.summary.part({"mask": "mask network"}.get(kind, kind)) if cost else None
        end = bottom if bottom is not None else self.level_y[self.summary.levels[-1].name] + 64
        head = 40 if part else 24
        self.areas.append(_rect(kind, x, top - head, w, end - top + head, 8))
        self.boxes.append(self._text(x + 10, top - head + 16, title, "head"))
        if part:
            cost_text = f"{_count(part.parameters)}, {_giga(part.flops)} GF"
            self.boxes.append(self._text(x + 10, top - 8, cost_text, "small"))

    def _box(self, x: float, y: float, w: float, h: float, lines: Sequence[str]) -> None:
        self.boxes.append(_rect("box", x, y, w, h, 6))
        first = y + h / 2 - 9 * (len(lines) - 1) + 4.5
        for i, line in enumerate(lines):
            kind = "small" if i else ""
            self.boxes.append(self._text(x + w / 2, first + 18 * i, line, kind, "middle"))

    def _arrow(self, points: Sequence[tuple[float, float]], kind: str = "flow") -> None:
        path = " ".join(f"{x:g} {y:g}" for x, y in points)
        self.arrows.append(f'<path class="{kind}" d="M{path}"/>')

    @staticmethod
    def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
        return (
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}" '
            f'xml:space="preserve">{escape(text)}</text>'
        )


def _rect(kind: str, x: float, y: float, w: float, h: float, radius: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{radius:g}"/>'
    )


def _shape(shape: Sequence[int]) -> str:
    return "\N{MULTIPLICATION SIGN}".join(map(str, shape))


def _count(number: int) -> str:
    if number >= 1e6:
        return f"{number / 1e6:.2f} M"
    return f"{number / 1e3:.0f} k" if number >= 1e3 else str(number)


def _giga(flops: int) -> str:
    return f"{flops / 1e9:.3f}" if flops >= 5e5 else "<0.001"


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "…"


def main() -> None:
    """The command of the module's docstring."""
    import sys

    from far_keras.files import write_atomically
    from far_keras.models.variants import ModelConfig, build_model

    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m research.network_diagram VARIANT SVG")
    variant, path = sys.argv[1:]
    write_atomically(path, draw_network(build_model(ModelConfig(variant)), CELEBA))


if __name__ == "__main__":
    main()
