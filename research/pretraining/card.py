"""The card of the packaged model: its scores, its worst errors, faces it was not made for.

After Mitchell et al., "Model Cards for Model Reporting", 2019, arXiv 1810.03993.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.console import format_interval
from far_keras.evaluation.evaluate import MAJORITY
from far_keras.evaluation.predict import predict_split, read_faces
from far_keras.evaluation.report import worst_mistakes
from far_keras.files import atomic_path
from far_keras.models.storage import WEIGHTS, load_model
from far_keras.recognition.recognizer import Recognizer
from far_keras.recognition.results import FaceResult
from far_keras.synthetic.dataset import RENDERER
from far_keras.synthetic.negatives import DRAWINGS, STATUES, drawing, statue
from far_keras.synthetic.parameters import Occluder, Person, Shot
from far_keras.synthetic.people.population import Population
from far_keras.synthetic.renderer import render
from research.pretraining.children import YOUNGEST, as_child

__all__ = [
    "MODEL_CARD",
    "STAND_INS",
    "StandIns",
    "draw_mistakes",
    "draw_stand_ins",
    "measure_stand_ins",
    "model_card",
]

MODEL_CARD = "MODEL_CARD.md"
_METRICS = {
    "roc_auc": "ROC AUC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}
_WEAK = 8  # attributes that are called weak
_COLUMNS = 6


def model_card(
    folder: str | Path,
    synthetic: Mapping[str, Any],
    stand_ins: Sequence[StandIns],
    photographs: Mapping[str, Any] | None = None,
) -> str:
    """The card of a packaged model.

    Args:
        folder: The model's folder, with ``mistakes.jpg`` and ``stand_ins.jpg``.
        synthetic: Content of ``evaluation.json`` of rendered test images; the model comes first.
        stand_ins: Results on faces that it was not made for.
        photographs: The same of labelled photographs.

    Returns:
        Markdown.
    """
    folder = Path(folder)
    loaded = load_model(folder)
    facts, schema = loaded.provenance, loaded.schema
    name = next(iter(synthetic["models"]))
    size = (folder / WEIGHTS).stat().st_size / 1e6
    start = "; its backbone began with ImageNet weights" if facts["config"]["imagenet"] else ""
    parts = [
        f"# {folder.name}",
        f"Predicts {len(schema.attributes)} attributes of a face, in {len(schema.groups)} groups, "
        f"with a mask for each group. {loaded.model.count_params() / 1e6:.2f}M parameters, "
        f"{loaded.image_size} x {loaded.image_size} pixels, weights in float16 ({size:.1f} MB). It "
        f"was trained on rendered faces only{start}. This page was written by "
        "`research.pretraining`.",
        "## How it was made",
        _table(("", ""), _making(facts)),
        _again(facts),
        "## How good it is on rendered faces",
        _about(synthetic) + " **Synthetic data: an easy test, and no measure of photographs.**",
        _means(synthetic),
        _each(synthetic, name),
    ]
    if photographs is not None:
        parts += [
            "## How good it is on photographs",
            _about(photographs)
            + " None of them was trained on. Means are over the attributes with at least "
            f"{photographs['data']['least']} labels of each class.",
            _means(photographs),
            _each(photographs, name),
        ]
    parts += [
        "## What it is bad at",
        f"Weakest on rendered faces: {', '.join(_weakest(synthetic, name))}.",
        _untrained(facts),
        "![Rendered test images that it is surest and wrong about](mistakes.jpg)",
        *_unlike(stand_ins),
        "## What it is for, and what not",
        "For finding images (who smiles, who wears glasses), for measuring networks, as a start "
        "for training on data of your own. Not for decisions about people, not for telling who "
        "somebody is, and not for judging sex, age, descent, health or character: an attribute "
        "such as *Male* or *Young* means how a rendered person was drawn. These are left out of "
        f"results unless requested: {', '.join(schema.sensitive or ())}.",
        "## Licences",
        _table(
            ("part", "licence"),
            [
                ("these weights", str(facts.get("licence", "not stated"))),
                ("ImageNet weights of the backbone that training began with", "Apache-2.0"),
                ("head mesh of the rendered faces", "CC0"),
                ("renderer, training, this package", "Apache-2.0"),
            ],
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _making(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    recipe = facts.get("recipe", {})
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return [
        ("command", f"`{shlex.join(facts['command'])}`"),
        (
            "rendered faces",
            f"{recipe.get('images', 0):,}, seed {recipe.get('seed')}, "
            f"renderer {facts.get('synthesis', {}).get('renderer', 1)}",
        ),
        ("their manifest's sha256", f"`{facts['manifest_sha256']}`"),
        ("training settings", f"`{_settings(facts['config'])}`"),
        ("seed of the training", str(facts["seed"])),
        ("revision", f"`{facts['git_revision'] or 'not a checkout'}`"),
        ("software", f"far_keras {facts['far_keras']}, Python {facts['python']}, {packages}"),
        ("finished", str(facts["finished"])),
    ]


def _again(facts: Mapping[str, Any]) -> str:
    if "research.pretraining" not in facts["command"]:
        return ""  # one step of several
    return "At this revision the same command makes it again, and resumes where it was stopped."


def _settings(config: Mapping[str, Any]) -> str:
    keys = (
        *("variant", "model", "image_size", "masks", "epochs", "batch_size", "learning_rate"),
        "weight_decay",
    )
    return ", ".join(f"{key} {config[key]}" for key in keys)


def _about(evaluation: Mapping[str, Any]) -> str:
    data = evaluation["data"]
    persons = f" of {data['identities']:,} persons" if data.get("identities") else ""
    units = "identities" if data["resampled"] == "identities" else "images"
    return f"{data['images']:,} images{persons}; 95% intervals from resampling {units}."


def _means(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (name, *(_estimate(model["mean"][key]) for key in _METRICS))
        for name, model in evaluation["models"].items()
    ]
    rows += [
        (f"{d['first']} - {d['second']}", *(_estimate(d["mean"][key], True) for key in _METRICS))
        for d in evaluation["differences"]
    ]
    return _table(("mean", *_METRICS.values()), rows)


def _each(evaluation: Mapping[str, Any], name: str) -> str:
    """One row per attribute, the weakest first; those with labels of one class come last."""
    rivals = [other for other in evaluation["models"] if other not in (name, MAJORITY)]
    measured = evaluation["models"][name]["attributes"]

    def rank(attribute: str) -> tuple[bool, float]:
        auc = measured[attribute]["roc_auc"]["value"]
        return auc is None, auc or 0.0

    rows = []
    for attribute in sorted((a for a in measured if evaluation["known_labels"][a]), key=rank):
        share = evaluation["prevalence"][attribute]
        rows.append(
            (
                attribute,
                f"{evaluation['known_labels'][attribute]:,}",
                f"{share:.0%}",
                *(_estimate(measured[attribute][key]) for key in _METRICS),
                *(
                    _estimate(evaluation["models"][rival]["attributes"][attribute]["roc_auc"])
                    for rival in rivals
                ),
            )
        )
    heads = ("attribute", "labels", "yes", *_METRICS.values())
    return _table((*heads, *(f"ROC AUC of {rival}" for rival in rivals)), rows)


def _weakest(evaluation: Mapping[str, Any], name: str) -> list[str]:
    auc = {
        attribute: each["roc_auc"]["value"]
        for attribute, each in evaluation["models"][name]["attributes"].items()
        if each["roc_auc"]["value"] is not None
    }
    weakest = sorted(auc, key=lambda attribute: auc[attribute])[:_WEAK]
    return [f"{attribute} ({auc[attribute]:.2f})" for attribute in weakest]


def _unlike(stand_ins: Sequence[StandIns]) -> list[str]:
    rows = []
    for kind in stand_ins:
        unseen = list(kind.not_visible.items())[:3]
        rows.append(
            (
                kind.kind,
                f"{kind.found} of {kind.images}",
                "-" if kind.decided is None else f"{kind.decided:.0%}",
                "-" if kind.confidence is None else f"{kind.confidence:.2f}",
                ", ".join(f"{group} ({count})" for group, count in unseen) or "-",
            )
        )
    return [
        "### Faces that it was not made for",
        f"Rendered stand-ins (renderer {RENDERER}), {stand_ins[0].images} of each kind, the same "
        "people. Confidence runs from 0 (undecided) to 1 (sure). Masked faces, statues "
        "and drawings of these kinds were among its training images, the latter two as "
        "negatives; children and profiles were not. The network does not tell children, "
        f"here of {YOUNGEST:.0f} years, from adults; `far_keras.Recognizer` goes by their "
        "proportions, and decides nothing about whom it takes for a child, seldom a young woman "
        "too. It has not been tried on real children. Whoever calls the network itself must leave "
        "children out.",
        _table(("kind", "found", "decided", "confidence", "most often not visible"), rows),
        "![The stand-ins and its results](stand_ins.jpg)",
    ]


def _untrained(facts: Mapping[str, Any]) -> str:
    names = facts.get("untrained") or []
    if not names:
        return ""
    return f"Not trained, since rendered faces have no labels for it: {', '.join(names)}."


def _estimate(estimate: Mapping[str, float | None], signed: bool = False) -> str:
    numbers = (estimate[key] for key in ("value", "low", "high"))
    value, low, high = (math.nan if number is None else number for number in numbers)
    return format_interval(value, low, high, signed=signed)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw_mistakes(
    model: str | Path, records: str | Path, path: str | Path, count: int = 12
) -> Path:
    """Draws the test images that a model is surest and wrong about, with its predictions.

    Args:
        model: Folder of a trained model.
        records: Folder that `far_keras.datasets.annotate` wrote.
        path: Of the image; the ending chooses the format, such as ``.jpg``.
        count: At most so many images, at most two per attribute.
    """
    loaded = load_model(model)
    predictions = predict_split(loaded, records, "test")
    mistakes = worst_mistakes(loaded.schema.attributes, predictions, count)
    faces = read_faces(records, "test", [mistake.row for mistake in mistakes])
    examples = [
        (faces[mistake.row][0], str(mistake).replace(", ", "\n").replace(": ", "\n"))
        for mistake in mistakes
    ]
    return _draw_grid(examples, path, font=8)


COUNT = 24  # of each kind
SEED = 90_000  # no data set is rendered with it


@dataclass(frozen=True)
class StandIns:
    """Results for the faces of one kind.

    Args:
        kind: A key of `STAND_INS`.
        images: Number of images.
        found: In how many a face was found.
        confidence: Mean over faces and decided attributes of how far the certainty is from one
            half, times two: 0 undecided .. 1 sure. None if nothing was decided.
        decided: Mean share of attributes that were decided, see `FaceResult.decisions`. None if no
            face was found.
        not_visible: By group, in how many faces its region was not visible.
        examples: The first images, uint8 RGB (218, 178, 3), each with its result, None if no
            face was found.
    """

    kind: str
    images: int
    found: int
    confidence: float | None
    decided: float | None
    not_visible: dict[str, int]
    examples: list[tuple[np.ndarray, FaceResult | None]]


def _ordinary(person: Person, shot: Shot) -> np.ndarray:
    return render(person, shot).image


def _masked(person: Person, shot: Shot) -> np.ndarray:
    return render(person, replace(shot, occluder=Occluder("mask", nearness=0.9))).image


def _profile(person: Person, shot: Shot) -> np.ndarray:
    return render(person, replace(shot, camera=replace(shot.camera, yaw=80.0))).image


def _child(person: Person, shot: Shot) -> np.ndarray:
    return render(*as_child(person, shot)).image


def _statue(person: Person, shot: Shot) -> np.ndarray:
    rng = np.random.default_rng(person.identity)
    return statue(render(person, shot), str(rng.choice(list(STATUES))), rng)


def _drawing(person: Person, shot: Shot) -> np.ndarray:
    rng = np.random.default_rng(person.identity)
    return drawing(render(person, shot), str(rng.choice(DRAWINGS)), rng)


STAND_INS: dict[str, Callable[[Person, Shot], np.ndarray]] = {
    "ordinary face": _ordinary,
    "masked face": _masked,
    "child": _child,
    "statue": _statue,
    "drawing": _drawing,
    "profile": _profile,
}
"""By kind, what turns a person and a shot into an image; the first is there to compare with."""


def measure_stand_ins(model: str | Path) -> list[StandIns]:
    """Results of a model on `COUNT` rendered stand-ins of each kind, of the same people.

    Args:
        model: Folder of a trained model.
    """
    people = list(_people(COUNT))
    results = []
    with Recognizer.load(model, sensitive=True) as recognizer:
        for kind, draw in STAND_INS.items():
            images = [draw(person, shot) for person, shot in people]
            faces = [next(iter(result.faces), None) for result in recognizer(images)]
            results.append(_summarize(kind, images, faces))
    return results


def _people(count: int) -> Iterator[tuple[Person, Shot]]:
    population, number = Population(SEED), 0
    while count:
        number += 1
        identity = population.identity(number)
        if identity.person is None:
            continue
        count -= 1
        shot = identity.shots[0]
        sharp = replace(shot.camera, blur=0.0)
        yield identity.person, replace(shot, occluder=None, border=None, camera=sharp)


def _summarize(kind: str, images: list[np.ndarray], faces: list[FaceResult | None]) -> StandIns:
    found = [face for face in faces if face is not None]
    sure = [
        abs(2 * face.certainty(name) - 1)
        for face in found
        for name, decision in face.decisions.items()
        if decision is not None
    ]
    decisions = sum(len(face.decisions) for face in found)
    return StandIns(
        kind,
        len(images),
        len(found),
        float(np.mean(sure)) if sure else None,
        len(sure) / decisions if decisions else None,
        dict(Counter(group for face in found for group in face.not_visible).most_common()),
        list(zip(images, faces, strict=True))[:_COLUMNS],
    )


def draw_stand_ins(stand_ins: Sequence[StandIns], path: str | Path) -> Path:
    """Draws examples with their results, one row per kind.

    Args:
        stand_ins: From `measure_stand_ins`.
        path: Of the image; the ending chooses the format, such as ``.jpg``.
    """
    examples = [
        (image, "\n".join((each.kind, _caption(face))))
        for each in stand_ins
        for image, face in each.examples
    ]
    return _draw_grid(examples, path, font=7)


def _caption(face: FaceResult | None) -> str:
    if face is None:
        return "no face found"
    if face.is_child:
        return "a child's proportions:\nnothing decided"
    yes = sorted((n for n, d in face.decisions.items() if d), key=lambda n: -face.certainty(n))[:3]
    return "\n".join((*yes, "not visible:", _names_of(face)))


def _names_of(face: FaceResult) -> str:
    unseen = face.not_visible
    if unseen and len(unseen) == len(face.groups):
        return "anything"
    more = f" and {len(unseen) - 2} more" if len(unseen) > 3 else ""
    return ", ".join(unseen[: 2 if more else 3]) + more or "nothing"


def _draw_grid(examples: Sequence[tuple[np.ndarray, str]], path: str | Path, font: int) -> Path:
    """Draws images with captions in rows of `_COLUMNS`."""
    from matplotlib.figure import Figure

    rows = max(1, -(-len(examples) // _COLUMNS))
    canvas = Figure(figsize=(1.9 * _COLUMNS, 3.0 * rows), layout="constrained")
    places = canvas.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes in places:
        axes.axis("off")
    for axes, (image, caption) in zip(places, examples, strict=False):
        axes.imshow(image)
        axes.set_title(caption, fontsize=font)
    path = Path(path)
    with atomic_path(path) as temporary:
        canvas.savefig(temporary, format=path.suffix[1:], dpi=100)
    return path
