"""Readers of the licensed data sets of faces, on folders of the exact layouts with made pictures."""

from __future__ import annotations

import re
import sys

import face_fixtures as made
import pytest

from avatar.errors import DatasetError, UsageError
from avatar.models.data.faces import CATALOGUE, Unit, open_dataset, recognise, subject_folds
from avatar.models.data.faces.ck import read_landmarks
from avatar.models.data.faces.people import of_dataset, people
from avatar.models.data.faces.sample import EXPRESSIONS, MADE, summary


@pytest.fixture(params=list(made.WRITERS))
def every(request, tmp_path):
    """Name and folder of each set in turn."""
    return request.param, made.WRITERS[request.param](tmp_path / "set")


def read(writer, folder):
    reader = recognise(writer(folder))
    assert reader is not None
    return reader, {sample.name: sample for sample in reader.samples()}


# --- what holds for all of them ---------------------------------------------------------------------------------------


def test_the_writers_cover_the_catalogue():
    assert set(made.WRITERS) == set(CATALOGUE)


def test_a_folder_says_itself_which_set_it_is(every):
    name, folder = every
    for given in (folder, folder.parent):  # also the folder that an archive was unpacked into
        reader = recognise(given)
        assert reader is not None
        assert reader.name == name
    assert open_dataset(folder, name.upper()).name == name


def test_no_other_set_is_read_from_it(every):
    name, folder = every
    for other in set(CATALOGUE) - {name}:
        with pytest.raises(DatasetError, match="not laid out as") as caught:
            open_dataset(folder, other)
        assert str(folder) in str(caught.value)


def test_samples_keep_the_contract(every):
    name, folder = every
    reader = open_dataset(folder, name)
    samples = list(reader.samples())
    assert len({sample.name for sample in samples}) == len(samples)
    for sample in samples:
        assert sample.pictures
        assert all(path.is_file() for path in sample.pictures)
        assert sample.expression is None or sample.expression in EXPRESSIONS
        if sample.sequence:
            assert 0 <= sample.onset < sample.apex < len(sample.pictures)
            assert sample.offset is None or sample.offset > sample.apex
    assert samples[0].picture().shape == (24, 24, 3)
    assert [s.name for s in reader.samples()] == [s.name for s in samples]


def test_no_picture_is_opened_on_the_way(every, monkeypatch):
    name, folder = every
    monkeypatch.setattr("avatar.models.data.faces.sample.read_photo", lambda path: pytest.fail(f"opened {path}"))
    assert list(open_dataset(folder, name).samples())


def test_reading_is_lazy(tmp_path):
    made.ck(tmp_path)
    made.text(tmp_path / "Emotion" / "S010" / "001" / "S010_001_00000011_emotion.txt", "joy\n")
    walk = recognise(tmp_path).samples()
    assert next(walk).subject == "S005"  # the fault is further on
    with pytest.raises(DatasetError):
        list(walk)


def test_folds_never_split_a_subject(every):
    name, folder = every
    samples = list(open_dataset(folder, name).samples())
    folds = subject_folds(samples, 2)
    homes = {(s.subject, f) for s, f in zip(samples, folds, strict=True)}
    assert len(homes) == len({s.subject for s in samples})
    assert {f for _, f in homes} == {0, 1}
    assert subject_folds(samples[::-1], 2) == folds[::-1]


def test_a_made_folder_is_never_called_the_set(every):
    name, folder = every
    reader = open_dataset(folder, name)
    assert summary(reader)["standing"] == "made"
    assert reader.standing(10_000) == "made"
    (folder / MADE).unlink()
    assert reader.standing(2) == "part"
    assert reader.standing(reader.published) == "complete"


def test_notes_about_a_made_folder_say_that_no_figure_is_the_sets(tmp_path):
    found = people(made.rafd(tmp_path))
    assert found.source["standing"] == "made"
    assert "no figure here is one of RaFD" in found.notes[0]


