"""What the judge of faces says about folders."""

from __future__ import annotations

import pytest

from avatar.errors import UsageError
from avatar.models.expression import folders
from avatar.models.expression.evaluate import engine_names, expression
from avatar.models.expression.generator import generator

HEAD = "file,person,expression\n"


def filled(folder, text: str, *photos: str):
    for name in photos:
        (folder / name).write_bytes(b"a photo")
    (folder / "index.csv").write_text(text)
    return folder


def test_people_are_read_by_name_with_or_without_a_smile(tmp_path):
    filled(
        tmp_path,
        "\ufeffperson,age,expression,file\nzoe,30,neutral,z.jpg\nadam,,Smiling,a2.jpg\nadam,,neutral,a.jpg\n"
        "eve,20,smile,e.jpg\nadam,,angry,nowhere.jpg\n",
        "z.jpg", "a.jpg", "a2.jpg", "e.jpg",
    )  # fmt: skip
    assert folders.people(tmp_path) == [
        folders.Person("adam", tmp_path / "a.jpg", tmp_path / "a2.jpg"),
        folders.Person("zoe", tmp_path / "z.jpg", None),
    ]


def test_another_expression_is_taken_where_it_is_asked_for(tmp_path):
    text = HEAD + "a.jpg,adam,neutral\nb.jpg,adam,Anger\nc.jpg,adam,smile\n"
    filled(tmp_path, text, "a.jpg", "b.jpg", "c.jpg")
    assert folders.people(tmp_path, "anger") == [folders.Person("adam", tmp_path / "a.jpg", tmp_path / "b.jpg")]
    assert folders.people(tmp_path)[0].smile == tmp_path / "c.jpg"


def test_portraits_keep_the_order_of_the_index(tmp_path):
    filled(tmp_path, "query,file\nx,b.jpg\ny,a.jpg\n", "a.jpg", "b.jpg")
    assert folders.portraits(tmp_path) == [tmp_path / "b.jpg", tmp_path / "a.jpg"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("person,file\nadam,a.jpg\n", "no column expression"),
        (HEAD, "no photos"),
        (HEAD + "a.jpg,,neutral\n", "line 2: the person has no name"),
        (HEAD + "a.jpg,adam,neutral\nb.jpg,adam,smile\n", "line 3: b.jpg: there is no such photo"),
        (HEAD + ",adam,neutral\n", "line 2: no file"),
        (HEAD + "a.jpg,adam,neutral\na.jpg,eve,smile\n", "nobody has both"),
        ("", "no column person, expression, file"),
    ],
)
def test_a_bad_index_is_said_in_one_line(tmp_path, text, says):
    filled(tmp_path, text, "a.jpg")
    with pytest.raises(UsageError, match=says) as caught:
        folders.people(tmp_path)
    assert "\n" not in str(caught.value)
    assert "index.csv" in str(caught.value)


def test_an_index_in_another_encoding(tmp_path):
    (tmp_path / "index.csv").write_bytes(HEAD.encode() + b"a.jpg,J\xfcrgen,neutral\n")
    with pytest.raises(UsageError, match="UTF-8"):
        folders.people(tmp_path)


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(UsageError, match=r"no index\.csv in it; it needs the columns person, expression, file"):
        folders.people(tmp_path)


def test_a_file_is_not_a_folder(tmp_path):
    (tmp_path / "index.csv").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        folders.portraits(tmp_path / "index.csv")


def test_engines_by_name():
    assert engine_names("head, head") == ["head"]
    assert "head" in engine_names("all")
    with pytest.raises(UsageError, match=r"no engine named 'hat'; there are: .*head"):
        engine_names("head,hat")
    with pytest.raises(UsageError, match="at least one"):
        engine_names(",")


@pytest.mark.parametrize("task", [expression, generator])
def test_data_is_asked_for(task, tmp_path):
    with pytest.raises(UsageError, match="--data DIR"):
        task(tmp_path)
