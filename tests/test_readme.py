"""The README's Python example, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from far_keras.models.storage import save_model
from far_keras.models.variants import ModelConfig, build_model
from far_keras.schema import CELEBA

ROOT = Path(__file__).parents[1]


def test_the_python_example_runs(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    # Without masks, which would be noise here, everything counts as visible.
    config = ModelConfig("baseline_efficientnetlite0", {"image_size": 64})
    save_model(
        build_model(config),
        tmp_path / "models" / "mgmtn",
        config=config,
        schema=CELEBA,
        thresholds=dict.fromkeys(CELEBA.attributes, 0.0),  # every answer is a yes
        provenance={},
    )
    Image.fromarray(astronaut()).save(tmp_path / "photo.jpg")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()  # one face
    for name in CELEBA.attributes:
        assert (repr(name) in line) == (name not in CELEBA.sensitive), name