def test_a_damaged_picture_is_named(tmp_path):
    _, samples = read(made.rafd, tmp_path)
    sample = samples["Rafd090_28_Caucasian_male_neutral_frontal"]
    sample.pictures[0].write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DatasetError, match=r"Rafd090_28_Caucasian_male_neutral_frontal\.jpg"):
        sample.picture()


def test_two_sets_in_one_folder_are_told_apart_by_name(tmp_path):
    made.rafd(tmp_path / "faces")
    made.oulu(tmp_path / "faces")
    with pytest.raises(UsageError, match=r"several data sets .*--dataset"):
        recognise(tmp_path)
    assert open_dataset(tmp_path, "rafd").name == "rafd"


def test_another_folder_is_no_data_set(tmp_path):
    (tmp_path / "holiday").mkdir()
    made.put(tmp_path / "holiday" / "me.jpg", made.squares("me", 0))
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "nowhere") is None
    with pytest.raises(UsageError, match="the layout of no data set"):
        people(tmp_path)
    with pytest.raises(UsageError, match="no data set named 'jaffe'; there are: ck"):
        open_dataset(tmp_path, "jaffe")


def test_the_catalogue_says_licence_and_where_to_apply():
    for entry in CATALOGUE.values():
        assert "research" in entry.licence
        assert re.search(r"https?://", entry.apply)


def test_any_expression_can_be_asked_for(tmp_path):
    found = people(made.rafd(tmp_path), expression="contempt")
    assert ["contemptuous" in person.smile.name for person in found.persons] == [True, True]
    with pytest.raises(UsageError, match="--expression joy: choose one of happiness"):
        people(tmp_path, expression="joy")
    with pytest.raises(DatasetError, match="nobody in it has both a neutral picture and fear, from the front"):
        people(tmp_path, expression="fear")


# --- CK+ --------------------------------------------------------------------------------------------------------------


def test_ck_sequences_with_and_without_labels(tmp_path):
    reader, samples = read(made.ck, tmp_path)
    assert set(samples) == {f"{s}_{n}" for s in ("S005", "S010") for n in ("001", "002", "003")}
    happy = samples["S005_001"]
    assert happy.expression == "happiness"
    assert (happy.onset, happy.apex, happy.offset) == (0, 10, None)
    assert happy.units == (Unit(6, 2.0), Unit(12, 4.0), Unit(25, None))
    assert [path.suffix for path in happy.pictures] == [".png"] * 11
    assert read_landmarks(happy.landmarks[0]).shape == (68, 2)
    assert read_landmarks(happy.landmarks[0])[1].tolist() == [11.0, 20.5]
    for other in ("S005_002", "S005_003"):
        assert samples[other].expression is None
        assert samples[other].units is None
    assert [line for line in reader.left_out if "004: no pictures" in line]


def test_ck_unpacked_into_a_folder_of_its_own_name(tmp_path):
    made.ck(tmp_path)
    images = tmp_path / "cohn-kanade-images"
    images.rename(tmp_path / "moved")
    images.mkdir()
    (tmp_path / "moved").rename(images / "cohn-kanade-images")
    for name, archive in (("Emotion", "Emotion_labels"), ("FACS", "FACS_labels")):
        (tmp_path / archive).mkdir()
        (tmp_path / name).rename(tmp_path / archive / name)
    samples = {sample.name: sample for sample in recognise(tmp_path).samples()}
    assert len(samples) == 6
    assert samples["S005_001"].expression == "happiness"
    assert len(samples["S005_001"].units) == 3


def test_ck_without_its_label_folders_says_so(tmp_path):
    made.ck(tmp_path)
    for name in ("Emotion", "FACS", "Landmarks"):
        (tmp_path / name).rename(tmp_path / f"not_{name}")
    reader = recognise(tmp_path)
    assert {sample.expression for sample in reader.samples()} == {None}
    assert [line for line in reader.left_out if "no folder of emotion labels" in line]


