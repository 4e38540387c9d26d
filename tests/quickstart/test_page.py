import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from far_keras.evaluation.bootstrap import ThresholdedProbabilities
from far_keras.evaluation.evaluate import MAJORITY, score_predictions
from far_keras.evaluation.report import to_dict
from far_keras.quickstart.page import CaptionedImage, Page, write_page

NAMES = ("Bald", "Wavy_Hair", "Unknown")


def evaluation(synthetic=True):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, 3))
    labels[:, 2] = -1
    models = {
        name: ThresholdedProbabilities(rng.random((40, 3)), np.full(3, 0.5))
        for name in ("mgmtn", "a<b", MAJORITY)
    }
    data = {"name": "a & b", "split": "test", "images": 40, "synthetic": synthetic}
    return to_dict(
        score_predictions(NAMES, labels, models, data=data, resamples=20,
              masks={"mgmtn": (("Hair", "Nose"), {"landmarks": rng.random((40, 3, 2))})})
    )  # fmt: skip


@pytest.fixture
def page(tmp_path):
    Image.new("RGB", (30, 20), (1, 2, 3)).save(tmp_path / "plot.png")
    face = np.full((218, 178, 3), 200, np.uint8)
    return Page(
        title="A <run>",
        evaluation=evaluation(),
        seconds={"render": 83.0, "train": 100.4},
        photographs=[CaptionedImage(tmp_path / "plot.png", "a photograph")],
        groups=("Hair", "Nose"),
        masks=[
            CaptionedImage(face, "image"),
            CaptionedImage(face, "given"),
            CaptionedImage(face, "predicted"),
        ],
        curves=CaptionedImage(tmp_path / "plot.png", "curves"),
        attributes=CaptionedImage(tmp_path / "plot.png", "all attributes"),
        errors=[CaptionedImage(face, "Wavy Hair: predicted <no>")],
        next_steps=[("Go on:", "far-keras predict a.jpg && echo")],
    )


class Checker(HTMLParser):
    """Collects text and addresses, and checks that tags are closed in order."""

    VOID = ("meta", "img", "wbr")

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.addresses, self.rows = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        self.rows += tag == "tr"
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def read(path):
    checker = Checker()
    checker.feed(path.read_text())
    assert checker.open == []
    return checker, " ".join(" ".join(checker.texts).split())


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(page, tmp_path):
    checker, text = read(write_page(page, tmp_path / "report.html"))
    assert len(checker.addresses) == 7
    for address in checker.addresses:
        kind, content = re.fullmatch(r"data:image/(png|jpeg);base64,(.+)", address).groups()
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.format.lower() == kind
    assert "url(" not in (tmp_path / "report.html").read_text()
    for words in ("A <run>", "a<b", "a & b", "Wavy Hair: predicted <no>", "a.jpg && echo",
                  "1 min 23 s", "3 min 04 s", "Hair", "Unknown"):  # fmt: skip
        assert words in text
    assert "nan" not in text.lower().split()


def test_rendered_data_are_labelled_and_photographs_are_not(page, tmp_path):
    _, text = read(write_page(page, tmp_path / "a.html"))
    assert "synthetic data" in text and "rendered faces" in text
    real = Page(title="Run", evaluation=evaluation(synthetic=False))
    _, text = read(write_page(real, tmp_path / "b.html"))
    assert "synthetic" not in text and "rendered" not in text.lower()


def test_scores_are_those_of_the_evaluation(page, tmp_path):
    _, text = read(write_page(page, tmp_path / "report.html"))
    models = page.evaluation["models"]
    for name in ("mgmtn", "a<b"):
        for key in ("roc_auc", "accuracy"):
            assert f"{models[name]['mean'][key]['value']:.3f}" in text
            for attribute in NAMES[:2]:
                assert f"{models[name]['attributes'][attribute][key]['value']:.3f}" in text
    gap = page.evaluation["differences"][0]["mean"]["roc_auc"]
    assert f"{gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]" in text


def test_empty_parts_are_left_out(tmp_path):
    _, text = read(write_page(Page("Run", evaluation()), tmp_path / "report.html"))
    for heading in ("Worst errors", "Masks", "Steps", "Next steps"):
        assert heading not in text
    assert "Scores" in text
