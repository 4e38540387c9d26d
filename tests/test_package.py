import ast
import re
import subprocess
import sys
from pathlib import Path

import far_keras
from far_keras import errors

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "keras_cv", "mediapipe", "cv2", "numba", "matplotlib", "skimage")

# What each part may import of the package: the table in CONTRIBUTING.md, from the ground up.
LAYERS = [
    {"errors"},
    {"extras"},
    {"quiet"},
    {"files", "geometry", "console"},
    {"schema", "calibration", "jobs"},
    {"images", "assets", "results", "tf_images"},
    {"faces", "layers"},
    {"synthetic"},
    {"datasets", "models"},
    {"training"},
    {"export"},
    {"serving"},
    {"recognition"},
    {"evaluation"},
    {"quickstart"},
    {"cli"},
]

# The same within the renderer.
RENDERER = [
    {"parameters"},
    {"head", "people"},
    {"stage"},
    {"face"},
    {"worn"},
    {"hair", "occluders"},
    {"renderer", "labels", "sheet"},
    {"negatives"},
    {"dataset"},
]


def loaded_by(code):
    script = f"import sys\n{code}\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import far_keras; far_keras.CELEBA; dir(far_keras)") == []


def test_help_loads_nothing_heavy():
    code = """
from far_keras.cli import main
try:
    main(["--help"])
except SystemExit:
    pass
"""
    assert loaded_by(code) == []


def test_the_model_that_comes_with_the_package_answers_without_tensorflow_and_keras():
    code = "import sys\nfrom far_keras import Recognizer\nfrom skimage.data import astronaut\n"
    code += "assert Recognizer()(astronaut()).faces\n"
    code += "assert not [name for name in sys.modules if name.startswith('far_keras.serving')]"
    loaded = loaded_by(code)
    assert not {"tensorflow", "keras", "keras_cv"} & set(loaded)


def test_every_public_name_is_there():
    for name in far_keras.__all__:
        assert getattr(far_keras, name) is not None
    assert set(far_keras.__all__) <= set(dir(far_keras))


def test_every_error_is_a_far_error():
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.FarError)


def imports_of(path):
    """Modules of the package that a file imports, as words after ``far_keras``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("far_keras"):
            words = node.module.split(".")[1:]
            names = [[]] if words else [[alias.name] for alias in node.names]
            yield from (words + name for name in names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("far_keras."):
                    yield alias.name.split(".")[1:]


def against_the_order(folder, layers):
    """Imports between parts of `folder` that do not point from a later to an earlier layer."""
    level = {part: i for i, parts in enumerate(layers) for part in parts}
    words = folder.relative_to(ROOT / "far_keras").parts
    wrong = []
    for path in sorted(folder.rglob("*.py")):
        part = path.relative_to(folder).parts[0].removesuffix(".py")
        if part == "__init__" or path.parent.name == "assets":
            continue
        assert part in level, f"{path}: {part} has no place in the import order"
        for target in imports_of(path):
            if tuple(target[: len(words)]) != words or len(target) == len(words):
                continue
            other = target[len(words)]
            if other.startswith("_") or other == part:
                continue
            if level[other] >= level[part]:
                wrong.append(f"{path.relative_to(ROOT)} imports far_keras.{'.'.join(target)}")
    return wrong


def test_imports_point_one_way():
    assert not against_the_order(ROOT / "far_keras", LAYERS)


def test_the_package_does_not_import_the_research_tools():
    for path in (ROOT / "far_keras").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "research" for name in names), path


def test_imports_of_the_renderer_point_one_way():
    assert not against_the_order(ROOT / "far_keras" / "synthetic", RENDERER)


def test_ci_runs_the_command_of_the_readme():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^.*-m pytest.*$", readme, re.MULTILINE)
    assert commands, "the README has no test command"
    script = (ROOT / ".ci" / "run").read_text()
    assert "grep -F -- '-m pytest' README.md | head -n 1" in script
