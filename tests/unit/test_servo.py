"""A face of 26 servos, simulated: commands come early enough, gently enough and never outside."""

import asyncio
import json

import numpy as np
import pytest

from avatar import outputs
from avatar.config import load as load_config
from avatar.core import facs
from avatar.core.types import MILLISECOND, SECOND, FaceState, LipCue, Ns, Pose, freeze
from avatar.errors import ConfigError
from avatar.pipeline import session as session_module
from avatar.pipeline.session import Session, Timing
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.parameters import servo
from avatar.streams.sinks.parameters.base import StateSink
from avatar.streams.sinks.parameters.servo import EXAMPLE, ServoMotion, ServoSink
from avatar.streams.sinks.parameters.servo_table import Servo, ServoTable, load
from avatar.streams.sinks.parameters.shaping import Shape
from avatar.sync.synchronizer import Synchronizer
from avatar.testing.fakes import FakeSource, MemorySink, silence
from avatar.testing.servo_face import SimulatedFace
from avatar.testing.virtual_loop import InlineLane, VirtualClock, run_virtual

FPS = 60
HOLD = 0.6 / FPS
"""A command holds until the next one, on average half a picture late; the rest is sampling."""


def state(seconds, **shapes):
    return FaceState(Ns(round(seconds * SECOND)), freeze(facs.arkit_vector(shapes)))


def jaw(**options):
    row = {"name": "jaw", "channel": 0, "drive": {"jawOpen": 1.0}, "min": 1000.0, "max": 2000.0, "rest": 1500.0}
    return Servo(**{**row, "speed": 1e6, **options})


