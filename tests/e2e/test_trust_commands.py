"""Labels of the live picture as a browser gets them, and consent that ends while it is shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from live_page import Engine
from playwright.sync_api import Page, expect
from skimage import data

from avatar.core.types import U8
from avatar.trust import badge_finder
from avatar.trust.verify import verify

pytestmark = pytest.mark.browser

GRAB = """() => {
  const video = document.getElementById("avatar");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png");
}"""
CHECK = r"""async ([change]) => {
  const { checkLabel } = await import("/label.js");
  const { peer } = await import("/app.js");
  const message = await new Promise((resolve) => {
    peer.addEventListener("label", ({ detail }) => resolve(detail), { once: true });
    peer.open();
  });
  const parts = JSON.parse(message.message);
  if (change === "payload") parts.payload = parts.payload.replace("AI-generated", "AI-generateD");
  if (change === "signature") parts.signature = btoa("x".repeat(64));
  const sdp = change === "connection" ? message.sdp.replace(/(a=fingerprint:\S+ )../g, "$100") : message.sdp;
  return checkLabel({ message: JSON.stringify(parts), sdp });
}"""

WATCH = """() => import("/app.js").then(({ peer }) => {
  const { connection } = peer;  // the page drops it when it notices the end
  globalThis.watching = setInterval(async () => {
    for (const one of (await connection.getStats()).values())
      if (one.type === "inbound-rtp" && one.kind === "video") globalThis.lastPacket = one.lastPacketReceivedTimestamp;
  }, 50);
})"""


def seen(page: Page) -> U8:
    png = base64.b64decode(page.evaluate(GRAB).partition(",")[2])
    return np.ascontiguousarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


def grabbed(path: Path, pictures: list[U8]) -> Path:
    """What a viewer who records the page would have, no pixel changed."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=8, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "rgb24"
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return path


def test_the_signed_label_is_checked_by_the_page_and_names_the_session_in_the_pixels(visit, tmp_path):
    page = visit().page
    expect(page.locator("#badge[data-signature=valid]")).to_be_visible()
    said = page.locator("#badge-text").text_content()
    assert said is not None
    assert "nobody real is pictured" in said
    pictures = []
    for _ in range(12):
        pictures.append(seen(page))
        page.wait_for_timeout(120)
    found = verify(grabbed(tmp_path / "grabbed.mp4", pictures)).to_json()
    assert found["watermark"]["found"], "the watermark survives VP8 to the browser"
    assert f"Session {found['watermark']['session']}" in said
    assert found["badge"]["found"]
    badge = badge_finder.find(pictures[-1])
    assert badge is not None
    assert badge.share >= 0.05


@pytest.mark.parametrize("change", ["payload", "signature", "connection"])
def test_a_changed_label_is_refused(visit, change):
    page = visit().page
    assert page.evaluate(CHECK, [change])["state"] == "invalid"


def test_an_unchanged_label_is_right(visit):
    page = visit().page
    checked = page.evaluate(CHECK, ["nothing"])
    assert checked["state"] == "valid"
    assert checked["facts"]["consent"]["kind"] == "synthetic"


def test_the_page_says_what_is_kept(visit):
    page = visit().page
    page.locator("#kept-open").click()
    expect(page.locator("#kept")).to_contain_text("avatar avatars revoke")


@pytest.mark.timeout(300)
def test_revoking_while_live_stops_the_picture_within_a_second(tmp_path: Path, browser):
    photo = tmp_path / "me.png"
    cv2.imwrite(str(photo), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_VIDEOS_DIR": str(tmp_path / "videos")}

    def avatar(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "avatar.cli", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)

    assert avatar("create", photo, "--name", "eileen", "--consent", "licensed").returncode == 0
    engine = Engine(tmp_path)
    try:
        engine.call("PATCH", "/api/state", {"avatar": "eileen"})
        page = browser.context().new_page()
        page.goto(engine.url)
        page.wait_for_selector("#screen[data-live=true]")
        page.evaluate(WATCH)
        root = tmp_path / "data" / "vultus"
        (record,) = root.glob("files/*/eileen/consent.json")
        # From the moment that the record is not valid, whatever the command takes to start.
        revoking = subprocess.Popen(
            [sys.executable, "-m", "avatar.cli", "avatars", "revoke", "eileen", "--reason", "asked"], env=environment
        )
        while record.exists():
            time.sleep(0.005)
        begun = time.time()
        assert revoking.wait(30) == 0
        time.sleep(1.5)
        last = page.evaluate(
            "() => (clearInterval(watching), lastPacket / 1000)"
        )  # when it came, not when it was shown
        print(f"the last packet came {last - begun:+.3f} s after the record was no longer valid")
        assert last > begun - 1.0, "it was live until then"
        assert last - begun <= 1.0, "the picture goes on"
        assert engine.process.wait(10) == 2
        log = (tmp_path / "engine.log").read_text()
        assert "avatar eileen is not drawn any more" in log
        assert "asked" in log
        assert not list(root.glob("files/*/eileen"))
        assert not list(root.glob("blobs/*/*")), "no picture is left"
        kept = avatar("avatars", "show", "eileen", "--json")
        assert '"reason": "asked"' in kept.stdout
        again = avatar("image", "--avatar", "eileen", "-o", tmp_path / "x.png")
        assert (again.returncode, again.stderr.count("\n")) == (2, 1)
        assert "revoked" in again.stderr
    finally:
        engine.close()
