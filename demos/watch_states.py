"""Watch the face states of a running engine, as a robot or a game engine would.

avatar run --config headless.toml &
python demos/watch_states.py
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect


async def main(address: str = "ws://127.0.0.1:8082") -> None:
    async with connect(address) as socket:
        async for text in socket:
            state = json.loads(text)
            jaw, head = state["arkit"]["jawOpen"], state["head"]
            bar = "#" * round(40 * jaw)
            print(
                f"{state['t']:8.2f} s  jaw {jaw:4.2f} {bar:20.20}  yaw {head['yaw']:+5.1f}  pitch {head['pitch']:+5.1f}"
            )


asyncio.run(main(*sys.argv[1:]))
