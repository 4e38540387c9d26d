import io

from rich.console import Console

from far_keras.cli.client import result_tables, signature_table, version_table
from far_keras.errors import ImageError
from far_keras.serving import ModelSignature, ServedResult, TensorSpec, VersionStatus


def printed(*renderables):
    console = Console(file=io.StringIO(), width=120)
    console.print(*renderables, sep="\n")
    return console.file.getvalue()


def result(**changes):
    return ServedResult(
        **{
            "file": "face.jpg",
            "model": "mgmtn",
            "version": 3,
            "probabilities": {"Smiling": 0.5, "[/]": 0.1, "Hat": 0.9},
            "thresholds": {"Smiling": 0.2, "[/]": 0.5, "Hat": 0.5},
            "decisions": {"Smiling": True, "[/]": False, "Hat": True},
            "group_of": {"Smiling": "Mouth", "[/]": "[red]", "Hat": "Hair", "Other": "Nose"},
            **changes,
        }
    )


def test_a_row_a_group_with_certainties():
    text = printed(*result_tables(result()))
    assert "face.jpg: mgmtn, version 3" in text
    assert "Smiling 80%" in text  # odds 1 over odds 1/4
    assert "[red]" in text  # names are no markup
    assert "Nose" not in text  # no attribute of it is predicted


def test_errors_name_the_file_once():
    text = printed(*result_tables(result(error=ImageError("face.jpg: cannot be read"))))
    assert text == "face.jpg: cannot be read\n"
    assert "broken" in printed(
        *result_tables(result(file="\udcff.jpg", error=ImageError("broken")))
    )


def test_versions_and_signatures():
    text = printed(
        version_table([VersionStatus(3, "AVAILABLE"), VersionStatus(2, "END", 5, "[x]")])
    )
    assert "AVAILABLE" in text
    assert "code 5: [x]" in text
    shapes = {"a": TensorSpec("float", (-1, 3)), "b": TensorSpec("uint8", None)}
    text = printed(signature_table({"serve": ModelSignature(shapes, {})}))
    assert "a: float (?, 3)" in text
    assert "b: uint8 (...)" in text
