import numpy as np
import pytest
from PIL import Image

from far_keras.errors import DatasetError
from far_keras.synthetic.dataset import LabelRow, write_lists
from far_keras.synthetic.sheet import contact_sheet, draw_sheet


def test_images_stand_in_rows_with_text_beneath():
    images = [np.full((218, 178, 3), 40 * index, np.uint8) for index in range(5)]
    sheet = draw_sheet(images, ["", ", ".join(["caption"] * 12), "", "", ""], columns=3)
    height, width = sheet.shape[0] // 2, sheet.shape[1] // 3
    assert height > 218 + 20 and width >= 178
    for index in range(5):
        row, column = divmod(index, 3)
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert (cell[20:200, 20:150] == 40 * index).all()
        dark = (cell[222:] < 128).any()
        assert dark == (index == 1)  # only the second has a caption


def test_sheet_of_a_data_set_in_celebas_layout(tmp_path):
    (tmp_path / "img_align_celeba").mkdir()
    rows = []
    for number in (1, 2, 3):
        image = Image.new("RGB", (178, 218), (90, 60, 30))
        image.save(tmp_path / "img_align_celeba" / f"{number:06d}.jpg")
        rows.append(LabelRow(number, number, True, np.eye(40, dtype=np.int8)[number]))
    write_lists(tmp_path, rows)
    path = contact_sheet(tmp_path, tmp_path / "sheet.png", columns=2, limit=2)
    width, height = Image.open(path).size
    assert 2 * 178 <= width < 3 * 178 and 218 < height < 2 * 218


def test_errors_name_the_file(tmp_path):
    with pytest.raises(DatasetError, match=r"list_attr_celeba\.txt"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
    (tmp_path / "list_attr_celeba.txt").write_text("1\nSmiling\n000001.jpg 1\n")
    with pytest.raises(DatasetError, match="40 names"):
        contact_sheet(tmp_path, tmp_path / "sheet.png")
    with pytest.raises(DatasetError, match="Received: 0 images"):
        draw_sheet([], [])