@pytest.mark.parametrize(
    ("file", "words", "says"),
    [
        ("Emotion/S005/001/S005_001_00000011_emotion.txt", "joy\n", "emotion.txt, line 1: 'joy' is not a number"),
        ("Emotion/S005/001/S005_001_00000011_emotion.txt", "\n  9.0e+00\n", "line 2: 9 is no emotion"),
        ("Emotion/S005/001/S005_001_00000011_emotion.txt", "", "line 1: empty"),
        ("Emotion/S005/002/S005_002_00000099_emotion.txt", "1\n", "no picture of that number"),
        ("FACS/S005/001/S005_001_00000011_facs.txt", " 4.0e+00 1.0e+00\n 9.0e+00\n", "facs.txt, line 2: .*2 numbers"),
        ("FACS/S005/001/S005_001_00000011_facs.txt", "4 9\n", "line 1: unit 4 at 9"),
        ("FACS/S005/001/S005_001_00000010_facs.txt", "4 1\n", "2 files _facs.txt"),
    ],
)
def test_ck_faults_name_file_and_line(tmp_path, file, words, says):
    made.ck(tmp_path)
    made.text(tmp_path / file, words)
    with pytest.raises(DatasetError, match=says) as caught:
        list(recognise(tmp_path).samples())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_ck_landmarks_that_are_short(tmp_path):
    path = made.text(tmp_path / "a_landmarks.txt", "1 2\n3 4\n")
    with pytest.raises(DatasetError, match=r"a_landmarks\.txt: 2 points; 68"):
        read_landmarks(path)


# --- RaFD -------------------------------------------------------------------------------------------------------------


def test_rafd_names_say_everything(tmp_path):
    _, samples = read(made.rafd, tmp_path)
    kid = samples["Rafd090_63_Kid_female_contemptuous_left"]
    assert (kid.subject, kid.expression, kid.child) == ("63", "contempt", True)
    assert kid.view.gaze == "left"
    assert not kid.view.frontal
    assert samples["Rafd000_28_Caucasian_male_happy_frontal"].view.yaw == 90
    assert samples["Rafd090_28_Caucasian_male_happy_frontal"].view.frontal


def test_rafd_children_and_side_views_are_not_judged(tmp_path):
    reader = recognise(made.rafd(tmp_path))
    found = of_dataset(reader)
    assert [person.name for person in found.persons] == ["28", "45"]
    assert all("090" in p.smile.name and "frontal.jpg" in p.smile.name for p in found.persons)
    assert found.source["children_left_out"] == 1
    assert found.source["subjects"] == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Rafd090_28_Caucasian_male_angry.jpg", "5 fields"),
        ("Rafd090_28_Caucasian_male_joyful_frontal.jpg", "'joyful' is none of"),
        ("Rafd075_28_Caucasian_male_angry_frontal.jpg", "'075' is none of"),
        ("Rafd090_28_Martian_male_angry_frontal.jpg", "'Martian' is none of"),
    ],
)
def test_rafd_wrong_names(tmp_path, name, says):
    made.rafd(tmp_path)
    made.put(tmp_path / name, made.squares("x", 0))
    with pytest.raises(DatasetError, match=says) as caught:
        list(recognise(tmp_path).samples())
    assert name in str(caught.value)


# --- CAS(ME)^3 --------------------------------------------------------------------------------------------------------


def test_casme3_rows_find_their_pictures(tmp_path):
    reader, samples = read(made.casme3, tmp_path)
    assert list(samples) == ["spNO.1_a_3", "spNO.10_b_166", "spNO.1_a_14"]
    long = samples["spNO.1_a_3"]
    assert long.expression == "happiness"
    assert [path.name for path in long.pictures] == [f"{n}.jpg" for n in range(3, 10)]
    assert (long.onset, long.apex, long.offset) == (0, 3, 6)
    assert long.pictures[0].parent.name == "color"
    assert samples["spNO.10_b_166"].units == (Unit(4, None, "L"), Unit(7, None, "R"))
    assert samples["spNO.1_a_14"].expression is None
    assert samples["spNO.1_a_14"].units == ()
    assert [line for line in reader.left_out if "1 shaded rows" in line]
    assert [line for line in reader.left_out if "row 4: no pictures of spNO.2, c" in line]


