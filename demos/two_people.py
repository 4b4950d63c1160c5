"""Two people in one room: two engines, each with a voice of its own, and their heads across a table.

python demos/two_people.py            # opens the page; Ctrl+C ends all
python demos/two_people.py A.wav B.wav
"""

import contextlib
import subprocess
import sys
import webbrowser

PORTS = (8080, 8082), (8090, 8092)  # page, states


def engine(page: int, states: int, sound: str) -> subprocess.Popen[str]:
    settings = (f"server.port={page}", f"output.parameters_port={states}", f"input.audio={sound}")
    settings += ('output.sinks=["parameters"]',)
    command = [sys.executable, "-m", "avatar", "run", *(word for one in settings for word in ("--set", one))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main(left: str = "demo", right: str = "demo") -> None:
    engines = [engine(*ports, sound) for ports, sound in zip(PORTS, (left, right), strict=True)]
    try:
        for one in engines:
            assert one.stdout is not None
            one.stdout.readline()  # its address: it is ready
        address = f"http://127.0.0.1:{PORTS[0][0]}/vr/?" + "&".join(
            f"{side}=ws://127.0.0.1:{ports[1]}" for side, ports in zip(("left", "right"), PORTS, strict=True)
        )
        print(address)
        webbrowser.open(address)
        for one in engines:
            one.wait()
    finally:
        for one in engines:
            one.terminate()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl+C is the way to end it
        main(*sys.argv[1:])
