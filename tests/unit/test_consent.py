"""Consent: recorded beside every avatar, asked for before it is drawn, and taken back for good."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from avatar.errors import ConsentError, UsageError
from avatar.models import registry
from avatar.portrait import bundle, consent
from avatar.portrait.bundle import AvatarBundle
from avatar.portrait.consent import ConsentRecord
from avatar.portrait.library import Library
from avatar.store import Store


@pytest.fixture
def shelf(tmp_path: Path) -> Library:
    return Library(registry.avatars_dir(), Store(tmp_path / "data"))


@pytest.fixture
def mine(shelf: Library, sam: AvatarBundle) -> Path:
    """The folder of an avatar of the user's own."""
    return shelf.add(replace(sam, name="mine", consent="self"))


def rewrite(shelf: Library, folder: Path, record: str | None, **meta: object) -> None:
    """Put the avatar "mine" into the store with other papers."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    del files[consent.FILE]
    files["avatar.json"] = json.dumps(json.loads(files["avatar.json"]) | meta).encode()
    with shelf.store.change() as change:
        change.put("avatar", "mine", files, record)


def test_a_record_survives_its_file_and_says_who_and_what_for(tmp_path):
    record = ConsentRecord.given("licensed", "  Ada\n Miller ", "the autumn stream", "2031-01-31")
    consent.write(record, tmp_path / consent.FILE)
    assert consent.read(tmp_path / consent.FILE) == record
    fields = json.loads((tmp_path / consent.FILE).read_text())
    assert (fields["by"], fields["for"], fields["kind"]) == ("Ada Miller", "the autumn stream", "licensed")
    assert (fields["until"], fields["revoked"]) == ("2031-01-31", "")
    assert ConsentRecord.given("self").by == "the pictured person"
    assert ConsentRecord.given("self").id != ConsentRecord.given("self").id


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"until": "tomorrow"}, "YYYY-MM-DD"),
        ({"until": "2031-02-30"}, "YYYY-MM-DD"),
        ({"until": "2020-01-01"}, "ended on 2020-01-01"),
        ({"by": "x" * 500}, "at most 400"),
    ],
)
def test_a_record_that_cannot_be_used_is_refused(fields, said):
    with pytest.raises(ConsentError, match=said):
        ConsentRecord.given("self", **fields)


def test_a_consent_ends_after_its_last_day():
    record = ConsentRecord.given("self", until="2031-01-31")
    assert record.fault(date(2031, 1, 31)) == ""
    assert "ended on 2031-01-31" in record.fault(date(2031, 2, 1))


def test_every_shipped_avatar_carries_its_record():
    for folder in registry.avatars_dir().iterdir():
        record = consent.required(folder)
        assert (record.kind, record.fault()) == ("synthetic", "")
        assert bundle.load(folder).record == record


@pytest.mark.parametrize("what", ["missing", "broken", "revoked", "ended", "unknown kind"])
def test_without_a_valid_record_it_is_not_drawn(shelf, mine, what):
    path = mine / consent.FILE
    fields = json.loads(path.read_text())
    if what == "missing":
        rewrite(shelf, mine, None)
    elif what == "broken":
        rewrite(shelf, mine, path.read_text()[:-20])
    else:
        fields |= {
            "revoked": {"revoked": "2026-01-01T00:00:00+00:00", "reason": "asked"},
            "ended": {"until": "2020-01-01"},
            "unknown kind": {"kind": "found on the net"},
        }[what]
        rewrite(shelf, mine, json.dumps(fields))
    with pytest.raises(ConsentError, match=r"mine is not drawn.*avatar avatars grant mine") as caught:
        shelf.load("mine")
    assert "\n" not in str(caught.value)
    (entry,) = [entry for entry in shelf.entries() if entry.name == "mine"]
    assert "not drawn" in entry.error


def test_one_made_before_there_were_records_is_asked_for_one_and_then_works(shelf, mine):
    rewrite(shelf, mine, None, format=2)
    with pytest.raises(ConsentError, match="avatar avatars grant mine"):
        shelf.load("mine")
    shelf.grant("mine", ConsentRecord.given("licensed", "Ada Miller"))
    assert shelf.load("mine").consent == "licensed"


def test_revoking_deletes_the_files_and_keeps_the_record(shelf, mine, sam):
    loaded = shelf.load("mine")
    assert shelf.fault(loaded) == ""
    gone = shelf.revoke("mine", "she asked")
    assert not mine.exists()
    left = [path.name for path in shelf.store.root.rglob("*") if path.is_file()]
    assert {name.partition("-")[0] for name in left} == {"vultus.sqlite"}, "no picture is left anywhere"
    assert shelf.revoked("mine") == [gone]
    assert loaded.record is not None
    assert gone.id == loaded.record.id
    assert "she asked" in shelf.fault(loaded)
    assert shelf.papers("mine") == gone
    with pytest.raises(ConsentError, match=r"mine is gone: it was revoked on .*she asked"):
        shelf.load("mine")
    assert "mine" not in shelf.names()
    shelf.add(replace(sam, name="mine", consent="self"))  # who agrees anew may begin anew
    assert shelf.fault(shelf.load("mine")) == ""
    assert shelf.fault(loaded) != "", "but what was loaded under the old consent is not drawn again"
    assert len(shelf.revoked("mine")) == 1


def test_taking_the_record_away_counts_as_no_consent(shelf, mine):
    loaded = shelf.load("mine")
    rewrite(shelf, mine, None)
    assert "no consent record" in shelf.fault(loaded)


def test_deleting_deletes_everything(shelf, mine):
    loaded = shelf.load("mine")
    shelf.delete("mine")
    left = [path.name for path in shelf.store.root.rglob("*") if path.is_file()]
    assert {name.partition("-")[0] for name in left} == {"vultus.sqlite"}
    assert shelf.store.index().consents == ()
    assert shelf.fault(loaded) != ""


def test_the_record_of_a_revocation_goes_when_it_is_asked_to(shelf, mine):
    shelf.revoke("mine", "she asked")
    assert shelf.forget("mine") == 1
    assert shelf.revoked("mine") == []
    with pytest.raises(UsageError, match="no revocation is recorded"):
        shelf.forget("mine")


def test_the_shipped_ones_are_nobodys_to_revoke(shelf):
    for attempt in (lambda: shelf.revoke("sam", ""), lambda: shelf.grant("sam", ConsentRecord.given("self"))):
        with pytest.raises(UsageError, match="comes with the program"):
            attempt()
