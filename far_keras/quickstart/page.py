"""One page that tells a whole run: figures, curves, masks, errors, and an answered photograph.

The page is a single file without scripts, fonts or images from elsewhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from far_keras.evaluation.figures import MAJORITY
from far_keras.files import atomic_path
from far_keras.recognition.drawing import group_colors

__all__ = ["Picture", "Report", "Step", "write_html_report"]

_HEADLINE = {
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
}


@dataclass(frozen=True)
class Step:
    """One part of the work: what was done, and how many seconds it took."""

    what: str
    seconds: float


@dataclass(frozen=True)
class Picture:
    """An image with a caption.

    Args:
        image: uint8 RGB (H, W, 3), or the path of a PNG.
        caption: Text below it.
    """

    image: np.ndarray | Path
    caption: str


@dataclass(frozen=True)
class Report:
    """What the page shows. Empty parts are left out.

    Args:
        title: The page's title.
        evaluation: The content of ``evaluation.json``.
        steps: What was done.
        photographs: Annotated photographs.
        groups: Names of the groups, for the colours of the masks.
        masks: Faces and the masks over them, in reading order.
        mask_columns: How many of `masks` belong together in a row.
        curves: Plot of the training.
        attributes: Plot of all attributes.
        errors: The worst errors.
        next_steps: What to do next: a sentence and a command each.
    """

    title: str
    evaluation: Mapping[str, Any]
    steps: Sequence[Step] = ()
    photographs: Sequence[Picture] = ()
    groups: Sequence[str] = ()
    masks: Sequence[Picture] = ()
    mask_columns: int = 3
    curves: Picture | None = None
    attributes: Picture | None = None
    errors: Sequence[Picture] = ()
    next_steps: Sequence[tuple[str, str]] = field(default_factory=tuple)


def write_html_report(report: Report, path: str | Path) -> Path:
    """Writes the page and returns its path."""
    data = report.evaluation["data"]
    parts = [_header(report), _photographs(report), _means(report.evaluation)]
    parts += [_masks(report), _single("How it learned", report.curves)]
    parts += [_attributes(report), _errors(report), _steps(report), _next(report)]
    body = "\n".join(part for part in parts if part)
    kind = "synthetic data" if data.get("synthetic") else "measured on images"
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)} ({kind})</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _header(report: Report) -> str:
    data, models = report.evaluation["data"], report.evaluation["models"]
    name, first = next(iter(models.items()))
    synthetic = bool(data.get("synthetic"))
    badge = '<span class="badge">synthetic data</span>' if synthetic else ""
    people = f" of {data['identities']:,} persons" if data.get("identities") else ""
    faces = "rendered faces" if synthetic else "pictures"
    rivals = "".join(
        f", <b>{_value(other['mean']['roc_auc'])}</b> for {escape(rival)}"
        for rival, other in models.items()
        if rival not in (name, MAJORITY)
    )
    note = (
        "<p class=note>Rendered faces are an easy test: these figures say how well the networks "
        "read renderings, and say little about photographs. Only a set of labelled photographs "
        "can tell that.</p>"
        if synthetic
        else ""
    )
    return (
        f"<header><h1>{escape(report.title)} {badge}</h1><p>Mean ROC AUC over the attributes: "
        f"<b>{_figure(first['mean']['roc_auc'])}</b> for {escape(name)}{rivals}. Measured on "
        f"{data['pictures']:,} {faces}{people}, the {escape(str(data['split']))} split of "
        f"<i>{escape(str(data.get('name', '')))}</i>; brackets are 95% intervals from resampling "
        f"{escape(str(data['resampled']))}.</p>{note}</header>"
    )


def _photographs(report: Report) -> str:
    if not report.photographs:
        return ""
    pictures = "".join(_html_picture(picture, "plot") for picture in report.photographs)
    return _section("A photograph, answered", pictures)


def _means(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (_breakable(name), *(_figure(model["mean"][key]) for key in _HEADLINE))
        for name, model in evaluation["models"].items()
    ]
    for difference in evaluation["differences"]:
        first, second = _breakable(difference["first"]), _breakable(difference["second"])
        label = f"{first} &minus; {second}"
        rows.append((label, *(_figure(difference["mean"][key], signed=True) for key in _HEADLINE)))
    notes = [
        "Accuracy is that of the more probable answer; balanced accuracy and F1 are taken at "
        "thresholds fitted on the validation split. The majority never looks at the image. "
        "A difference whose interval holds 0 is no difference that this test can see; and every "
        "network was trained once: another seed gives somewhat other figures."
    ]
    if left_out := evaluation["left_out_of_means"]:
        names = ", ".join(map(_words, left_out))
        notes.append(f"Left out where undefined (labels of one class only, or none): {names}.")
    overlaps = [
        (name, model["mask_iou"]) for name, model in evaluation["models"].items()
        if model.get("mask_iou")
    ]  # fmt: skip
    table = _table(("mean over attributes", *_HEADLINE.values()), rows)
    if overlaps:
        groups = sorted(overlaps[0][1], key=lambda group: group != "mean")
        table += "<h3>Overlap (IoU) of predicted and landmark masks</h3>"
        table += _table(
            ("", *map(escape, groups)),
            [(_breakable(name), *(_figure(iou[g]) for g in groups)) for name, iou in overlaps],
        )
    return _section("How well it answers", table + "".join(f"<p class=note>{n}</p>" for n in notes))


def _masks(report: Report) -> str:
    if not report.masks:
        return ""
    keys = "".join(
        f'<li><i style="background:rgb{color}"></i>{escape(group)}</li>'
        for group, color in zip(report.groups, group_colors(len(report.groups)), strict=True)
    )
    columns = f"--columns:{report.mask_columns}"
    return _section(
        "Where it looks",
        f'<ul class="legend">{keys}</ul><div class="masks" style="{columns}">'
        + "".join(map(_html_picture, report.masks))
        + "</div>",
    )


def _attributes(report: Report) -> str:
    evaluation = report.evaluation
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
            figures = models[model]["attributes"][name]
            if model != MAJORITY:
                cells.append(_figure(figures["roc_auc"]))
            cells.append(_value(figures["accuracy"]))
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
    plot = _html_picture(report.attributes, "plot") if report.attributes else ""
    details = f"<details><summary>All figures as a table</summary>{_table(heads, rows)}</details>"
    return _section("Attribute by attribute", plot + note + details)


def _errors(report: Report) -> str:
    if not report.errors:
        return ""
    pictures = "".join(map(_html_picture, report.errors))
    text = "<p>The answers that were surest and wrong, at most two an attribute.</p>"
    return _section("Worst errors", f'{text}<div class="grid">{pictures}</div>')


def _steps(report: Report) -> str:
    if not report.steps:
        return ""
    rows = [(escape(step.what), _duration(step.seconds)) for step in report.steps]
    rows.append(("<b>together</b>", f"<b>{_duration(sum(s.seconds for s in report.steps))}</b>"))
    return _section("What was done", _table(("step", "time"), rows))


def _next(report: Report) -> str:
    items = "".join(
        f"<li>{escape(text)}<pre>{escape(command)}</pre></li>"
        for text, command in report.next_steps
    )
    return _section("What to do next", f"<ul>{items}</ul>") if items else ""


def _single(title: str, picture: Picture | None) -> str:
    return _section(title, _html_picture(picture, "plot")) if picture else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _html_picture(picture: Picture, kind: str = "") -> str:
    caption = escape(picture.caption)
    return (
        f'<figure class="{kind}"><img src="{_data_uri(picture.image)}" alt="{caption}">'
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


def _figure(figure: Mapping[str, float | None], signed: bool = False) -> str:
    """Value and interval; a dash where undefined."""
    if figure["value"] is None:
        return "&ndash;"
    style = "+.3f" if signed else ".3f"
    text = format(figure["value"], style)
    if figure["low"] is None:
        return text
    return f"{text} <small>[{figure['low']:{style}}, {figure['high']:{style}}]</small>"


def _value(figure: Mapping[str, float | None]) -> str:
    return "&ndash;" if figure["value"] is None else f"{figure['value']:.3f}"


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _breakable(name: str) -> str:
    """A name that may be broken after its underscores, so that tables fit on a phone."""
    return escape(name).replace("_", "_<wbr>")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


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