def test_casme3_a_missing_apex_is_left_out_by_name(tmp_path):
    made.casme3(tmp_path)
    (tmp_path / "part_A" / "spNO.1" / "a" / "color" / "6.jpg").unlink()
    reader = recognise(tmp_path)
    assert "spNO.1_a_3" not in {sample.name for sample in reader.samples()}
    assert [line for line in reader.left_out if re.search(r"row 2: .*no picture 6 \(apex\)", line)]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("spNO.1", "a", "x", 6, 9, "12", "I", "happy"), "row 2: onset is 'x'"),
        (("spNO.1", "a", 7, 6, 9, "12", "I", "happy"), "row 2: onset 7, apex 6, offset 9"),
        (("spNO.1", "a", 3, 6, 9, "smile", "I", "happy"), "row 2: AU 'smile'"),
        (("spNO.1", "a", 3, 6, 9, "12", "I", "bliss"), "row 2: emotion 'bliss'"),
        ((None, "a", 3, 6, 9, "12", "I", "happy"), "row 2: no subject"),
    ],
)
def test_casme3_faults_name_file_and_row(tmp_path, row, says):
    made.casme3(tmp_path)
    sheet = tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    made.casme3_sheet(sheet, [row])
    with pytest.raises(DatasetError, match=says) as caught:
        list(recognise(tmp_path).samples())
    assert str(sheet) in str(caught.value)


def test_casme3_sheets_that_cannot_be_read(tmp_path, monkeypatch):
    made.casme3(tmp_path)
    sheet = tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DatasetError, match=r"need openpyxl; pip install 'vultus\[data\]'"):
        list(recognise(tmp_path).samples())
    monkeypatch.undo()
    sheet.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DatasetError, match="not a readable Excel file"):
        list(recognise(tmp_path).samples())
    sheet.rename(sheet.with_name("cas(me)3_part_A_ME_label_JpgIndex_v1.xls"))
    with pytest.raises(DatasetError, match=r"old kind; save it as \.xlsx"):
        list(recognise(tmp_path).samples())


