"""Word problems and multiple-choice questions, made with numbers and small tables of facts."""

import random

from material import Point, Topic

NAMES = ("Mara", "Tobias", "Yuki", "Amina", "Pavel", "Lena", "Omar", "Ines", "Felix", "Noor", "Greta", "Hugo")
THINGS = ("pencils", "apples", "tickets", "stickers", "eggs", "candles", "postcards", "bricks", "buttons")
CONTEXT = ("Please show your work.", "A short explanation is enough.", "I have a test {tomorrow|on Friday}.")

CAPITALS = {
    "Norway": "Oslo", "Peru": "Lima", "Kenya": "Nairobi", "Portugal": "Lisbon", "Mongolia": "Ulaanbaatar",
    "Canada": "Ottawa", "Vietnam": "Hanoi", "Chile": "Santiago", "Morocco": "Rabat", "Austria": "Vienna",
    "Finland": "Helsinki", "Ecuador": "Quito", "Hungary": "Budapest", "Thailand": "Bangkok", "Ghana": "Accra",
}  # fmt: skip
SYMBOLS = {
    "iron": "Fe", "gold": "Au", "sodium": "Na", "tin": "Sn", "lead": "Pb", "silver": "Ag", "potassium": "K",
    "copper": "Cu", "mercury": "Hg", "helium": "He", "neon": "Ne", "calcium": "Ca", "zinc": "Zn",
}  # fmt: skip
ORGANS = {
    "pumps blood": "the heart", "filters blood into urine": "the kidneys", "takes up oxygen": "the lungs",
    "makes bile": "the liver", "makes insulin": "the pancreas", "keeps balance": "the inner ear",
    "stores urine": "the bladder", "grinds food first": "the teeth",
}  # fmt: skip
YOUNG = {
    "sheep": "lamb", "goose": "gosling", "horse": "foal", "goat": "kid", "swan": "cygnet", "deer": "fawn",
    "cow": "calf", "hare": "leveret", "eel": "elver", "kangaroo": "joey",
}  # fmt: skip
TABLES = (
    ("capital", "What is the capital of {key}?", CAPITALS, "Capitals are often not the largest city"),
    ("symbol", "Which is the chemical symbol of {key}?", SYMBOLS, "Many symbols come from Latin names"),
    ("organ", "Which part of the body {key}?", ORGANS, "Think of the way that food, air or blood takes"),
    ("young", "What is the young of a {key} called?", YOUNG, "Several of these words are old and rare"),
)


def _topic(family: str, key: str, ask: str, gist: str, points: list[Point], answer: str) -> Topic:
    return Topic(family, key, (ask,), gist, tuple(points), answer=answer)


def _packs(rng: random.Random) -> Topic:
    name, thing = rng.choice(NAMES), rng.choice(THINGS)
    boxes, each, gone = rng.randint(4, 19), rng.randint(6, 24), rng.randint(5, 20)
    total, left = boxes * each, boxes * each - gone
    ask = f"{name} buys {boxes} boxes of {each} {thing} and gives away {gone}. How many {thing} are left?"
    points = [
        Point(
            "Read it",
            f"We know {boxes} boxes, {each} {thing} in each, and {gone} given away",
            "The rest is story",
        ),
        Point("Multiply", f"{boxes} × {each} = {total} {thing}", "Multiplying counts every box once"),
        Point("Subtract", f"{total} - {gone} = {left}", "What is given away has to come off the total"),
        Point(
            "Check", f"Adding back, {left} + {gone} = {total}", "A check in the other direction finds slips"
        ),
    ]
    return _topic(
        "maths",
        "packs",
        ask,
        f"multiply, then subtract, and {left} remain.",
        points,
        f"The answer is {left}.",
    )


