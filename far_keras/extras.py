"""Optional dependencies: which extra of the package brings which modules.

``pip install far_keras`` predicts on images and calls servers; everything else is an extra. A
package that needs one calls `require` before it imports TensorFlow or numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from far_keras.errors import MissingExtraError

__all__ = ["EXTRAS", "require", "require_modules"]

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("tensorflow", "keras", "keras_cv", "mediapipe", "scipy", "matplotlib"),
    "export": ("tensorflow", "keras", "keras_cv", "litert_quantizer", "tensorflow_serving"),
    "server": ("tensorflow", "tensorflow_serving", "grpc_health", "grpc_reflection"),
    "synthetic": ("numba", "scipy"),
    "parquet": ("pyarrow",),
    "video": ("cv2",),
}
"""By extra, the modules that it installs beyond the core."""


def require(extra: str, purpose: str) -> None:
    """Checks that the modules of an extra are installed, without importing them.

    Args:
        extra: A key of `EXTRAS`.
        purpose: What needs it, to begin the message, such as ``"training"``.

    Raises:
        MissingExtraError: A module is missing; the message has the exact ``pip install``.
    """
    require_modules(extra, purpose, EXTRAS[extra])


def require_modules(extra: str, purpose: str, modules: Sequence[str]) -> None:
    """Checks only some modules of an extra: what several extras install; see `require`."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"{purpose} needs {', '.join(missing)}, which the extra {extra!r} installs: "
            f"pip install 'far_keras[{extra}]'"
        )
