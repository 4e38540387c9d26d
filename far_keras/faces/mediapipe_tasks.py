"""How this package imports MediaPipe: quickly, quietly, and with a clear message where it cannot.

Nothing else imports MediaPipe. Its Tasks library sends usage metrics to Google where there is a
network, as its package description says; images and landmarks stay on this machine.
"""

from __future__ import annotations

import atexit
import re
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from far_keras.errors import ImageError, SystemLibraryError
from far_keras.quiet import quiet

__all__ = ["check_rgb", "create_task", "to_mediapipe_image"]

SYSTEM_LIBRARIES = (
    "mediapipe needs the system libraries libEGL.so.1, libGLESv2.so.2 and libGL.so.1, and its "
    "OpenCV needs libgthread-2.0.so.0; on Debian/Ubuntu: "
    "apt-get install libegl1 libgles2 libgl1 libglib2.0-0"
)


def create_task(name: str, model: Path | bytes, **options: Any) -> Any:
    """Makes a MediaPipe vision task, such as ``"FaceLandmarker"``, from a model file or its bytes.

    Args:
        name: The task's class in ``mediapipe.tasks.python.vision``.
        model: Path or content of the model file.
        options: Fields of the task's options class, such as ``num_faces=1``.

    Raises:
        SystemLibraryError: A system library is missing; the message says which and how to get it.
    """
    _spare_tensorflow()
    try:
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions

        if isinstance(model, bytes):
            base = BaseOptions(model_asset_buffer=model)
        else:
            base = BaseOptions(model_asset_path=str(model))
        with quiet():  # loads libmediapipe when the first task is made
            task = getattr(vision, name).create_from_options(
                getattr(vision, f"{name}Options")(base_options=base, **options)
            )
            task.detect(to_mediapipe_image(np.zeros((16, 16, 3), np.uint8)))  # writes more lines
            atexit.register(_disarm, weakref.ref(task))
    except (ImportError, OSError) as error:
        # Python: "libGL.so.1: cannot open shared object file: No such file or directory"
        missing = re.match(r"(\S+?): cannot open shared object file", str(error))
        if missing is None:
            raise
        raise SystemLibraryError(f"{SYSTEM_LIBRARIES}. Missing here: {missing[1]}") from error
    return task


def _disarm(reference: weakref.ref[Any]) -> None:
    """Once the interpreter shuts down MediaPipe's destructor only prints a traceback."""
    if (task := reference()) is not None:
        task.close = lambda: None


def _spare_tensorflow() -> None:
    """Keeps MediaPipe from importing all of TensorFlow for one no-op documentation decorator.

    That import costs 2 s and 500 MB in every process; annotation starts one for each core. Where
    a later MediaPipe has no such module, this changes nothing.
    """
    name = "mediapipe.tasks.python.core.optional_dependencies"
    if name not in sys.modules:
        stub: Any = types.ModuleType(name)
        stub.doc_controls = types.SimpleNamespace(
            do_not_generate_docs=lambda documented: documented
        )
        sys.modules[name] = stub


def to_mediapipe_image(image: np.ndarray) -> Any:
    """Wraps uint8 RGB (H, W, 3) for MediaPipe; ImageError for any other array."""
    check_rgb(image)
    from mediapipe.tasks.python.vision.core import image as mediapipe_image

    return mediapipe_image.Image(
        image_format=mediapipe_image.ImageFormat.SRGB, data=np.ascontiguousarray(image)
    )


def check_rgb(image: np.ndarray) -> None:
    """Raises ImageError for anything but uint8 RGB (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            "image: expected uint8 RGB of shape (H, W, 3), as read_image gives it. "
            f"Received: shape {image.shape}, dtype {image.dtype}"
        )
