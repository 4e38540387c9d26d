"""The README's Python example, as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from PIL import Image
from skimage.data import astronaut

from far_keras.schema import CELEBA

ROOT = Path(__file__).parents[1]


def test_the_python_example_answers_a_photograph(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
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
    assert "'Smiling'" in line and "'Bald'" not in line
    assert not any(repr(name) in line for name in CELEBA.sensitive)
