"""The HTML report of a quickstart: one file without scripts, fonts or images from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from far_keras.console import format_duration
from far_keras.evaluation.evaluate import MAJORITY
from far_keras.evaluation.predict import predict_split, read_faces
from far_keras.evaluation.report import HEADLINE, mask_examples, plot_curves, worst_mistakes
from far_keras.files import write_atomically
from far_keras.models.storage import load_model
from far_keras.recognition.drawing import group_colors

__all__ = ["CaptionedImage", "Page", "quickstart_page", "write_page"]

_CURVES = {"loss": "loss", "auc": "ROC AUC", "accuracy": "accuracy", "iou": "mask IoU"}
_FACES = 6
_METRICS = {key: HEADLINE[key] for key in ("roc_auc", "accuracy", "balanced_accuracy", "f1")}


@dataclass(frozen=True)
class CaptionedImage:
    """An image with a caption.

    Args:
        image: uint8 RGB (H, W, 3), or the path of a PNG.
        caption: Text below it.
    """

    image: np.ndarray | Path
    caption: str


@dataclass(frozen=True)
class Page:
    """Content of the page. Empty parts are left out.

    Args:
        title: The page's title.
        evaluation: The content of ``evaluation.json``.
        seconds: How long each step took, by its description.
        photographs: Annotated photographs.
        groups: Names of the groups, for the colours of the masks.
        masks: Faces and the masks over them, in reading order.
        mask_columns: How many of `masks` belong together in a row.
        curves: Plot of the training.
        attributes: Plot of all attributes.
        errors: The worst errors.
        next_steps: What to do next: sentences with commands.
    """

    title: str
    evaluation: Mapping[str, Any]
    seconds: Mapping[str, float] | None = None
    photographs: Sequence[CaptionedImage] = ()
    groups: Sequence[str] = ()
    masks: Sequence[CaptionedImage] = ()
    mask_columns: int = 3
    curves: CaptionedImage | None = None
    attributes: CaptionedImage | None = None
    errors: Sequence[CaptionedImage] = ()
    next_steps: Sequence[tuple[str, str]] = ()


def quickstart_page(
    *,
    models: Mapping[str, Path],
    records: Path,
    evaluation: Path,
    photographs: Mapping[str, Path],
    seconds: Mapping[str, float],
    next_steps: Sequence[tuple[str, str]],
) -> Page:
    """Collects the content of the page from the files of a run.

    Args:
        models: Folders by model name; the page shows masks and errors of the first.
        records: The folder of records; the page shows images of its test split.
        evaluation: Folder with ``evaluation.json`` and ``evaluation.png``; the plot of the
            training is written there too.
        photographs: The annotated photograph of an astronaut, by a description of the model.
        seconds: See `Page`.
        next_steps: See `Page`.
    """
    histories = {
        name: json.loads((folder / "history.json").read_text(encoding="utf-8"))
        for name, folder in models.items()
    }
    curves = plot_curves(histories, _CURVES, evaluation / "curves.png")
    loaded = load_model(next(iter(models.values())))
    predictions = predict_split(loaded, records, "test")
    mistakes = worst_mistakes(loaded.schema.attributes, predictions)
    faces = read_faces(records, "test", [mistake.row for mistake in mistakes])
    # Spread over the split, since images of one person are next to each other.
    count = len(predictions.labels)
    spread = [k * count // (2 * _FACES) for k in range(2 * _FACES)]
    captions = ("image", "landmark masks", "predicted masks")
    return Page(
        title="far_keras quickstart",
        evaluation=json.loads((evaluation / "evaluation.json").read_text(encoding="utf-8")),
        seconds=seconds,
        photographs=[
            CaptionedImage(
                path,
                f"{who}, which was trained on rendered faces only. Eileen Collins (NASA, public "
                "domain; from scikit-image).",
            )
            for who, path in photographs.items()
        ],
        groups=loaded.schema.group_names,
        masks=[
            CaptionedImage(*each)
            for row in mask_examples(loaded, records, "test", spread)[:_FACES]
            for each in zip(row, captions, strict=True)
        ],
        curves=CaptionedImage(curves, "Dashed: training images, solid: validation images."),
        attributes=CaptionedImage(
            evaluation / "evaluation.png",
            "Dots are scores on the test split, lines their 95% intervals.",
        ),
        errors=[CaptionedImage(faces[mistake.row][0], str(mistake)) for mistake in mistakes],
        next_steps=next_steps,
    )


def write_page(page: Page, path: str | Path) -> Path:
    """Writes the page and returns its path."""
    data = page.evaluation["data"]
    parts = [_header(page), _photographs(page), _means(page.evaluation), _masks(page)]
    if page.curves:
        parts.append(_section("Training curves", _html_image(page.curves, "plot")))
    parts += [_attributes(page), _errors(page), _steps(page), _next(page)]
    body = "\n".join(part for part in parts if part)
    kind = "synthetic data" if data.get("synthetic") else "measured on images"
    html = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(page.title)} ({kind})</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    write_atomically(path, html)
    return Path(path)


def _header(page: Page) -> str:
    data, models = page.evaluation["data"], page.evaluation["models"]
    name, first = next(iter(models.items()))
    synthetic = bool(data.get("synthetic"))
    badge = '<span class="badge">synthetic data</span>' if synthetic else ""
    people = f" of {data['identities']:,} persons" if data.get("identities") else ""
    faces = "rendered faces" if synthetic else "images"
    rivals = "".join(
        f", <b>{_value(other['mean']['roc_auc'])}</b> for {escape(rival)}"
        for rival, other in models.items()
        if rival not in (name, MAJORITY)
    )
    note = (
        "<p class=note>Rendered faces are an easy test: these scores hold for renderings and "
        "hardly for photographs. Only a set of labelled photographs measures that.</p>"
        if synthetic
        else ""
    )
    units = "identities" if data["resampled"] == "identities" else "images"
    return (
        f"<header><h1>{escape(page.title)} {badge}</h1><p>Mean ROC AUC over the attributes: "
        f"<b>{_estimate(first['mean']['roc_auc'])}</b> for {escape(name)}{rivals}. Measured on "
        f"{data['images']:,} {faces}{people}, the {escape(str(data['split']))} split of "
        f"<i>{escape(str(data.get('name', '')))}</i>; brackets are 95% intervals from resampling "
        f"{units}.</p>{note}</header>"
    )


def _photographs(page: Page) -> str:
    if not page.photographs:
        return ""
    images = "".join(_html_image(each, "plot") for each in page.photographs)
    return _section("A photograph, annotated", images)


def _means(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (_breakable(name), *(_estimate(model["mean"][key]) for key in _METRICS))
        for name, model in evaluation["models"].items()
    ]
    for difference in evaluation["differences"]:
        first, second = _breakable(difference["first"]), _breakable(difference["second"])
        label = f"{first} &minus; {second}"
        rows.append((label, *(_estimate(difference["mean"][key], signed=True) for key in _METRICS)))
    notes = [
        "Accuracy counts the more probable class; balanced accuracy and F1 are taken at "
        "thresholds fitted on the validation split. The majority ignores the image. This test "
        "cannot show a difference whose interval contains 0. Each network was trained once: "
        "another seed gives somewhat different scores."
    ]
    if left_out := evaluation["left_out_of_means"]:
        names = ", ".join(map(_words, left_out))
        notes.append(f"Left out where undefined (labels of one class only, or none): {names}.")
    overlaps = [
        (name, model["mask_iou"]) for name, model in evaluation["models"].items()
        if model.get("mask_iou")
    ]  # fmt: skip
    table = _table(("mean over attributes", *_METRICS.values()), rows)
    if overlaps:
        groups = sorted(overlaps[0][1], key=lambda group: group != "mean")
        table += "<h3>Overlap (IoU) of predicted and landmark masks</h3>"
        table += _table(
            ("", *map(escape, groups)),
            [(_breakable(name), *(_estimate(iou[g]) for g in groups)) for name, iou in overlaps],
        )
    return _section("Scores", table + "".join(f"<p class=note>{n}</p>" for n in notes))


def _masks(page: Page) -> str:
    if not page.masks:
        return ""
    keys = "".join(
        f'<li><i style="background:rgb{color}"></i>{escape(group)}</li>'
        for group, color in zip(page.groups, group_colors(len(page.groups)), strict=True)
    )
    columns = f"--columns:{page.mask_columns}"
    return _section(
        "Masks",
        f'<ul class="legend">{keys}</ul><div class="masks" style="{columns}">'
        + "".join(map(_html_image, page.masks))
        + "</div>",
    )


def _attributes(page: Page) -> str:
    evaluation = page.evaluation
    models = evaluation["models"]
    names = list(evaluation["known_labels"])
    first = next(iter(models.values()))["attributes"]
    names.sort(key=lambda name: -(first[name]["roc_auc"]["value"] or -1))
    scarce = set(evaluation["scarce"])
    rows = []
    for name in names:
        share = evaluation["prevalence"][name]
        cells = [
            _words(name) + (" *" if name in scarce else ""),
            "&ndash;" if share is None else f"{share:.0%}",
        ]
        for model in models:
            scores = models[model]["attributes"][name]
            if model != MAJORITY:
                cells.append(_estimate(scores["roc_auc"]))
            cells.append(_value(scores["accuracy"]))
        rows.append(cells)
    heads = ["attribute", "yes"]
    for model in models:
        if model != MAJORITY:
            heads.append(f"{_breakable(model)}, AUC")
        heads.append(f"{_breakable(model)}, accuracy")
    note = (
        "<p class=note>* fewer than 10 labels of the rarer class: the interval is too narrow.</p>"
        if scarce
        else ""
    )
    plot = _html_image(page.attributes, "plot") if page.attributes else ""
    details = f"<details><summary>All scores as a table</summary>{_table(heads, rows)}</details>"
    return _section("Attribute by attribute", plot + note + details)


def _errors(page: Page) -> str:
    if not page.errors:
        return ""
    images = "".join(map(_html_image, page.errors))
    text = "<p>The surest wrong predictions, at most two per attribute.</p>"
    return _section("Worst errors", f'{text}<div class="grid">{images}</div>')


def _steps(page: Page) -> str:
    if not page.seconds:
        return ""
    rows = [(escape(step), format_duration(seconds)) for step, seconds in page.seconds.items()]
    rows.append(("<b>total</b>", f"<b>{format_duration(sum(page.seconds.values()))}</b>"))
    return _section("Steps", _table(("step", "time"), rows))


def _next(page: Page) -> str:
    items = "".join(
        f"<li>{escape(text)}<pre>{escape(command)}</pre></li>" for text, command in page.next_steps
    )
    return _section("Next steps", f"<ul>{items}</ul>") if items else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_image(image: CaptionedImage, kind: str = "") -> str:
    caption = escape(image.caption)
    return (
        f'<figure class="{kind}"><img src="{_data_uri(image.image)}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _data_uri(image: np.ndarray | Path) -> str:
    if isinstance(image, Path):
        kind, content = "png", image.read_bytes()
    else:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=88)
        kind, content = "jpeg", buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _estimate(estimate: Mapping[str, float | None], signed: bool = False) -> str:
    """Value and interval; a dash where undefined."""
    if estimate["value"] is None:
        return "&ndash;"
    style = "+.3f" if signed else ".3f"
    text = format(estimate["value"], style)
    if estimate["low"] is None:
        return text
    return f"{text} <small>[{estimate['low']:{style}}, {estimate['high']:{style}}]</small>"


def _value(estimate: Mapping[str, float | None]) -> str:
    return "&ndash;" if estimate["value"] is None else f"{estimate['value']:.3f}"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _breakable(name: str) -> str:
    """A name that may be broken after its underscores, so that tables fit on a phone."""
    return escape(name).replace("_", "_<wbr>")


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --faint: #666c75; --paper: #fafafa;
  --card: #fff; --line: #dcdfe4; --warm: #b45309; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --faint: #9aa1ab;
  --paper: #16181c; --card: #1f2227; --line: #353a42; --warm: #f0a04b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 1rem 0 .5rem; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.1rem; margin: 1.1rem 0; }
.badge { display: inline-block; border: 2px solid var(--warm); color: var(--warm);
  border-radius: 6px; padding: 0 .5rem; font-size: 1rem; vertical-align: middle; }
.note, figcaption, small { color: var(--faint); font-size: .875rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .4rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-size: .875rem; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td small { display: block; white-space: nowrap; font-size: .78rem; }
figure { margin: 0; }
img { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.plot img { background: #fff; margin: 0 auto; max-height: 90vh; }
.masks { display: grid; gap: .5rem;
  grid-template-columns: repeat(calc(2 * var(--columns)), 1fr); }
.grid { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.masks img, .grid img { width: 100%; }
@media (max-width: 700px) { .masks { grid-template-columns: repeat(var(--columns), 1fr); }
  section { padding: .8rem; } th, td { padding: .3rem .4rem; } }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; }
.legend i { display: inline-block; width: .9em; height: .9em; border-radius: 3px;
  border: 1px solid var(--line); margin-right: .4em; vertical-align: -.1em; }
pre { overflow-x: auto; background: var(--paper); border: 1px solid var(--line);
  border-radius: 6px; padding: .5rem .7rem; margin: .3rem 0 .8rem; }
summary { cursor: pointer; margin-top: .5rem; }
"""