def _speed(rng: random.Random) -> Topic:
    speed, hours, pause = rng.randint(4, 24) * 5, rng.randint(2, 7), rng.randint(1, 3) * 10
    way = speed * hours
    ask = (
        f"A {rng.choice(('bus', 'boat', 'train', 'tram'))} moves at {speed} km per hour for {hours} hours "
        f"and then rests {pause} minutes. How far did it get?"
    )
    points = [
        Point(
            "What counts",
            f"Only the {hours} hours of moving count",
            f"The rest of {pause} minutes adds no distance",
        ),
        Point("Formula", "Distance is speed times time", "The units must fit, here hours and km per hour"),
        Point("Multiply", f"{speed} × {hours} = {way} km", "Hours cancel and kilometres remain"),
        Point(
            "Sense",
            f"In one hour it gets {speed} km, so {way} km is plausible",
            "A rough guess guards the point",
        ),
    ]
    return _topic(
        "maths", "speed", ask, f"speed times time gives {way} km.", points, f"The answer is {way} km."
    )


def _percent(rng: random.Random) -> Topic:
    price, off = rng.randint(3, 40) * 20, rng.choice((5, 10, 15, 20, 25, 30))
    saved = price * off // 100
    item = rng.choice(("coat", "bicycle", "sofa", "camera", "stove", "violin"))
    ask = f"A {item} costs {price} and is reduced by {off} percent. What is the new price?"
    points = [
        Point(
            "One percent",
            f"One percent of {price} is {price / 100:g}",
            "Dividing by a hundred moves the point",
        ),
        Point("The discount", f"{off} percent is {saved}", f"That is {off} times one percent"),
        Point("Subtract", f"{price} - {saved} = {price - saved}", "The discount comes off the old price"),
        Point(
            "Other way",
            f"{price} × {(100 - off) / 100:g} gives the same",
            "What is left is what you multiply by",
        ),
    ]
    gist = f"take {saved} off and pay {price - saved}."
    return _topic("maths", "percent", ask, gist, points, f"The answer is {price - saved}.")


def _mean(rng: random.Random) -> Topic:
    values = [rng.randint(2, 30) for _ in range(4)]
    values.append(5 * rng.randint(20, 30) - sum(values))
    total, text = sum(values), ", ".join(map(str, values))
    ask = f"{rng.choice(NAMES)} measured {text}. What is the {rng.choice(('mean', 'average'))}?"
    points = [
        Point("Count", "There are five numbers", "Forgetting one is the usual slip"),
        Point("Add", f"Together they are {total}", "Adding pairs that make tens is quickest"),
        Point("Divide", f"{total} / 5 = {total // 5}", "Sharing equally is what a mean does"),
        Point(
            "Sense", f"It lies between {min(values)} and {max(values)}", "A mean outside of the data is wrong"
        ),
    ]
    return _topic(
        "maths",
        "mean",
        ask,
        f"add, divide by five, get {total // 5}.",
        points,
        f"The answer is {total // 5}.",
    )


def maths(rng: random.Random) -> Topic:
    """A word problem with its solution."""
    return rng.choice((_packs, _speed, _percent, _mean))(rng)


def benchmark(rng: random.Random) -> Topic:
    """A multiple-choice question with four options and the reasoning to the right one."""
    kind, question, table, hint = rng.choice(TABLES)
    key = rng.choice(list(table))
    others = rng.sample([value for name, value in table.items() if name != key], 3)
    options = [*others, table[key]]
    rng.shuffle(options)
    letters = "ABCD"
    right = letters[options.index(table[key])]
    wrong = next(i for i, option in enumerate(options) if option != table[key])
    listed = " ".join(f"({letter}) {option}" for letter, option in zip(letters, options, strict=True))
    shown = question.replace("{key}", key)
    points = [
        Point("The question", f"We are asked about {key}", "Only one of the four options can be right"),
        Point(
            "Rule out",
            f"Option ({letters[wrong]}), {options[wrong]}, belongs to something else",
            "It is a common trap",
        ),
        Point("Recall", f"For {key} the right entry is {table[key]}", hint),
        Point("Pick", f"That is option ({right})", "The other options do not fit"),
    ]
    ask = f"{shown} {listed}"
    return _topic("benchmark", kind, ask, f"it is {table[key]}.", points, f"The answer is ({right}).")
