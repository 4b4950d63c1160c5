"""WHIP and WHEP, spoken by a client of aiortc over real sockets."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from rtc_client import Camera, Client, Show, Tone, until
from serve_for_test import SmallControl

from avatar.core.clock import SessionClock
from avatar.streams.access import Access
from avatar.streams.server import Server
from avatar.streams.signaling import PeerHub

TOKEN = "a token that nobody guesses"
SDP, FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


class Site:
    """A server with a token, and what a program says to it."""

    def __init__(self, server: Server, hub: PeerHub, http: aiohttp.ClientSession, clock: SessionClock) -> None:
        self.server, self.hub, self.http, self.clock = server, hub, http, clock
        self.place, self.headers = "", {}

    async def post(self, path: str, sdp: str, kind: str = SDP, **more) -> tuple[int, str]:
        headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
        async with self.http.post(path, data=sdp, headers=headers, **more) as response:
            self.place, self.headers = response.headers.get("Location", ""), response.headers.copy()
            return response.status, await response.text()

    async def ask(self, method: str, path: str, **more) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
        async with self.http.request(method, path, headers=headers, **more) as response:
            self.headers = response.headers.copy()
            return response.status, await response.text()

    def client(self, path: str, **more) -> Client:
        async def signal(sdp: str, kind: str) -> tuple[str, str, str]:
            status, answer = await self.post(path, sdp)
            assert status == 201, answer
            return answer, "answer", self.place.rsplit("/", 1)[1]

        return Client(signal, **more)


@pytest.fixture
async def site(tmp_path):
    clock = SessionClock()
    hub = PeerHub(clock, max_peers=4)
    access = Access(TOKEN, ["https://player.example"])
    server = Server(SmallControl(hub, tmp_path), hub, access=access, ice=["stun:stun.example:3478"])
    await server.start(port=0)
    async with aiohttp.ClientSession(server.url) as http:
        yield Site(server, hub, http, clock)
    await server.stop()


async def offer_of(kind: str = "audio") -> tuple[RTCPeerConnection, str]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    pc.addTransceiver(kind, direction="recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    return pc, pc.localDescription.sdp


@pytest.mark.parametrize("path", ["/whep", "/whep/live"])
async def test_a_program_watches(site, path):
    async with Show(site.hub.sink, site.clock), site.client(path) as player:
        await player.until(lambda: len(player.frames["video"]) >= 10 and len(player.frames["audio"]) >= 10)
        assert "a=sendonly" in player.answer
        assert site.place == f"/whep/live/{player.peer}"
        assert site.headers["Link"] == '<stun:stun.example:3478>; rel="ice-server"'
        assert site.headers["Content-Type"].startswith(SDP)
        assert site.headers["Accept-Patch"] == FRAGMENT
        assert (await site.ask("DELETE", site.place))[0] == 200
        assert player.peer not in site.hub
        assert (await site.ask("DELETE", site.place))[0] == 404


async def test_a_programs_microphone_and_camera_come_in(site):
    sound, pictures = site.hub.audio_source(), site.hub.video_source()
    await sound.open(site.clock)
    await pictures.open(site.clock)
    async with site.client("/whip", audio=Tone(), video=Camera()) as encoder:
        assert "a=recvonly" in encoder.answer
        assert "a=sendrecv" not in encoder.answer
        chunk = await asyncio.wait_for(anext(sound.items()), 5)
        picture = await asyncio.wait_for(anext(pictures.items()), 5)
        assert len(chunk.samples) == 960
        assert picture.pixels.shape == (240, 320, 3)
        assert site.hub.viewers == 0, "it does not watch"
        assert not site.hub.sink.active, "so nothing need be drawn"
        assert site.server._control.values["source"] == "page"
    await sound.close()
    await pictures.close()


async def test_eight_watch_one_encode(site):
    site.hub.max_peers = 8
    async with Show(site.hub.sink, site.clock), asyncio.TaskGroup() as group:
        players = [site.client("/whep", kinds=("video",)) for _ in range(8)]

        async def watch(player: Client) -> None:
            async with player:
                await player.until(lambda: all(len(p.frames["video"]) >= 20 for p in players))
                assert site.hub.sink.pictures.encodes == 1

        for player in players:
            group.create_task(watch(player))


async def test_candidates_may_come_later(site):
    pc, sdp = await offer_of()
    bare = "\r\n".join(line for line in sdp.splitlines() if not line.startswith("a=candidate"))
    status, answer = await site.post("/whep", bare + "\r\n")
    assert status == 201
    place, tag = site.place, site.headers["ETag"]
    ufrag = next(line for line in sdp.splitlines() if line.startswith("a=ice-ufrag"))
    later = [ufrag, "m=audio 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0"]
    later += [line for line in sdp.splitlines() if line.startswith("a=candidate")]
    later.append("a=end-of-candidates")
    fragment = "\r\n".join(later)
    kind = {"Content-Type": FRAGMENT, "If-Match": tag}
    assert (await site.ask("PATCH", place, data=fragment, headers=kind))[0] == 204
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    await until(lambda: site.hub.viewers == 1, 10)

    async def patch(data: str, **headers: str) -> tuple[int, str]:
        return await site.ask("PATCH", place, data=data, headers={"Content-Type": FRAGMENT, **headers})

    assert (await patch(fragment, **{"If-Match": '"old"'}))[0] == 412
    assert (await patch("a=ice-ufrag:another\r\na=ice-pwd:x\r\n"))[0] == 422
    assert (await patch("a=candidate:nonsense\r\n"))[0] == 400
    status, line = await patch("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 10_000)
    assert status in (400, 413), line
    assert (await site.ask("PATCH", place, data=fragment, headers={"Content-Type": "text/plain"}))[0] == 415
    assert (await site.ask("PATCH", "/whep/live/nobody", data=fragment, headers=kind))[0] == 404
    await pc.close()


@pytest.mark.parametrize(
    ("path", "body", "kind", "status"),
    [
        ("/whep", "v=0", "application/json", 415),
        ("/whep", "no session description", SDP, 400),
        ("/whep", "", SDP, 400),
        ("/whep", b"\xff\xfe\xfd", f"{SDP}; charset=utf-8", 400),
        ("/whep", "x" * 70_000, SDP, 413),
        ("/whep/another", "v=0", SDP, 404),
    ],
)
async def test_bad_offers_get_one_line(site, path, body, kind, status):
    got, text = await site.post(path, body, kind)
    assert got == status, text
    assert '"error"' in text
    assert site.hub.viewers == 0


async def test_two_hundred_offers_at_once_and_four_places(site):
    made = [await offer_of() for _ in range(8)]
    answers = await asyncio.gather(*(site.post("/whep", made[k % 8][1]) for k in range(200)))
    statuses = [status for status, _ in answers]
    assert statuses.count(201) == 4
    assert statuses.count(503) == 196
    for pc, _ in made:
        await pc.close()
    assert (await site.ask("GET", "/readyz"))[0] == 503
    status, _ = await site.post("/whep", made[0][1])
    assert (status, site.headers["Retry-After"]) == (503, "5")


async def test_what_may_be_asked(site):
    assert (await site.ask("OPTIONS", "/whip"))[0] == 204
    assert site.headers["Accept-Post"] == SDP
    assert [(await site.ask(m, p))[0] for m, p in (("GET", "/whip"), ("PUT", "/whep"), ("GET", "/whep/live"))] == [
        405
    ] * 3


async def test_foreign_pages_need_to_be_allowed_and_have_the_token(site):
    pc, sdp = await offer_of()
    ours = {"Origin": "https://player.example"}
    assert (await site.post("/whep", sdp, headers=ours))[0] == 201
    assert site.headers["Access-Control-Allow-Origin"] == "https://player.example"
    assert "Location" in site.headers["Access-Control-Expose-Headers"]
    assert (await site.post("/whep", sdp, headers={"Origin": "https://evil.example"}))[0] == 403
    assert "Access-Control-Allow-Origin" not in site.headers
    wrong = {**ours, "Authorization": "Bearer nothing at all"}
    assert (await site.post("/whep", sdp, headers=wrong))[0] == 401
    async with site.http.options("/whep", headers=ours) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, "https://player.example")
    assert (await site.ask("POST", "/api/say", headers=ours, json={"text": "Hello."}))[0] == 403, "WHIP and WHEP only"
    await pc.close()
