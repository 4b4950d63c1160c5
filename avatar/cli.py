"""The command ``avatar``. Exit codes: 0 fine, 1 failed, 2 wrong usage or input; an error is one line on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from avatar.analysis.dialogue import ACTS
from avatar.commands import calibrate, draw, lab, live, machine, measure, store, trust
from avatar.core.types import EMOTIONS
from avatar.errors import AvatarError
from avatar.log import set_up

CONSENTS = ("self", "licensed", "synthetic")
BENCHES = (
    "stages",
    "live",
    "sync",
    "soak",
    "serve",
    "engines",
    "network",
    "parameters",
    "label",
    "batch",
    "vr",
    "switch",
)
EPILOG = "Everything this program draws is labelled as generated. Documentation: README.md"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point."""
    args = _parser().parse_args(argv)
    set_up(args.verbose)
    try:
        code = args.work(args)
    except AvatarError as error:
        print(f"avatar: {error}", file=sys.stderr)
        code = error.exit_code
    except ImportError as error:
        if ".so" not in str(error):
            raise
        fix = "on Debian or Ubuntu: sudo apt install libgl1 libglib2.0-0 libegl1 libgles2"
        print(f"avatar: a system library is missing ({error}); {fix}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone: nothing is wrong
        code = 0
        sys.stdout = None
    sys.exit(code or 0)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"avatar: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _number(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="configuration file, or a shipped one by name (webcam.toml)")
    common.add_argument("--set", metavar="a.b=c", action="append", default=[], help="set one value; may be repeated")
    common.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more on standard error")

    parser = _Parser(prog="avatar", description="A real-time multimodal avatar engine.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=version("vultus"))
    kinds = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, work: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        made = kinds.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(work=work)
        return made

    run = add("run", live.run, "the live engine with its page; prints the address")
    run.add_argument("--cluster", metavar="auto|ADDRESS", help="sessions (server.workers) run on this Ray cluster")
    _add_offline(add)

    create = add("create", trust.create, "make an avatar of a photo")
    create.add_argument("photo", type=Path)
    create.add_argument("--name", required=True, help="what it is called, a-z 0-9 - _")
    create.add_argument("--title", help="what people read")
    _add_consent(create, required=True)
    smile = (
        "a second photo: the same person in the same light, smiling with their teeth; gives their own teeth and folds"
    )
    create.add_argument("--smile", type=Path, metavar="PHOTO", help=smile)
    create.add_argument("--overwrite", action="store_true", help="replace your avatar of that name")

    about = "list avatars; delete yours; show, renew or revoke the consent; forget revocations"
    avatars = add("avatars", trust.avatars, about)
    avatars.add_argument("action", nargs="?", choices=("list", "show", "grant", "revoke", "forget"), default="list")
    avatars.add_argument("name", nargs="?", metavar="NAME")
    avatars.add_argument("--delete", metavar="NAME")
    avatars.add_argument("--reason", default="", help="revoke: why; it is kept with the record")
    _add_consent(avatars, required=False)
    kept = add("store", store.store, "where avatars, calibrations and consents are kept; move them elsewhere")
    kept.add_argument("action", choices=("show", "move"))
    kept.add_argument("url", nargs="?", metavar="URL", help="move: sqlite, or postgresql://HOST/DATABASE")
    _add_pipeline(add)
    verify = add("verify", trust.verify, "is this picture or clip labelled, and are its labels unbroken?")
    verify.add_argument("file", type=Path)
    _add_calibrate(add)
    models = add("models", machine.models, "model files that do not come with the package")
    models.add_argument("action", choices=("list", "fetch", "verify"))
    add("devices", machine.devices, "microphones, speakers, cameras, virtual cameras")
    add("doctor", machine.doctor, "what works here, what does not, and the fix")
    config = kinds.add_parser("config", help="configuration").add_subparsers(required=True, parser_class=_Parser)
    show = config.add_parser("show", help="each value and where it comes from", parents=[common])
    show.set_defaults(work=machine.config_show)

    train = add("train", measure.train, "make a shipped model again from its data")
    from avatar.models.training import MODELS

    train.add_argument("model", choices=sorted(MODELS))
    train.add_argument("--data", type=Path, help="folder of the training data")
    train.add_argument("-o", "--output", type=Path, help="where to write; default: the package's own folder")
    train.add_argument("--corpus", type=Path, help="visemes: folder of the labelled speech; made where there is none")
    train.add_argument("--minutes", type=_positive, help="visemes, generator, learned recipes: how long to train")
    train.add_argument("--resume", action="store_true", help="the same: go on from the last checkpoint")
    judge = add("eval", measure.judge, "judge what the models do, on material that they have not learnt from")
    from avatar.models.evaluation import TASKS

    judge.add_argument("task", choices=sorted(TASKS), help="; ".join(f"{k}: {t.text}" for k, t in TASKS.items()))
    judge.add_argument("--data", type=Path, metavar="DIR", help="your own recordings or photos")
    named = "which data set DIR is, where it does not say so itself: avatar datasets lists them"
    judge.add_argument("--dataset", metavar="NAME", help=f"expression: {named}")
    judge.add_argument("--corpus", type=Path, metavar="DIR", help="a corpus made by avatar.models.data.corpus")
    judge.add_argument("--video", type=Path, metavar="FILE", help="camera, reenact: a recording of a face")
    judge.add_argument("--minutes", type=_positive, help="how much sound to judge, at most")
    judge.add_argument("--avatar", metavar="NAME", help="who is drawn")
    judge.add_argument("--engine", metavar="E[,E...]|all", help="which engines draw")
    judge.add_argument("--limit", type=_count, metavar="N", help="so many people or portraits at most")
    shown = "expression: what the neutral photos are made to show (happiness), as the data set's photos do"
    judge.add_argument("--expression", metavar="NAME", help=shown)
    units = "expression: portraits on which single action units are measured (6; 0 = none)"
    judge.add_argument("--units", type=_number, metavar="N", help=units)
    judge.add_argument("--report", type=Path, metavar="F.html", help="expression: a page with tables and pictures")
    judge.add_argument("--loso", action="store_true", help="emotion: train on all speakers but one, for each of them")
    judge.add_argument("--keep", type=Path, metavar="DIR", help="write the clips, plots and contact sheets there")
    _add_lab(add)
    bench = add("bench", measure.bench, "speed and sync tables")
    bench.add_argument("what", nargs="?", choices=BENCHES, default="stages")
    bench.add_argument(
        "--seconds", type=_positive, help="how long; live, parameters: 60, sync: 30 each, vr: 15 each, soak: 1800"
    )
    bench.add_argument("--size", type=int, help="pixels a side, 256 to 1024")
    bench.add_argument(
        "--engine", default="", metavar="E[,E...]", help="engines, switch: which; all where none is named"
    )
    bench.add_argument("--paths", default="", help="sync: some of file,webrtc,browser,vcam")
    bench.add_argument("--parts", default="", help="network: some of bottleneck,outage,networks, or networks by name")
    bench.add_argument("--loss", type=float, default=0.0, metavar="P", help="sync: percent of the datagrams to lose")
    bench.add_argument("--jitter", type=float, default=0.0, metavar="MS", help="sync: delay them by up to so much")
    bench.add_argument("--impaired", action="store_true", help="sync: all losses and jitters as well, 20 s each")
    bench.add_argument("--sessions", type=int, default=4, help="serve: so many behind one door")
    bench.add_argument("--viewers", type=int, default=1, help="serve: of each of them")
    bench.add_argument("--side-by-side", action="store_true", help="serve: a server for each session, not one for all")
    bench.add_argument("--joins", type=_positive, metavar="S", help="soak: every S seconds one comes and one leaves")
    bench.add_argument("--clips", type=_number, default=60, metavar="N", help="batch: how many, of a second each")
    text = "batch: then so many on two nodes, of which one is killed half-way"
    bench.add_argument("--killed", type=_number, default=200, metavar="N", help=text)
    bench.add_argument("--ppm", type=float, default=0.0, help="sync: how far the devices' clocks are off")
    return parser


def _add_lab(add: Callable[..., argparse.ArgumentParser]) -> None:
    sets = add("datasets", lab.datasets, "data sets of faces that can be read, their licences, where to apply")
    sets.add_argument("--data", type=Path, metavar="DIR", help="what is in this folder")
    sets.add_argument("--dataset", metavar="NAME", help="read it as this one")
    text = "let people rate or compare what engines made, without knowing which is which"
    made = add("study", lab.study, text)
    made.add_argument("action", choices=("create", "list", "serve", "result", "export", "delete"))
    made.add_argument("name", nargs="?", metavar="NAME")
    items = "create: a folder for each engine, with pictures or clips of the same names in them"
    made.add_argument("--items", type=Path, metavar="DIR", help=items)
    made.add_argument("--kind", choices=("rating", "pairs", "both"), help="create: what is asked (both)")
    made.add_argument("--question", help="create: what is asked of one face")
    made.add_argument("--comparison", help="create: what is asked of two")
    made.add_argument("--host", default="127.0.0.1", help="serve: where to listen; others need a --token")
    made.add_argument("--port", type=int, default=8090, help="serve: 0 takes any free one")
    made.add_argument("--token", help="serve: whoever has it may answer; at least 16 characters")
    made.add_argument("-o", "--output", type=Path, metavar="F.csv|F.json", help="export: where to write")


def _add_pipeline(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "a person's video to a labelled clip of their avatar: acquire, learn, generate, embed"
    made = add("pipeline", trust.pipeline, text)
    made.add_argument("source", type=Path, metavar="VIDEO|PHOTO", help="the person, who has agreed")
    made.add_argument("--name", required=True, help="what the avatar is called, a-z 0-9 - _")
    made.add_argument("--overwrite", action="store_true", help="replace your avatar of that name")
    _add_consent(made, required=True)
    made.add_argument(
        "--audio", type=Path, metavar="FILE", help="what it says; the video's own sound if nothing is given"
    )
    made.add_argument("--text", help="a text to be spoken")
    made.add_argument("--engine", help="expression engine")
    made.add_argument("--size", type=int, help="pixels a side, 256 to 1024")
    made.add_argument("--fps", type=int, help="frames a second")
    made.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mp4")


def _add_consent(made: argparse.ArgumentParser, required: bool) -> None:
    who = "who agreed: the pictured person is you, a licence, or nobody real is pictured"
    made.add_argument("--consent", required=required, choices=CONSENTS, help=who)
    made.add_argument("--consent-by", default="", metavar="WHO", help="their name, as the record shall have it")
    made.add_argument("--consent-for", default="", metavar="WHAT", help="what they agreed to")
    made.add_argument("--consent-until", default="", metavar="YYYY-MM-DD", help="the last day; else until revoked")


def _add_calibrate(add: Callable[..., argparse.ArgumentParser]) -> None:
    own = add("calibrate", calibrate.calibrate, "learn how your own head moves, from a few minutes of reading")
    own.add_argument("--seconds", type=_positive, help="how long to record (120), or how much of a file to take")
    own.add_argument("--audio", metavar="microphone|FILE", help="what is heard; of a video file its own sound")
    own.add_argument("--video", metavar="camera|FILE", help="what is seen")
    own.add_argument("--name", metavar="NAME", help="whose it is (me)")
    what = own.add_mutually_exclusive_group()
    what.add_argument("--show", action="store_true", help="what is kept, and where")
    what.add_argument("--use", metavar="NAME|default", help="use this one from now on")
    what.add_argument("--delete", action="store_true", help="remove what is kept under NAME")


def _add_offline(add: Callable[..., argparse.ArgumentParser]) -> None:
    def common(made: argparse.ArgumentParser, avatar: bool = True) -> None:
        if avatar:
            made.add_argument("--avatar", metavar="NAME|PHOTO", help="an avatar by name, or a photo")
            made.add_argument("--engine", help="expression engine")
            made.add_argument("--size", type=int, help="pixels a side, 256 to 1024")
            made.add_argument("--quality", choices=("low", "medium", "high"), help="how much work a picture is worth")
            vouch = "of a photo by its path: who agreed (self)"
            made.add_argument("--consent", choices=CONSENTS, default="self", help=vouch)
            behind = "behind the person: keep, blur, green, alpha, a colour or a picture"
            made.add_argument("--background", metavar="B", help=behind)
        made.add_argument("--fps", type=int, help="frames a second")

    def inputs(made: argparse.ArgumentParser) -> None:
        made.add_argument("--audio", type=Path, metavar="FILE", help="a recording of speech")
        made.add_argument("--video", type=Path, metavar="FILE", help="a recording of a face, with or without sound")
        made.add_argument("--head", choices=("hmm", "rules", "still"), help="how the head moves with the voice")
        gain = "enlarge a video's small, short movements by so much, 1 to 10"
        made.add_argument("--micro-gain", type=_positive, metavar="G", help=gain)
        emotions = (
            f"auto = as the voice sounds, mirror = as the video looks, or one of {', '.join(EMOTIONS)}; how strong"
        )
        made.add_argument("--emotion", metavar="auto|NAME[:0..1]", help=emotions)

    render = add("render", draw.render, "draw a clip offline, faster than real time")
    common(render)
    inputs(render)
    render.add_argument("--text", help="a text to be spoken")
    acts = "what the text does, for head, brows and gaze; guessed from punctuation and melody where not given"
    render.add_argument("--act", choices=ACTS, help=acts)
    render.add_argument("--voice", metavar="V", help="espeak-ng voice that speaks the text (en-us), as de or en-us+f3")
    render.add_argument("--states", type=Path, metavar="F.jsonl", help="ready face states")
    render.add_argument("-o", "--output", type=Path, metavar="OUT.mp4")
    forms = "write the face states: .jsonl, .csv (as Live Link Face), .bvh (head and eyes) or .glb (an animated head)"
    render.add_argument("--states-out", type=Path, metavar="F.jsonl", help=forms)

    columns = "a table of clips: output, audio|text|states|video, avatar, emotion, engine, size, fps ..."
    render.add_argument("--batch", type=Path, metavar="JOBS.csv", help=columns)
    render.add_argument("--workers", type=_count, metavar="N", help="batch: clips at the same time; the cores' number")
    render.add_argument("--cluster", metavar="auto|ADDRESS", help="batch: draw on this Ray cluster")

    analyze = add("analyze", draw.analyze, "recording to face states, without drawing")
    common(analyze, avatar=False)
    inputs(analyze)
    analyze.add_argument(
        "--states", type=Path, metavar="F.jsonl", help="ready face states, to write them in another form"
    )
    analyze.add_argument("--states-out", type=Path, required=True, metavar="F.jsonl", help=forms)

    image = add("image", draw.image, "one picture")
    common(image)
    what = image.add_mutually_exclusive_group()
    what.add_argument("--au", metavar="12=1,6=.6", help="action units")
    what.add_argument("--arkit", metavar="jawOpen=.5,...", help="ARKit coefficients")
    for name in ("yaw", "pitch", "roll"):
        image.add_argument(f"--{name}", type=float, default=0.0, metavar="DEGREES")
    image.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")


if __name__ == "__main__":
    main()
