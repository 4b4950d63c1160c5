"""Send a WAV file to a running engine as if it were a live voice.

avatar run --config headless.toml &
python demos/send_voice.py speech.wav
"""

import asyncio
import json
import sys
import wave

from websockets.asyncio.client import connect


async def main(path: str, address: str = "ws://127.0.0.1:8081") -> None:
    with wave.open(path) as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            sys.exit(f"{path}: this example sends 16 bit mono WAV files only")
        rate = file.getframerate()
        async with connect(address) as socket:
            await socket.send(json.dumps({"rate": rate, "format": "s16le"}))
            while piece := file.readframes(rate // 50):
                await socket.send(piece)
                await asyncio.sleep(0.02)


asyncio.run(main(*sys.argv[1:]))
