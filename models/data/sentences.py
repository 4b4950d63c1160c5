# ruff: noqa: RUF001 - Cyrillic and Chinese signs are meant
"""Sentences for training voices: templates filled from lists rich in lip sounds, and words of other languages.

What is said need not make much sense; every sound has to occur in many neighbourhoods.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from avatar.models.visemes.texts import TEST, TRAIN

_WORDS: dict[str, str] = {
    "name": (
        "Bob Pam Emma Victor Vivian Fiona Philip William Wendy Martha Theo Judith George Charlotte Shawn Zoe Susan "
        "Nina Rory Rachel Hugo Kate Gary Yusuf Yolanda Oliver Owen Ursula Abby Ibrahim Maeve Benjamin Pavel "
        "Amber Mabel Humphrey Beth Dmitri Tomoko Boris Wojtek Khadija Priya Fatima Mumbi Chiamaka Jean-Paul"
    ),
    "place": (
        "Boston Memphis Vermont Warsaw Bombay Cambridge Philadelphia Geneva Paris Madrid Rome Oslo Brisbane Plymouth "
        "Zurich Chicago Shanghai Utrecht Lima Moscow Istanbul Tokyo Ottawa Mombasa Bamberg Vienna Budapest Palermo"
    ),
    "noun": (
        "map lamp pump bump bomb tomb camp stamp bulb tube cub cup cap cab lip limb thumb plum room broom poem problem "
        "system album stadium museum bishop shop ship sheep soap soup rope robe globe bribe tribe pipe pope pamphlet "
        "puppy poppy baby bubble pebble apple people table cable pebble bottle paddle puddle peanut penguin pumpkin "
        "pepper paper piper puppet pocket packet bucket basket blanket bonnet button butter bitter matter mother "
        "brother father feather leather weather thought throat bath path cloth tooth mouth myth month fifth fever "
        "favor flavor village vision van vine wine vest west veil whale wheel well wave oven river cover beaver "
        "clover glove stove sleeve leaf loaf roof thief chief cliff giraffe graph laugh coffee office fifty film "
        "elephant alphabet symphony camera computer number member chamber timber lumber jumper bumper temple simple "
        "sample example uncle ankle monkey donkey ring song spring king wing finger anger engine angel orange judge "
        "bridge garage measure treasure jacket jungle chair church chicken kitchen picture nature lecture watch match "
        "fish dish brush station nation ocean machine shoe shoulder sugar house horse rose nose prize zoo zebra zone "
        "lazy puzzle dog desk door dinner window lady hotel tiger teacher light night note net tunnel lemon lesson "
        "balloon umbrella yellow yard yacht onion opinion question quilt queen square squirrel acorn oil boy toy "
        "voice cow owl mouse town cloud fire tower hour ear beer chair bear bird nurse work earth world girl pearl "
        "ladder hammer harbor hill hat heart garden guitar goose egg bag fog cook book foot wood wool moon spoon "
        "school blue pool fruit juice suit root music mule beauty pupil tulip"
    ),
    "adj": (
        "big small blue brown warm smooth rough soft deep simple purple famous empty heavy fabulous vivid fluffy "
        "clever brave bitter better upper humble gloomy roomy bumpy clumsy happy sloppy rubber wooden woolen thick "
        "thin other northern smart sharp cheap fresh foolish strange huge average usual royal loyal noisy lazy easy "
        "busy yellow lovely ugly hungry angry quick quiet square public perfect proper open awful beautiful powerful "
        "impossible probable comfortable available five-sided wobbly weird bold cold old new young pale pink amber"
    ),
    "verb": (
        "bought brought borrowed painted packed picked pushed pulled dropped wrapped stopped shaped robbed rubbed "
        "grabbed bumped jumped pumped stamped climbed combed named blamed welcomed filmed remembered moved loved "
        "saved served shaved drove gave forgave believed fixed found followed photographed laughed at coughed on "
        "watched washed wished for chased changed measured judged enjoyed used chose showed threw thanked bathed "
        "breathed on cooked called carried cleaned drew greeted kicked kissed lifted lost needed noticed opened "
        "ordered questioned replaced repaired sold told about touched turned visited wanted weighed wore wrote about"
    ),
    "verb0": (
        "bring buy borrow paint pack pick push pull drop wrap stop shape rub grab bump pump stamp climb comb name "
        "blame welcome film remember move love save serve drive give believe fix find follow watch wash chase change "
        "measure judge enjoy use choose show throw thank cook call carry clean draw greet kick lift open order "
        "replace repair sell touch turn visit weigh wear book beam shove map swap keep beep weave wave bathe"
    ),
    "prep": (
        "by|behind|beside|above|below|before|beneath|in front of|on top of|from|with|without|over|through|within|"
        "between us and|away from|up to|in the middle of|opposite|far from"
    ),
    "when": (
        "this morning|tomorrow|by half past five|before lunch|every Wednesday|in November|at the moment|all the time|"
        "maybe in September|from time to time|after the war|on my birthday|once a week|at five to twelve|in February|"
        "as often as possible|on the weekend|very soon|never again|as a rule"
    ),
    "number": (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen twenty-five "
        "thirty-four fifty-five forty-seven seventy-seven eighty-one ninety-nine twelve-hundred"
    ),
    "adv": (
        "probably perhaps maybe simply suddenly slowly quickly quietly barely bravely happily obviously usually "
        "finally fairly very-nearly almost always never often hopefully really truly softly warmly abruptly"
    ),
    "pair": (
        "pat-bat pan-ban-man pie-buy-my pea-bee-me-fee pull-bull-wool pole-bowl-mole-foal pair-bear-mare-fair "
        "pin-bin-fin-win park-bark-mark pack-back-mac vine-wine-fine vest-west-best veil-whale-bail-mail fan-van-ban "
        "fine-pine-mine few-pew-mew-view rope-robe-roam cup-cub-come lap-lab-lamb rip-rib-rim gap-gab-gam "
        "simple-symbol ample-amble rapid-rabid staple-stable lever-labor safer-saber leaf-leap live-lib "
        "thin-fin-tin-sin-shin this-vis dough-toe-no-low sip-ship-chip-zip tear-dear-near-leer key-tea-pea-fee "
        "red-wed-led-said row-low-no-so-mow-bow boot-boat-bought-bout-bait-beat-bit-bet-bat-but pool-pull-pole-pal-pile"
    ),
}
_LIST: dict[str, tuple[str, ...]] = {
    key: tuple(words.split("|")) if "|" in words else tuple(w.replace("-", " ") for w in words.split())
    for key, words in _WORDS.items()
}

_TEMPLATES: tuple[str, ...] = (
    "{name} {verb} the {adj} {noun} {prep} the {noun}.",
    "{adv}, {name} {verb} {number} {adj} {noun}s {when}.",
    "Please {verb0} my {noun} {prep} the {adj} {noun}, {name}.",
    "Could you {verb0} the {noun} and the {noun} {when}?",
    "Why would {name} {verb0} a {noun} {prep} a {noun}?",
    "I am {adv} sure that the {noun} was {adj}, but the {noun} was not.",
    "What a {adj} {noun}! Where did you {verb0} it, {name}?",
    "My {noun} is {adv} {adj}; yours is {adj} and {adj}.",
    "{number} {noun}s, {number} {noun}s, and {number} more {prep} the {noun}.",
    "The {noun} from {place} {verb} a {noun}, and nobody moved.",
    "If we {verb0} the {noun} {when}, {name} may {verb0} the {noun}.",
    "Hmm, well, maybe the {adj} {noun} {prep} {place} is better.",
    "The words are {pair}.",
    "Say {pair}, then {pair}, and stop.",
    "We were {prep} the {noun} when the {adj} {noun} {verb} the {noun}.",
    "Both {name} and {name} {verb} the {noun} {when}.",
    "No, I mean the {adj} {noun}, not the {adj} {noun}!",
    "Flight {number} {number} to {place} leaves at {number} {number}.",
    "{name}, {name} and {name} live {prep} the {noun} in {place}.",
    "Everybody believes that a {noun} is more {adj} than a {noun}.",
    "Oh, thank you very much for the {adj} {noun}.",
    "They {verb} it, we {verb} it, you {verb} it, and {name} {verb} it.",
)
_TEST_TEMPLATES: tuple[str, ...] = (
    "Somebody {verb} my {adj} {noun} and put it {prep} the {noun}.",
    "Do you {adv} {verb0} a {noun} before you {verb0} a {noun}?",
    "This {noun} from {place} costs {number} pounds and {number} pence, {name}.",
    "When {name} came, the {adj} {noun} {prep} the {noun} had {verb} everything.",
    "Let us {verb0} the {noun}, {verb0} the {noun} and go home {when}.",
)

_OTHER: dict[str, str] = {
    "de": (
        "Papa Mama Apfel Brot Baum Bombe Umbau Dampf Kopf Pfeffer Pferd Lampe Klavier Sommer Hammer Himmel Kammer "
        "Nebel Gabel Bahnhof Vogel Wasser Buch Milch Kirche Kirsche Tisch Fisch Schule Stuhl Zeitung Zug Freude Leute "
        "Häuser Feuer Nacht Kuchen Ring Blume Birne Problem Computer Bruder Schwester Leben Abend müde böse schön "
        "über üben oben blau grün weiß schwarz jung Jahr Januar lieben schreiben bleiben kommen nehmen geben haben "
        "wollen warum wann Woche Wetter vielleicht viel voll Vater fünf zwölf elf neun sieben Möbel Pubertät Pumpe "
        "Wimper Album Atom Raum Traum Strumpf Sumpf empfehlen abbiegen aufpassen einpacken umarmen Baby Olympia"
    ),
    "es": (
        "papá mamá barco blanco pueblo problema bomba tiempo campo hombre hambre nombre sombra cambio también siempre "
        "comprar empezar romper cumplir ambos vamos vemos bebemos vivir venir volver vino vaca nube lobo cabo cubo "
        "playa perro pájaro puerta libro papel lápiz computadora teléfono fuego fuera familia café jefe gracias agua "
        "guante queso quince joven hijo gente gigante mujer noche leche chico mucho muchacho año niño mañana montaña "
        "llave calle lluvia yo ayer zapato cinco cielo feliz triste rojo carro tren trabajo bueno bien muy poco"
    ),
    "fr-fr": (
        "papa maman pomme pont pain bain bonne beau bleu blanc brun vin vent voix vert vivre famille femme fleur feu "
        "fromage pomme-de-terre poème problème chambre nombre timbre exemple temple simple peuple meuble table "
        "impossible bibliothèque baobab robe tube club jambe lampe soupe groupe coupe musique lumière maison matin "
        "jamais jour jouer jaune neige chat chien chaud acheter chercher soleil feuille fille oiseau eau oui nuit "
        "lune rue tu vous nous deux peu seul peur coeur fort porte grand enfant un cinq vingt quatre huit gâteau"
    ),
    "it": (
        "papà mamma bambino bimbo pomodoro pane ponte problema tempo campo gamba bomba cambio sempre semplice esempio "
        "comprare rompere vivere bere avere uovo uva vino vento volta favola fiume fuoco famiglia foglia figlia luglio "
        "bagno montagna lasagna pesce uscire scena scuola chiave chiesa cielo ciao cena giorno gioco oggi pioggia "
        "acqua quando questo zio zucchero pizza pazzo rosso guerra birra ombrello libro piazza abbiamo dobbiamo"
    ),
    "pt-br": (
        "papai mamãe bom bem também tempo campo bomba pombo problema homem nome fome filme livro palavra vovó vinho "
        "vaca novo nuvem fogo família café faca folha filho milho manhã amanhã banho pão mão não avião coração janela "
        "jogo gente hoje chuva chave peixe caixa rua carro porta amor água quatro quando cinco sempre comprar"
    ),
    "ru": (
        "папа мама баба бабушка пять книга дом рыба вода время имя мой моя память пальто поле поезд больница билет "
        "белый голубой большой любовь любимый фильм фабрика фамилия форма вилка вечер ветер волк вопрос в-этом живём "
        "жена шапка шуба школа щека чай час ночь дождь цирк яблоко яма юг юбка ёлка эхо музыка улица утро рука нога "
        "лампа лимон зима земля снег солнце хлеб хорошо спасибо пожалуйста привет апрель площадь проблема компьютер"
    ),
    "pl": (
        "mama tata pan pani pies papier piwo bardzo biały dobry chleb problem pomoc pamięć moment miasto może mleko "
        "woda wieś wiatr wilk kawa krowa film fabryka fotel rower samochód żaba szkoła szczęście cześć czas ciasto "
        "dziecko dzień dżem źle śnieg świat ręka ząb dąb głowa łódź ryba ulica okno jabłko książka komputer przepraszam"
    ),
    "nl": (
        "papa mama boom bloem brood boek boot pen papier paard problem plein probleem lamp stamp komen nemen leven "
        "geven vader vijf vis vrouw water weg wij wonen fiets fabriek koffie school schip schoon lucht licht goed "
        "groen huis muis uit deur neus vuur nu zon zee jaar morgen avond twaalf elf negen negentig mooi blij bijbel"
    ),
    "sv": (
        "pappa mamma bil båt blomma bröd bord bok problem äpple papper pojke pumpa lampa sommar himmel kommer namn "
        "vatten vinter vän vill varm fisk film fader fågel sju sjö skön kött tjugo hus mus ny sol måne barn flicka"
    ),
    "cmn": (
        "我们 爸爸 妈妈 明天 来吗 你好 朋友 不知道 什么 时候 可以 吃饭 北京 上海 今天 天气 很好 苹果 面包 牛奶 老师 "
        "电脑 手机 漂亮 便宜 帮忙 没有 问题 喜欢 音乐 电影 飞机 火车 地铁 别怕 慢慢 跑步 说话 中国 英国 妹妹 弟弟 "
        "女儿 儿子 水果 蔬菜 医生 医院 银行 名字 号码 报纸 普通 免费 皮肤 门票 米饭 白色 宝贝 八百 毛巾 面条 半夜 分别"
    ),
}
LANGUAGES: tuple[str, ...] = ("en-us", "en-gb-x-rp", *_OTHER)
"""As espeak-ng names them."""


def english(random: np.random.Generator, held_out: bool = False) -> str:
    """One sentence of a template. Test sentences have templates of their own."""
    templates: Sequence[str] = _TEST_TEMPLATES if held_out else _TEMPLATES
    template = templates[int(random.integers(len(templates)))]
    text = re.sub(r"\{(\w+)\}", lambda m: _pick(_LIST[m[1]], random), template)
    text = re.sub(r"\ba ([aeiou])", r"an \1", text)
    return text[0].upper() + text[1:]


def sentence(language: str, random: np.random.Generator, held_out: bool = False) -> str:
    """A sentence of one of LANGUAGES: of a template, of :mod:`avatar.models.visemes.texts`, or words in a row."""
    fixed = (TEST if held_out else TRAIN).get(language, ())
    if language.startswith("en"):
        return _pick(fixed, random) if fixed and random.random() < 0.15 else english(random, held_out)
    if fixed and random.random() < 0.25:
        return _pick(fixed, random)
    words = [w.replace("-", " ") for w in _OTHER[language].split()]
    chosen = [_pick(words, random) for _ in range(int(random.integers(4, 10)))]
    if random.random() < 0.4:
        chosen[int(random.integers(len(chosen) - 1))] += "，" if language == "cmn" else ","
    end = ("。", "？") if language == "cmn" else (".", "?", "!")
    return ("" if language == "cmn" else " ").join(chosen) + _pick(end, random)


def _pick(items: Sequence[str], random: np.random.Generator) -> str:
    return items[int(random.integers(len(items)))]
