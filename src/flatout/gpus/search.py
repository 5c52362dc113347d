"""Finding a card by the name that a driver, a shop or a person gives it.

A name becomes a set of words: "NVIDIA A100-SXM4-80GB" is {a100, sxm, 80gb}. A card is meant when every word
is one of its own, and every word that makes it another card (4070 *Laptop*, 3070 *Ti*) is there. Words that
only tell its versions apart (its memory, SXM or PCIe) may be missing; then there may be several.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache

from flatout.errors import AmbiguousCardError, CardError, CardNotFoundError
from flatout.gpus.card import Card
from flatout.gpus.catalogue import cards

_NOISE = frozenset(
    (
        *("nvidia", "amd", "intel", "apple", "corporation", "inc", "gpu", "graphics", "generation", "design"),
        *("with", "edition", "series", "card", "desktop"),
    )
)
_BRANDS = ("geforce", "radeon", "quadro", "tesla", "instinct", "titan", "arc", "rtx", "gtx", "rx")
# Words of a name that may be left out.
_SPARE = frozenset((*(b for b in _BRANDS if b != "titan"), "ada", "blackwell", "pascal"))
_SUFFIXES = r"ti|super|xtx|xt|gre|d|m|laptop"
_SAME = {
    "m": "laptop",
    "mobile": "laptop",
    "notebook": "laptop",
    "sxm2": "sxm",
    "sxm3": "sxm",
    "sxm4": "sxm",
    "sxm5": "sxm",
}
# Where a driver's name says less than which card it is.
_DRIVER_NAMES = {"nvidia h200": "H200 SXM", "nvidia gh200 480gb": "GH200 96GB"}
_VERSIONS = re.compile(r"\d+gb|\d+core|sxm|pcie|nvl|workstation|server")


def find(name: str, *, memory_gb: float | None = None) -> Card:
    """The card of this name.

    Args:
        name: as a driver or a person writes it: "NVIDIA GeForce RTX 3070 Ti", "3070ti".
        memory_gb: its memory in GB, where the name alone stands for cards with different memories; a driver
            shows a little less than the maker says, and that is allowed for.

    Raises:
        CardNotFoundError: there is no such card; the message has the nearest names.
        AmbiguousCardError: there are several; the message and `choices` have them.

    >>> find("3070ti").name, find("NVIDIA GeForce RTX 3080", memory_gb=9.8).name
    ('GeForce RTX 3070 Ti', 'GeForce RTX 3080 10GB')
    >>> find("A100")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    flatout.errors.AmbiguousCardError: 'A100' is the name of 4 cards; say which one: A100 PCIe 40GB, ...
    """
    found = find_all(name)
    if memory_gb is not None and len(found) > 1:
        near = [card for card in found if card.memory_gb and abs(memory_gb / card.memory_gb - 1) < 0.1]
        found = near or found
    if len(found) > 1:
        choices = tuple(card.name for card in found)
        raise AmbiguousCardError(
            f"{name!r} is the name of {len(found)} cards; say which one: {', '.join(choices)}",
            choices=choices,
        )
    return found[0]


def find_all(name: str) -> list[Card]:
    """Every card that may be meant by this name.

    Raises:
        CardNotFoundError: there is none.

    >>> [card.name for card in find_all("3080")]
    ['GeForce RTX 3080 10GB', 'GeForce RTX 3080 12GB']
    """
    wanted = _words(_DRIVER_NAMES.get(name.strip().lower(), name))
    if not wanted:
        raise CardError(f"the name of a card must hold a letter or a digit, got {name!r}; such as 'RTX 4090'")
    found = [entry.card for entry in _entries() if entry.needed <= wanted <= entry.known]
    if not found:
        raise CardNotFoundError(
            f"there is no card {name!r} in the catalogue; the nearest names: {', '.join(_nearest(name))}"
        )
    exact = [card for card in found if _words(card.name) == wanted]
    return exact if len(exact) == 1 else found


@dataclass(frozen=True)
class _Entry:
    card: Card
    needed: frozenset[str]
    known: frozenset[str]


@cache
def _entries() -> tuple[_Entry, ...]:
    return tuple(_entry(card) for card in cards())


def _entry(card: Card) -> _Entry:
    words = _words(card.name)
    spare = {word for word in words if word in _SPARE or _VERSIONS.fullmatch(word)}
    if card.family == "RTX PRO Blackwell":
        spare.add("maxq")
    if words == {"titan", "rtx"}:
        spare.discard("rtx")
    about = _words(f"{card.family} {card.architecture} {card.memory_type}")
    about = {
        word
        for word in about
        if not any(letter.isdigit() for letter in word) or word == card.memory_type.lower()
    }
    size = {f"{card.memory_gb:g}gb"} if card.memory_gb and not card.unified else set()
    if card.vendor == "Apple":
        about, size = set(), set()
    form = {"sxm", "pcie", "nvl"} & words
    generic = {"pcie"} if not form and card.segment == "data-centre" and card.vendor == "NVIDIA" else set()
    return _Entry(card, frozenset(words - spare), frozenset(words | about | size | generic))


def _words(name: str) -> set[str]:
    """The words of a name that tell cards apart.

    >>> sorted(_words("NVIDIA GeForce RTX 2080 with Max-Q Design")), sorted(_words("rtx3070ti"))
    (['2080', 'geforce', 'maxq', 'rtx'], ['3070', 'rtx', 'ti'])
    """
    text = re.sub(r"\((?:r|tm)\)|[®™]", " ", name.lower())
    text = re.sub(r"max[- ]?q\b", "maxq", text)
    text = re.sub(r"\b(\d+)[- ]core gpu\b|\b(\d+)[- ]core\b", lambda m: f"{m[1] or m[2]}core", text)
    text = re.sub(r"\b(\d+) ?g(?:i?b)?\b", r"\1gb", text)
    text = re.sub(r"\bmi (\d)", r"mi\1", text)
    words: set[str] = set()
    for word in re.findall(r"[a-z0-9]+", text):
        words |= {_SAME.get(part, part) for part in _parts(word)}
    return words - _NOISE


def _parts(word: str) -> list[str]:
    """Words that are written together: rtx3070ti, m3max, 4090d."""
    for brand in _BRANDS:
        if word.startswith(brand) and any(letter.isdigit() for letter in word):
            return [brand, *_parts(word.removeprefix(brand))]
    if match := re.fullmatch(rf"(\d{{4}})((?:{_SUFFIXES})+)", word):
        return [match[1], *re.findall(_SUFFIXES, match[2])]
    if match := re.fullmatch(r"(m\d)(pro|max|ultra)", word):
        return [match[1], match[2]]
    return [word]


def _nearest(name: str) -> list[str]:
    """The names most like this one; a number like one of its own counts most."""
    wanted = _words(name)

    def likeness(card: Card) -> float:
        words = _words(card.name)
        whole = _ratio(" ".join(sorted(wanted)), " ".join(sorted(words)))
        return whole + 2 * max((_ratio(a, b) for a in _numbers(wanted) for b in _numbers(words)), default=0.0)

    return [card.name for card in sorted(cards(), key=likeness, reverse=True)[:4]]


def _numbers(words: set[str]) -> list[str]:
    return [w for w in words if any(letter.isdigit() for letter in w) and not _VERSIONS.fullmatch(w)]


def _ratio(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()