def moved(table, states, ahead):
    """Run the motion and the simulated face: [(content time at the present moment, positions of the face)]."""
    motion, face, out = ServoMotion(table, ahead), SimulatedFace(table), []
    for item in states:
        # The state comes here at item.pts, `ahead` before its present time.
        pulses = motion.step(item)
        face.command(item.pts, dict(zip(map(str, table.channels), pulses, strict=True)))
        for step in range(4):
            now = Ns(item.pts + step * SECOND // FPS // 4)
            out.append((now - ahead, face.move(now)))
    assert face.wrong == []
    return out


def lag(table, ahead, channel=0, frequency=1.0):
    """Seconds by which the face is behind the states when it moves as a sine."""
    states = [state(i / FPS, jawOpen=0.5 + 0.4 * np.sin(2 * np.pi * frequency * i / FPS)) for i in range(10 * FPS)]
    track = [(t / SECOND, places[channel]) for t, places in moved(table, states, ahead) if t > 2 * SECOND]
    t, x = np.array(track).T
    phase = np.angle(np.sum((x - x.mean()) * np.exp(-2j * np.pi * frequency * t)))
    return (-np.pi / 2 - phase) / (2 * np.pi * frequency)


def test_dead_time_is_made_up_for_and_differs_from_servo_to_servo():
    table = ServoTable(tuple(jaw(name=str(i), channel=i, dead_ms=d) for i, d in enumerate((0, 25, 60, 100))))
    for channel, dead in enumerate((0, 25, 60, 100)):
        early = lag(table, table.longest_dead, channel)
        assert early == pytest.approx(0, abs=HOLD), f"{dead} ms"
        assert lag(table, Ns(0), channel) == pytest.approx(dead / 1000, abs=HOLD), "without looking ahead"


def test_a_servo_is_never_told_to_go_faster_than_it_can():
    table = ServoTable((jaw(speed=2000.0),))
    motion, last = ServoMotion(table, Ns(0)), 1500.0
    for i in range(FPS):
        (pulse,) = motion.step(state(i / FPS, jawOpen=i > 5))
        assert abs(pulse - last) <= 2000 / FPS + 1e-6
        last = pulse
    assert last == pytest.approx(2000)


@pytest.mark.parametrize(("easing", "half"), [("linear", 1750), ("in", 1625), ("out", 1875), ("in_out", 1750)])
def test_easing_bends_the_way_and_keeps_its_ends(easing, half):
    table = ServoTable((jaw(easing=easing),))
    for value, pulse in ((0, 1500), (0.5, half), (1, 2000)):
        assert table.positions(state(0, jawOpen=value)) == pytest.approx([pulse])


def test_a_gap_does_not_make_it_jump_and_nonsense_does_not_reach_a_motor():
    table = ServoTable((jaw(speed=2000.0),))
    motion = ServoMotion(table, Ns(0))
    for i in range(30):
        motion.step(state(i / FPS, jawOpen=1))
    (before,) = motion.step(state(0.5, jawOpen=1))
    broken = FaceState(Ns(round(0.52 * SECOND)), np.full(52, np.nan, np.float32))
    (after,) = motion.step(broken)
    assert np.isfinite(after)
    assert abs(after - before) <= 2000 * 0.02 + 1e-6


def test_after_a_gap_it_goes_on_at_its_own_speed():
    table = ServoTable((jaw(speed=2000.0),))
    motion = ServoMotion(table, Ns(0))
    motion.step(state(0, jawOpen=0))
    (first,) = motion.step(state(10, jawOpen=1))
    (second,) = motion.step(state(10 + 1 / FPS, jawOpen=1))
    assert first == 1500, "nobody knows how long it may take now: it waits one state"
    assert 1500 < second <= 1500 + 2000 / FPS + 1e-6


def test_the_example_face():
    table = load(EXAMPLE)
    assert len(table.servos) == 26
    assert sorted(table.channels) == list(range(26))
    rest = table.positions(state(0))
    assert rest == pytest.approx(table.rest)
    by_name = {item.name: row for row, item in enumerate(table.servos)}

    def turned(name, made):
        return table.positions(made)[by_name[name]] - table.rest[by_name[name]]

    assert turned("jaw", state(0, jawOpen=1)) == 450
    assert turned("lid_upper_left", state(0, eyeBlinkLeft=1)) == -500
    assert turned("lid_upper_right", state(0, eyeBlinkLeft=1)) == 0
    assert turned("lip_corner_left", state(0, mouthSmile=1)) == -turned("lip_corner_right", state(0, mouthSmile=1))
    head = FaceState(Ns(0), head=Pose.degrees(yaw=15))
    assert turned("neck_yaw", head) == pytest.approx(250, abs=1)


def test_the_example_face_speaks_in_step():
    """Ten seconds: every servo is where the state is, give or take one picture and 2 % of its way."""
    table = load(EXAMPLE)
    random = np.random.default_rng(2)
    names = [name for name in facs.ARKIT if not name.startswith("eyeLook")]
    speeds, phases = random.uniform(0.2, 2.0, len(names)), random.uniform(0, 6, len(names))
    states = [
        state(i / FPS, **dict(zip(names, 0.3 + 0.3 * np.sin(2 * np.pi * speeds * i / FPS + phases), strict=True)))
        for i in range(10 * FPS)
    ]
    track = moved(table, states, table.longest_dead)
    wanted = np.stack([table.positions(item) for item in states])
    times = np.array([item.pts for item in states])
    inside = [(t, x) for t, x in track if SECOND < t < times[-1]]
    for row in range(26):
        error = [abs(x[row] - np.interp(t, times, wanted[:, row])) for t, x in inside]
        one_picture = np.percentile(np.abs(np.diff(wanted[:, row])), 95)
        allowed = one_picture + 0.02 * abs(table.high[row] - table.low[row])
        assert np.percentile(error, 95) < allowed, table.servos[row].name


# --- in a session, in virtual time ------------------------------------------------------------------------------------


class Clapper:
    """Opens the mouth for 300 ms at every full second."""

    def step(self, chunk):
        jaw_open = float(chunk.pts % SECOND < 300 * MILLISECOND)
        return (LipCue(chunk.pts, np.zeros(15, np.float32), facs.arkit_vector({"jawOpen": jaw_open}), True),)

    def reset(self):
        pass


def test_the_face_and_the_picture_move_at_the_same_moment(monkeypatch):
    """A picture with the mouth open leaves when the simulated jaw, with 60 ms of dead time, has opened."""
    monkeypatch.setattr(session_module, "ThreadLane", InlineLane)
    table = ServoTable((jaw(dead_ms=60.0),))

    async def main():
        clock = VirtualClock()
        timing = Timing(Ns(240 * MILLISECOND), Ns(30 * MILLISECOND), Ns(80 * MILLISECOND), fps=FPS)
        session = Session(
            clock, timing, Clapper(), lambda pts, speaking: (), Synchronizer(), lambda s: np.zeros((4, 4, 3), np.uint8)
        )
        face, commands = SimulatedFace(table), []

        class Arm(ServoSink):
            async def start(self):
                pass

            def send(self, item):
                pulses = json.loads(self.encode(item)[0])["us"]
                face.command(clock.now(), pulses)
                commands.append((clock.now(), item.pts))

            async def close(self):
                pass

        arm, screen = Arm(table=table), MemorySink(clock)
        session.attach(arm, lambda: arm.open(StreamFormat(fps=FPS)))
        session.attach(screen, screen.open)
        await session.use_audio(FakeSource(silence(12)))
        task = asyncio.create_task(session.run())
        shown = []
        for _ in range(10_000):
            await asyncio.sleep(0.001)
            shown.append((clock.now(), face.move(clock.now())[0]))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return screen.frames, shown, commands

    frames, shown, commands = run_virtual(main())
    assert len(commands) == pytest.approx(len(frames), abs=12)
    early = [pts + 240 * MILLISECOND - at for at, pts in commands[20:]]
    assert min(early) == max(early) == pytest.approx(60 * MILLISECOND, abs=MILLISECOND)

    def crossings(times, values):
        up = np.flatnonzero((values[1:] > 0.5) & (values[:-1] <= 0.5))
        return times[1:][up] / SECOND

    seen = np.array([(at, f.state.arkit[facs.INDEX["jawOpen"]]) for at, f in frames])
    arm = np.array([(at, (x - 1500) / 500) for at, x in shown])
    picture, mechanical = crossings(*seen.T), crossings(*arm.T)
    late = [min(abs(picture - t)) for t in mechanical if 2 < t < 9]
    assert len(late) >= 6
    assert max(late) <= 1 / FPS


def test_every_output_reads_the_state_of_the_picture_that_leaves(monkeypatch):
    """Whatever its rate: same state, same moment, and one that is late all the time holds up nobody."""
    monkeypatch.setattr(session_module, "ThreadLane", InlineLane)

    async def main():
        clock = VirtualClock()
        timing = Timing(Ns(240 * MILLISECOND), Ns(30 * MILLISECOND), Ns(80 * MILLISECOND), fps=FPS)
        session = Session(
            clock, timing, Clapper(), lambda pts, speaking: (), Synchronizer(), lambda s: np.zeros((4, 4, 3), np.uint8)
        )

        class Noting(StateSink):
            name = "noting"

            def __init__(self, shape, slow=False):
                super().__init__(shape)
                self.got, self.slow, self.heard = [], slow, 0

            async def start(self):
                pass

            async def video(self, frame):
                if self.slow:
                    await asyncio.sleep(0.5)
                await super().video(frame)

            async def audio(self, chunk):
                self.heard += 1

            def send(self, item):
                self.got.append((clock.now(), item))

            async def close(self):
                pass

        outs = [Noting(Shape()), Noting(Shape(rate=20)), Noting(Shape(), slow=True)]
        screen = MemorySink(clock)
        for sink in outs:
            session.attach(sink, lambda sink=sink: sink.open(StreamFormat(fps=FPS)))
        session.attach(screen, screen.open)
        await session.use_audio(FakeSource(silence(6)))
        task = asyncio.create_task(session.run())
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return screen.frames, outs

    frames, (every, some, slow) = run_virtual(main())
    pictures = {f.pts: (at, f.state) for at, f in frames}
    assert len(frames) > 250
    assert len(every.got) == len(frames)
    assert len(some.got) == pytest.approx(len(frames) / 3, abs=2)
    assert len(slow.got) <= 11
    assert not any(sink.heard for sink in (every, some, slow)), "they have no use for sound"
    for at, item in (*every.got, *some.got):
        shown, state = pictures[item.pts]
        assert item is state
        assert at == shown


def test_a_lead_that_is_too_short_is_refused_with_the_least_that_is_not():
    with pytest.raises(
        ConfigError, match=r"sync\.lead_ms = 20: servos with 60 ms of dead time need at least 94; add 74"
    ):
        outputs.make("servo", load_config(None, ["output.sinks=['servo']"]).config)
    sink = outputs.make("servo", load_config(None, ["sync.lead_ms=94", "sync.budget_ms=240"]).config)
    assert sink.ahead == 60 * MILLISECOND


# --- tables that cannot be right -----------------------------------------------------------------------------------

ROW = 'name = "jaw"\nchannel = 1\ndrive = { jawOpen = 1.0 }\nmin = 1000\nrest = 1500\nmax = 2000\nspeed = 5000\n'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "one [[servo]]"),
        ("[[servo]\n", "no servo table"),
        ("[[servo]]\n" + ROW.replace("channel = 1\n", ""), "servo 1: channel is missing"),
        ("[[servo]]\n" + ROW + "gain = 2\n", "servo 1: unknown key gain"),
        ("[[servo]]\n" + ROW.replace("jawOpen", "jawOpem"), "drive knows no 'jawOpem'"),
        ("[[servo]]\n" + ROW.replace("jawOpen", '"99"'), "drive knows no '99'"),
        ("[[servo]]\n" + ROW.replace("1500", "2500"), "rest 2500 is not between"),
        ("[[servo]]\n" + ROW.replace("2000", "20000"), "microseconds from 100 to 5000"),
        ("[[servo]]\n" + ROW.replace("5000", "0"), "speed must be above 0"),
        ("[[servo]]\n" + ROW.replace("5000", '"fast"'), "speed = 'fast' is not a number"),
        ("[[servo]]\n" + ROW + 'easing = "bounce"\n', "easing 'bounce'; there are linear"),
        ("[[servo]]\n" + ROW + "dead_ms = 2000\n", "dead_ms from 0 to 1000"),
        ("[[servo]]\n" + ROW + "[[servo]]\n" + ROW, "channel 1 is there twice"),
        ("[[servo]]\n" + ROW.replace("channel = 1", "channel = -1"), "not a whole number"),
        ("[[servo]]\n" + ROW.replace("{ jawOpen = 1.0 }", "1.0"), "drive is a table"),
    ],
)
def test_a_wrong_table_is_one_clear_line(tmp_path, content, says):
    file = tmp_path / "face.toml"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert says in str(caught.value)
    assert "face.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_may_be_a_file(tmp_path):
    file = tmp_path / "face.toml"
    file.write_text("[[servo]]\n" + ROW)
    assert servo.ServoSink(table=file).table.channels == (1,)
