"""The text that is read aloud for `avatar calibrate`, in the order of its parts: about two minutes.

Statements, questions, lists, numbers and short exclamations, so that every kind of melody and phrase end occurs, and
nothing that is hard to pronounce or to say without a feeling.
"""

from __future__ import annotations

WORDS_A_SECOND = 2.8
"""Of reading aloud, pauses included."""

SPEECH_SHARE = 0.8
"""Of the time of reading; the rest are pauses."""

RELAX = "Look at the camera, mouth closed, face relaxed. Say nothing yet."
"""Shown for the first seconds: the face at rest is learnt from them."""
RELAX_SECONDS = 4.0

TEXT = (
    "Good morning. I am going to read for about two minutes, the way I would talk to a friend across the table.",
    "The kitchen window looks out on a narrow street. Early in the day there is hardly any traffic, only a bicycle now "
    "and then, and the baker who opens his shutters at six.",
    "What do I need from the market today? Bread, butter, six eggs, a bag of lemons, and something green for the soup. "
    "Did I forget anything? Yes, of course: coffee.",
    "It rained during the night, so the pavement is still wet. Still, the sky is clearing, and by noon it should be "
    "warm enough to sit outside.",
    "My neighbour has two dogs. The older one sleeps all day long; the younger one never seems to sleep at all. Which "
    "one would you rather have?",
    "There are three ways into town. You can walk along the river, which takes forty minutes. You can take the tram, "
    "which takes fifteen. Or you can wait for the bus, and then nobody knows.",
    "Wait a moment. Is that the telephone? No, it is only the radio next door.",
    "Have you ever tried to explain a recipe over the phone? It sounds so simple: flour, water, salt, a hot oven. But "
    "how hot is hot, and how long is a little while?",
    "I do not mind the winter. What I really miss is the light. In June you can read in the garden until ten, and in "
    "December it is dark before the children come home.",
    "One, two, three, four, five. The fifth step is the one that creaks, so everybody in this house skips it.",
    "Would I do it again? Absolutely. Would I do it the same way? Probably not. I would start earlier, bring a better "
    "map, and leave the heavy shoes at home.",
    "So, that is nearly all. The coffee is ready, the lemons are in the bowl, and the street is getting busy. Thank "
    "you for listening.",
)


def seconds_of(text: str) -> float:
    """How long a part of the text takes to read."""
    return len(text.split()) / WORDS_A_SECOND


def speech_of(text: str) -> float:
    """Seconds of speech in it; the rest are pauses."""
    return SPEECH_SHARE * seconds_of(text)


def part_at(seconds: float, speech: float) -> int:
    """Index of the part that is being read, ``seconds`` after the beginning, when so many seconds of ``speech`` were
    heard: who pauses or coughs does not lose the place. -1 while the face is still to be relaxed."""
    if seconds < RELAX_SECONDS and speech < 1.0:
        return -1
    for index, part in enumerate(TEXT):
        speech -= speech_of(part)
        if speech < 0:
            return index
    return len(TEXT) - 1
