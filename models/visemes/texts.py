# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""What the training voices say: everyday sentences of our own, rich in lip sounds, in six languages.

Prototypes need every sound often, not much text: each voice says a few sentences, each sentence is said by many voices.
"""

from __future__ import annotations

TRAIN: dict[str, tuple[str, ...]] = {
    "en-us": (
        "Bob brought a big map from the market, but nobody wanted to buy it.",
        "My mother baked some bread, and we put jam and butter on top of it.",
        "The weather is warm today, so we should go for a swim before lunch.",
        "Five very fine voices filled the village hall on Friday evening.",
        "She should choose a fresh fish at the shop, then wash it and chop it.",
        "Thirty three thieves thought that nothing worth having was there.",
        "Who would move to a cooler room at noon, you or your cousin Luke?",
        "Computers put simple numbers into boxes, and people believe them.",
        "Please remember both umbrellas, or we will be soaked on the way home.",
        "I like quick games, good coffee, long books, and quiet Sunday mornings.",
        "Perhaps the captain jumped on board just before the ship left the harbor.",
        "What time does the next train leave, and where does it stop?",
    ),
    "en-gb-x-rp": (
        "Paul poured a small cup of tea and put the pot back by the lamp.",
        "We usually measure twice and cut once, as every good joiner does.",
        "The boy ran round the garden while his father watered the roses.",
        "Judge for yourself which of these two jackets would suit a tall man.",
        "Vivian gave me half of her coffee and a very large slice of cake.",
        "Nothing is as smooth as the path along the southern shore.",
    ),
    "de": (
        "Papa kauft morgen bei Oma einen Apfel, Brot und etwas Marmelade.",
        "Bitte kommen Sie pünktlich zum Bahnhof, der Zug wartet nicht.",
        "Im Sommer fahren wir oft ans Meer und schwimmen jeden Morgen.",
        "Das Mädchen spielt schöne Musik, und die Jungen hören ihr zu.",
        "Vielleicht haben wir heute Abend Zeit für ein gutes Gespräch.",
        "Frische Fische fischt man früh, frühe Fischer frieren viel.",
        "Der Hund bellt laut vor dem Baum, weil oben ein Vogel singt.",
        "Über dem Dorf hing dichter Nebel, bis die Sonne höher stand.",
    ),
    "es": (
        "Mi papá viene mañana por la tarde con un barco blanco.",
        "Vamos a comer pan con mantequilla y a beber un poco de vino.",
        "El problema es muy difícil, pero es posible resolverlo bien.",
        "También me gusta mucho la música del pueblo donde nací.",
        "Nunca supe por qué el hombre compró ambos caballos viejos.",
        "Hace falta fuego, agua, tierra y un cielo sin nubes.",
    ),
    "fr-fr": (
        "Mon père prépare une bonne soupe pour toute la famille.",
        "Nous voulons partir demain matin, avant le lever du soleil.",
        "Une belle maison blanche se trouve au bout du petit pont.",
        "Le chat boit du lait pendant que je joue de la musique.",
        "Bonjour, je voudrais un peu de beurre et deux pommes vertes.",
    ),
    "it": (
        "La mamma prepara il pane e poi beviamo un buon bicchiere di vino.",
        "Vorrei fare una passeggiata lungo il fiume prima di cena.",
        "Il bambino piccolo dorme tranquillo sopra il divano verde.",
        "Oggi piove molto, ma domani sarà una bella giornata.",
    ),
    "cmn": (
        "我们明天早上跟爸爸妈妈一起去北京。",
        "你喜欢吃苹果还是面包？我都喜欢。",
        "老师慢慢地说，学生们不明白这个问题。",
        "朋友买了一部漂亮的手机，价格很便宜。",
        "外面下雨了，别跑步，我们坐地铁吧。",
    ),
}

TEST: dict[str, tuple[str, ...]] = {
    "en-us": (
        "Maybe Pamela can help me to pump up the blue ball before we play.",
        "Somebody left a pile of old paper beside the kitchen table.",
        "If the film begins at five, we have just enough time for supper.",
        "A rabbit jumped over the wooden bridge and vanished in the bushes.",
        "Good morning everybody, welcome to our program, how are you today?",
        "The moon was so bright that we could read the book without a lamp.",
    ),
    "de": (
        "Am Abend brachte mein Bruder eine Lampe und zwei Bücher mit.",
        "Wir haben vorhin über das Problem mit dem Computer gesprochen.",
    ),
    "es": ("Siempre compramos manzanas y tomates en el mercado del barrio.",),
    "cmn": ("妹妹不怕跑得慢，她每天都跟朋友们跑步。",),
}

TRAIN_VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m6", "m8", "f1", "f2", "f4", "Andy", "Annie", "Alex", "linda", "belinda", "john",
    "robert", "steph", "paul", "max", "Gene", "Lee",
)  # fmt: skip
TEST_VARIANTS = ("m5", "m7", "f3", "f5", "Alicia", "Michael", "benjamin", "steph2")
"""Voices that training never hears."""

KOKORO_VOICES = (
    "am_fenrir", "bf_emma", "bm_george", "am_michael", "af_sarah", "bm_lewis", "am_puck", "af_bella", "bf_alice",
    "af_nova", "am_echo", "af_kore",
)  # fmt: skip
KOKORO_TEST_VOICES = ("af_heart", "am_onyx", "bf_lily", "bm_daniel")
"""Voices that training never hears; the demo is spoken by the first."""
