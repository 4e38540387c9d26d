import pytest

from far_keras.errors import OutputError
from far_keras.recognition.batch.columns import columns_of
from far_keras.recognition.batch.journal import Journal

SETTINGS = {"model": "abc", "sensitive": False}


def row(file, status="ok", face=1, childlike=None):
    values = {"file": file, "status": status, "face": face, "childlike": childlike}
    return [values.get(column.name) for column in columns_of(())]


def test_nothing_is_written_before_the_first_answer(tmp_path):
    Journal(tmp_path / "j", SETTINGS).close()
    assert not (tmp_path / "j").exists()


def test_it_remembers_rows_and_counts(tmp_path):
    journal = Journal(tmp_path / "deep" / "j", SETTINGS)
    faces = [row("a", childlike=0.2), row("a", face=2, childlike=0.7)]
    journal.add([("a", faces), ("b", [row("b", "no face", None)])])
    journal.add([("c", [row("c", "unreadable: why", None)])])
    journal.close()
    again = Journal(tmp_path / "deep" / "j", SETTINGS)
    for one in (journal, again):
        assert set(one.done) == {"a", "b", "c"} and one.faces == 2 and one.children == 1
        assert one.statuses == {"ok": 1, "no face": 1, "unreadable": 1}
    assert [r[0] for r in again.rows(["c", "a"])] == ["c", "a", "a"]
    again.add([("d", [row("d")])])
    assert [r[0] for r in again.rows(["d", "b"])] == ["d", "b"]
    again.close(remove=True)
    assert not (tmp_path / "deep" / "j").exists()


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_an_unfinished_line_is_cut_off(tmp_path, lost):
    journal = Journal(tmp_path / "j", SETTINGS)
    journal.add([("a", [row("a")])])
    journal.add([("b", [row("b")])])
    journal.close()
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content[:-lost])
    journal = Journal(tmp_path / "j", SETTINGS)
    assert set(journal.done) == {"a"}
    journal.add([("b", [row("b")])])
    journal.close()
    assert (tmp_path / "j").read_bytes() == content


def test_names_that_are_no_text_are_kept(tmp_path):
    name = b"\xff.jpg".decode("utf-8", "surrogateescape")
    journal = Journal(tmp_path / "j", SETTINGS)
    journal.add([(name, [row("?")])])
    journal.close()
    again = Journal(tmp_path / "j", SETTINGS)
    assert list(again.done) == [name]
    again.close()


def test_other_settings_and_other_files_are_refused(tmp_path):
    journal = Journal(tmp_path / "j", SETTINGS)
    journal.add([("a", [row("a")])])
    journal.close()
    with pytest.raises(OutputError, match=r"other settings: sensitive\. Repeat"):
        Journal(tmp_path / "j", {**SETTINGS, "sensitive": True})
    for content in (b"", b"name,face\na,1\n", b"[1]\n", b"\xff\xfe"):
        (tmp_path / "k").write_bytes(content)
        with pytest.raises(OutputError, match="Received: another file"):
            Journal(tmp_path / "k", SETTINGS)
        assert (tmp_path / "k").read_bytes() == content
