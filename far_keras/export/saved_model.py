"""A trained model as a SavedModel, version by version, as TF Serving wants it."""

from __future__ import annotations

from pathlib import Path

from far_keras.errors import ModelError
from far_keras.export.description import DESCRIPTION_FILE, describe
from far_keras.export.graph import write_graph
from far_keras.export.versions import new_version
from far_keras.export.warmup import write_warmup
from far_keras.models.storage import CONFIG, LoadedModel, load_in_float32

__all__ = ["export_saved_model"]


def export_saved_model(
    model: str | Path | LoadedModel,
    to: str | Path,
    name: str | None = None,
    *,
    version: int | None = None,
    licence: str = "",
) -> Path:
    """Writes a model as the next version of a folder that TF Serving can serve as it is.

    The version holds ``saved_model.pb`` with the signatures of `far_keras.export.graph`, warm-up
    requests, and the model's description (`ModelDescription`) as ``far_keras.json``, beside the
    graph and in ``assets/``. It appears whole, by one renaming: see `new_version`.

    Args:
        model: Folder of a trained model, or what `load_model` returned.
        to: Folder of the model's versions, such as ``saved_models/mgmtn``.
        name: What the model is called; None for the name of `to`.
        version: The version's number; None for one more than the highest in `to`.
        licence: What may be done with the model, for its description.

    Returns:
        The folder of the new version, such as ``saved_models/mgmtn/1``.

    Raises:
        ModelError: `model` is no model or an incomplete one, `to` is no folder for versions, or it
            has the `version` already.
        OSError: `to` cannot be written.

    Example:
        >>> export_saved_model("models/mgmtn", "saved_models/mgmtn")  # doctest: +SKIP
        PosixPath('saved_models/mgmtn/1')
    """
    to = Path(to)
    _check_target(to)
    loaded = load_in_float32(model)
    description = describe(loaded, name or to.absolute().name, licence)
    with new_version(to, version) as lent:
        write_graph(loaded.model, description, str(lent.folder))
        write_warmup(description, lent.folder)
        for folder in (lent.folder, lent.folder / "assets"):
            folder.mkdir(exist_ok=True)
            text = description.to_json() + "\n"
            (folder / DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    return lent.folder


def _check_target(to: Path) -> None:
    name = to.absolute().name
    if name.isdigit():
        raise ModelError(
            f"{to}: expected the folder of a model's versions, such as {to.parent / 'mgmtn'}. "
            f"Received: {name!r}, which servers take for a version; the number is chosen for you"
        )
    if to.exists() and not to.is_dir():
        raise ModelError(f"{to}: expected a folder for versions. Received: a file")
    for file in (CONFIG, "saved_model.pb"):
        if (to / file).exists():
            kind = "a trained model" if file == CONFIG else "one version of an exported model"
            raise ModelError(
                f"{to}: expected a new folder, or one with versions. Received: the folder of "
                f"{kind}; choose another"
            )
