"""The live engine from a program: prints the page's address and runs until Ctrl-C."""

import asyncio

from avatar import Pipeline
from avatar.config import load

pipeline = Pipeline(load("webrtc.toml").config)
asyncio.run(pipeline.run(ready=print))
