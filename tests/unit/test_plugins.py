"""Engines, sources and sinks of other packages."""

import sys

import pytest

from avatar import plugins
from avatar.errors import UsageError
from avatar.metrics import Meters, percentiles, resident_mb


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with one sink, and one that cannot be imported."""
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avatar.sinks]\nmine = other_sink:Mine\nbroken = nowhere_to_be_found:It\n")
    (tmp_path / "other_sink.py").write_text("class Mine:\n    name = 'mine'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.names.cache_clear()
    yield
    plugins.names.cache_clear()
    sys.modules.pop("other_sink", None)


@pytest.mark.usefixtures("package")
def test_another_package_adds_a_sink():
    assert {"mine", "broken"} <= set(plugins.names("sinks"))
    assert plugins.load("sinks", "mine").name == "mine"


@pytest.mark.usefixtures("package")
def test_what_cannot_be_had_is_one_clear_line():
    with pytest.raises(UsageError, match="sink broken: cannot be imported"):
        plugins.load("sinks", "broken")
    with pytest.raises(UsageError, match=r"no engine named 'magic'; there are: .*generator, .*head"):
        plugins.load("engines", "magic")


def test_meters_keep_a_window_and_count():
    meters = Meters(window=3)
    for value in range(5):
        meters.add("engine_ms", value)
        meters.add("frames", value / 30)
        meters.count("shed", 2)
    assert meters.series("engine_ms") == (2, 3, 4)
    assert meters.counters["shed"] == 10
    assert meters.rate("frames") == pytest.approx(30)
    meters.clear()
    assert meters.series("engine_ms") == ()
    assert meters.rate("frames") == 0
    assert percentiles([]) == {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    assert percentiles(range(101), (50, 95)) == {"p50": 50.0, "p95": 95.0}
    assert resident_mb() > 10
