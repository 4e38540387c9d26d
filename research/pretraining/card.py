"""The model card (Mitchell et al., 2019, arXiv 1810.03993), from a model's folder and figures."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from far_keras.evaluation.figures import MAJORITY
from far_keras.models.storage import WEIGHTS, load_model
from far_keras.pretraining.stand_ins import StandInFigures
from far_keras.synthetic.children import YOUNGEST
from far_keras.synthetic.dataset import RENDERER

__all__ = ["MODEL_CARD", "model_card"]

MODEL_CARD = "MODEL_CARD.md"
_FIGURES = {
    "roc_auc": "ROC AUC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
}
_WEAK = 8  # attributes that are called weak


def model_card(
    folder: str | Path,
    synthetic: Mapping[str, Any],
    stand_ins: Sequence[StandInFigures],
    photographs: Mapping[str, Any] | None = None,
) -> str:
    """The card of a packaged model.

    Args:
        folder: The model's folder, with ``mistakes.jpg`` and ``stand_ins.jpg``.
        synthetic: Content of ``evaluation.json`` of rendered test images; the model comes first.
        stand_ins: What it said about faces that it was not made for.
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
        f"Answers {len(schema.attributes)} attributes of a face, in {len(schema.groups)} groups, "
        f"with a mask for each group. {loaded.model.count_params() / 1e6:.2f}M parameters, "
        f"{loaded.image_size} x {loaded.image_size} pixels, weights in float16 ({size:.1f} MB). It "
        f"has learned from rendered faces only{start}. This page was written by "
        "`far_keras.pretraining`.",
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
        "such as *Male* or *Young* says what a rendered person was drawn as. These are left out of "
        f"answers unless asked for: {', '.join(schema.sensitive or ())}.",
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
            f"{recipe.get('pictures', 0):,}, seed {recipe.get('seed')}, "
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
    if "pretrain" not in facts["command"]:
        return ""  # one step of several
    return "At this revision the same command makes it again, and goes on where it was stopped."


def _settings(config: Mapping[str, Any]) -> str:
    keys = (
        *("variant", "model", "image_size", "masks", "epochs", "batch_size", "learning_rate"),
        "weight_decay",
    )
    return ", ".join(f"{key} {config[key]}" for key in keys)


def _about(evaluation: Mapping[str, Any]) -> str:
    data = evaluation["data"]
    persons = f" of {data['identities']:,} persons" if data.get("identities") else ""
    return (
        f"{data['pictures']:,} images{persons}; 95% intervals from resampling {data['resampled']}."
    )


def _means(evaluation: Mapping[str, Any]) -> str:
    rows = [
        (name, *(_figure(model["mean"][key]) for key in _FIGURES))
        for name, model in evaluation["models"].items()
    ]
    rows += [
        (f"{d['first']} - {d['second']}", *(_figure(d["mean"][key], "+") for key in _FIGURES))
        for d in evaluation["differences"]
    ]
    return _table(("mean", *_FIGURES.values()), rows)


def _each(evaluation: Mapping[str, Any], name: str) -> str:
    """A row an attribute, the weakest first; those with labels of one class only come last."""
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
                *(_figure(measured[attribute][key]) for key in _FIGURES),
                *(
                    _figure(evaluation["models"][rival]["attributes"][attribute]["roc_auc"])
                    for rival in rivals
                ),
            )
        )
    heads = ("attribute", "labels", "yes", *_FIGURES.values())
    return _table((*heads, *(f"ROC AUC of {rival}" for rival in rivals)), rows)


def _weakest(evaluation: Mapping[str, Any], name: str) -> list[str]:
    figures = {
        attribute: each["roc_auc"]["value"]
        for attribute, each in evaluation["models"][name]["attributes"].items()
        if each["roc_auc"]["value"] is not None
    }
    weakest = sorted(figures, key=lambda attribute: figures[attribute])[:_WEAK]
    return [f"{attribute} ({figures[attribute]:.2f})" for attribute in weakest]


def _unlike(stand_ins: Sequence[StandInFigures]) -> list[str]:
    rows = []
    for figures in stand_ins:
        unseen = list(figures.not_visible.items())[:3]
        rows.append(
            (
                figures.kind,
                f"{figures.found} of {figures.pictures}",
                "-" if figures.decided is None else f"{figures.decided:.0%}",
                "-" if figures.boldness is None else f"{figures.boldness:.2f}",
                ", ".join(f"{group} ({count})" for group, count in unseen) or "-",
            )
        )
    return [
        "### Faces that it was not made for",
        f"Rendered stand-ins (renderer {RENDERER}), {stand_ins[0].pictures} of each kind, the same "
        "people. How bold answers are runs from 0 (undecided) to 1 (sure). Masked faces, statues "
        "and drawings of these kinds were among its training images, the latter two as what is "
        "not to be answered; children and profiles were not. The network does not tell children, "
        f"here of {YOUNGEST:.0f} years, from adults; `far_keras.Recognizer` goes by their "
        "proportions, and decides nothing about whom it takes for a child, seldom a young woman "
        "too. It has not been tried on real children. Whoever asks the network itself must leave "
        "children out.",
        _table(("kind", "found", "decided", "how bold", "most often not visible"), rows),
        "![The stand-ins and what it says](stand_ins.jpg)",
    ]


def _untrained(facts: Mapping[str, Any]) -> str:
    names = facts.get("untrained") or facts.get("untaught") or []  # 0.1.0: "untaught"
    if not names:
        return ""
    return f"Never answered, since rendered faces have no labels for it: {', '.join(names)}."


def _figure(figure: Mapping[str, float | None], sign: str = "") -> str:
    value, low, high = figure["value"], figure["low"], figure["high"]
    if value is None:
        return "-"
    if low is None or high is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