def test_casme3_needs_its_columns(tmp_path):
    import openpyxl

    made.casme3(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(("Subject", "Filename", "Onset"))
    book.save(tmp_path / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx")
    with pytest.raises(DatasetError, match="row 1: no column apex, offset, au, emotion"):
        list(recognise(tmp_path).samples())


# --- Oulu-CASIA -------------------------------------------------------------------------------------------------------


def test_oulu_sequences_in_any_spelling(tmp_path):
    reader, samples = read(made.oulu, tmp_path)
    assert len(samples) == 5 * (6 + 4)
    angry = samples["NI_Dark_P001_anger"]
    assert [path.name for path in angry.pictures] == ["000.JPEG", "001.JPEG", "002.JPEG"]
    assert angry.view.light == "near infra-red, dark"
    assert (angry.onset, angry.apex) == (0, 2)
    said = "\n".join(reader.left_out)
    assert "no folder NI/Weak" in said
    assert "P002: no fear" in said
    assert "P002: no sadness, the folder is empty" in said


def test_oulu_pairs_are_taken_in_strong_visible_light(tmp_path):
    found = of_dataset(recognise(made.oulu(tmp_path)))
    assert [person.name for person in found.persons] == ["P001", "P002"]
    for person in found.persons:
        assert person.neutral.parts[-5:-2] == ("VL", "Strong", person.name)
        assert person.smile.parent == person.neutral.parent
        assert (person.neutral.name, person.smile.name) == ("000.jpeg", "002.jpeg")


def test_oulu_an_unknown_expression_is_named(tmp_path):
    made.oulu(tmp_path)
    (tmp_path / "OriginalImg" / "VL" / "Weak" / "P001" / "Boredom").mkdir()
    with pytest.raises(DatasetError, match="'Boredom' is no expression"):
        list(recognise(tmp_path).samples())


# --- CAS-PEAL ---------------------------------------------------------------------------------------------------------


def test_peal_twelve_fields_and_eye_points(tmp_path):
    _, samples = read(made.peal, tmp_path)
    plain = samples["Normal/" + made.peal_name()]
    assert (plain.subject, plain.expression) == ("000001", "neutral")
    assert plain.eyes == ((141, 222), (217, 220))
    assert dict(plain.attributes)["age"] == "Y"
    posed = samples["000001/" + made.peal_name(pose="M-45")]
    assert (posed.view.yaw, posed.view.pitch) == (-45, "level")
    assert samples["000001/" + made.peal_name(pose="U+22")].view.pitch == "up"
    assert samples["000001/" + made.peal_name(pose="U+22")].eyes is None
    assert samples["Lighting/" + made.peal_name(2, "MM", light="FM-45")].view.light == "fluorescent, level, -45"
    assert samples["Lighting/" + made.peal_name(1, light="LD+90").replace("_R1_", "_D1_")].subject == "000001"
    assert samples["Expression/" + made.peal_name(face="C")].expression == "eyes closed"


def test_peal_lists_with_backslashes(tmp_path):
    reader = recognise(made.peal(tmp_path))
    assert [s.subject for s in reader.listed("gallery")] == ["000001", "000002"]
    assert [s.expression for s in reader.listed("Expression")] == ["happiness"]
    assert len(list(reader.listed("training"))) == 2
    with pytest.raises(DatasetError, match="no list named 'pose'; there are: expression, gallery, training"):
        list(reader.listed("pose"))
    made.text(tmp_path / "Evaluation Prototype" / "Gallery" / "Gallery.txt", "\r\nFRONTAL\\Normal\\nobody\r\n")
    with pytest.raises(DatasetError, match=r"Gallery\.txt, line 2: FRONTAL\\Normal\\nobody: there is no such picture"):
        list(reader.listed("gallery"))


@pytest.mark.parametrize(
    ("line", "says"),
    [("NAME 141 222 217", "line 2: .*4 numbers"), ("NAME 217 220 141 222", "line 2: the first eye")],
)
def test_peal_eye_points_that_are_wrong(tmp_path, line, says):
    made.peal(tmp_path)
    made.text(tmp_path / "FRONTAL" / "Normal" / "FaceFP_2.txt", f"A 1 2 3 4\n{line}\n")
    with pytest.raises(DatasetError, match=says) as caught:
        list(recognise(tmp_path).samples())
    assert "FaceFP_2.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("_S0", ""), "11 fields"),
        (("_EN_", "_EX_"), r"field 5 \(expression\) is 'EX'"),
        (("_IEU+00_", "_IEU00_"), r"field 3 \(light\)"),
        (("000001", "00001"), r"field 2 \(subject\)"),
    ],
)
def test_peal_wrong_names(tmp_path, change, says):
    made.peal(tmp_path)
    place = tmp_path / "FRONTAL" / "Normal"
    (place / f"{made.peal_name()}.tif").rename(place / f"{made.peal_name().replace(*change)}.tif")
    with pytest.raises(DatasetError, match=says):
        list(recognise(tmp_path).samples())


def test_peal_pairs_keep_light_and_background(tmp_path):
    found = of_dataset(recognise(made.peal(tmp_path)))
    assert [(p.name, p.neutral.parent.name, p.smile.parent.name) for p in found.persons] == [
        ("000001", "Normal", "Expression"), ("000002", "Normal", "Expression"),
    ]  # fmt: skip
