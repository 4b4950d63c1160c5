"""What one address may ask for, TURN credentials, secrets in logs, and photos that are decoded in a child."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from avatar import log
from avatar.config import load, secrets_of
from avatar.errors import PhotoError
from avatar.portrait import decoding
from avatar.portrait.decoding import read_apart
from avatar.portrait.photo import read_photo
from avatar.streams.ice import credentials, link_headers
from avatar.streams.limits import RATES, Connections, Rates


def request(path: str, remote: str = "192.0.2.1", method: str = "POST") -> SimpleNamespace:
    return SimpleNamespace(path=path, remote=remote, method=method)


def test_an_address_may_ask_so_often_and_no_more():
    now = [0.0]
    rates = Rates(lambda: now[0])
    burst, each = RATES["/api/avatars"]
    waits = [rates.wait(request("/api/avatars")) for _ in range(int(burst) + 3)]
    assert waits == [0] * int(burst) + [int(1 / each) + 1] * 3
    assert rates.wait(request("/api/avatars", "192.0.2.2")) == 0, "others are not kept waiting"
    assert rates.wait(request("/api/state", method="PATCH")) == 0
    now[0] += 1 / each
    assert rates.wait(request("/api/avatars")) == 0
    assert rates.wait(request("/api/avatars")) > 0
    assert sum(rates.wait(request("/api/avatars", "127.0.0.1")) == 0 for _ in range(100)) == 10 * burst


def test_turn_credentials_are_what_coturn_computes():
    user, password = credentials("north", "ada", 600, now=lambda: 1_000_000.5)
    assert user == "1000600:ada"
    assert password == base64.b64encode(hmac.new(b"north", b"1000600:ada", hashlib.sha1).digest()).decode()
    plain = link_headers(["stun:s.example:3478", "turn:t.example"])
    assert plain == ['<stun:s.example:3478>; rel="ice-server"', '<turn:t.example>; rel="ice-server"']
    stun, turn = link_headers(["stun:s.example:3478", "turns:t.example?transport=tcp"], "north", "ada")
    assert "credential" not in stun
    assert 'rel="ice-server"; username="' in turn
    assert turn.endswith('credential-type="password"')
    assert "north" not in turn


def test_secrets_stay_out_of_the_log():
    settings = ["store.url=postgresql://me:pass-word@db.example/x", "server.token=token-token-token"]
    secrets = secrets_of(load(None, settings).config)
    assert {"token-token-token", "pass-word"} <= set(secrets)
    log.hide(*secrets)
    try:
        raise ValueError("token-token-token")
    except ValueError:
        record = logging.LogRecord("x", 30, "", 1, "at %s", ("pass-word",), sys.exc_info())
    text = log._Discreet("%(message)s").format(record)
    assert "token-token-token" not in text
    assert "pass-word" not in text
    assert text.startswith("at ***")
    log._secrets.clear()


# --- photos --------------------------------------------------------------------------------------------------------


def test_a_child_reads_what_the_parent_would():
    pixels = np.random.default_rng(1).integers(0, 255, (64, 48, 3), np.uint8)
    data = bytes(cv2.imencode(".png", pixels)[1])
    assert np.array_equal(read_apart(data), read_photo(data))
    with pytest.raises(PhotoError) as here:
        read_photo(b"no picture")
    with pytest.raises(PhotoError) as there:
        read_apart(b"no picture")
    assert (str(there.value), there.value.code) == (str(here.value), here.value.code)


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux' own")
@pytest.mark.parametrize(
    "greed", ["bytearray(3 * 2**30)", "[bytes(2**20) for _ in range(4000)]", "open('x', 'w').write('x' * 10000)"]
)
def test_a_decoder_that_takes_too_much_is_stopped(tmp_path, greed):
    code = f"from avatar.portrait.decoding import *; limit(2**28, 2); {greed}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode != 0
    assert not (tmp_path / "x").exists() or (tmp_path / "x").stat().st_size == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux' own")
def test_a_decoder_that_never_ends_is_stopped():
    code = "from avatar.portrait.decoding import *; limit(2**28, 1)\nwhile True: pass"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode != 0


@pytest.mark.parametrize("died", ["import os; os.abort()", "print('{}')", "print('{\"shape\": [9, 9]}')", "pass"])
def test_a_child_that_dies_is_one_line(monkeypatch, tmp_path, died):
    (tmp_path / "dies.py").write_text(died)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(decoding, "__name__", "dies")
    with pytest.raises(PhotoError, match="too much memory or time") as caught:
        read_apart(b"x")
    assert caught.value.code == "large"


# --- connections ---------------------------------------------------------------------------------------------------


class Quiet(asyncio.Protocol):
    pass


async def test_connections_are_counted_and_given_back():
    connections = Connections(Quiet)
    server = await asyncio.get_running_loop().create_server(connections, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    await asyncio.sleep(0.05)
    assert connections.open == {"127.0.0.1": 3}
    for _, writer in lines:
        writer.close()
    await asyncio.sleep(0.05)
    assert not connections.open
    server.close()
