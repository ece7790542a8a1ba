"""What is secret in a text by itself: a value beside the name of a secret, or the looks of a credential.

The rules:

- A name is one that `rules` calls secret for variables; where its value stands is for `values` to say. The text of an
  element (`<password>x</password>`) goes, and a value that stands before its name.
- So do secret parameters of queries and what has a shape of its own (`shapes`).
- Most texts hold none of it: `hints` are looked for first. The patterns are matched against the text in small letters.
- Matching is linear in the text's length: nothing is searched for twice from the same place. Each place that takes a
  closer look is counted (`Work`); after so many, the rest of the text is taken for secret, unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from .hints import ALL_HINTS, found_hints
from .names import FILTERED, NOTHING, anything, clean_query
from .rules import COMPANY, IN_COMPANY, IN_TEXTS, RULES, SHORT, Rules, Work
from .shapes import TOKENS, runs
from .values import BEFORE_VALUE, PAIR_LENGTH, SETTING, option, value_after

_REST_OF_NAME: Final = re.compile(r"[\w%-]{1,40}\Z")
_VALUE_FIRST: Final = re.compile(
    r"['\"](?:value|val|content)\\{0,20}['\"]\s{0,3}:\s{0,3}(\\{0,20})(['\"])([^'\"\\]{1,500})\1\2\s{0,3},\s{0,3}"
    rf"\\{{0,20}}['\"](?:name|key|field|label|param)\\{{0,20}}['\"]\s{{0,3}}:\s{{0,3}}\\{{0,20}}['\"][\w-]{{0,40}}(?:{IN_TEXTS})"
)
_ELEMENT: Final = re.compile(r"<([\w:.-]{1,64})(?:\s[^<>]{0,300})?>\s{0,20}(<!\[cdata\[)?")
_PARAMETER: Final = r"[\w.%\[\]-]{1,100}+=[^\s&'\"<>#]*+"
_QUERY: Final = re.compile(
    rf"(?<=[?#;])({_PARAMETER}(?:&{_PARAMETER})*+)|(?<![^\s&'\"<>#])({_PARAMETER}(?:&{_PARAMETER})++)"
)
# What is to go of a text: from where to where, what stands there instead, and by which rule.
Cut: TypeAlias = tuple[int, int, str, str]


class Looked(NamedTuple):
    """A text that is looked through: as it is, in small letters, and how much of it may still be."""

    text: str
    small: str
    work: Work


PLACES: Final = 1_000
"""Places of one event, or of what one client sends, that take a closer look."""


def clean_text(text: str, work: Work | None = None) -> str:
    """A text without what is secret in it by a name or by its looks; the very same one if there is nothing."""
    return clean_and_tell(text, work or Work(PLACES))[0]


def clean_and_tell(text: str, work: Work) -> tuple[str, list[str]]:
    """The same, and by which rules."""
    small = _small(text)
    why: list[str] = []
    if not (found_hints(small, ALL_HINTS) or work.rules.own):
        return text, why
    for find in _FINDERS:
        cuts = list(_counted(find(Looked(text, small, work)), text, work))
        if cuts:
            text, small = _without(text, cuts), _without(small, cuts)
            why += dict.fromkeys(cut[3] for cut in cuts)
    return text, why


def _counted(cuts: Iterator[Cut], text: str, work: Work) -> Iterator[Cut]:
    """As many cuts as there are places left; then the rest of the text as one."""
    for cut in cuts:
        if work.spend():
            yield cut
            continue
        yield cut[0], len(text), FILTERED, "unseen"
        return


def clean_texts(texts: dict[str, str], rules: Rules = RULES) -> dict[str, str]:
    """Texts under their names, each as `clean_text` leaves it; looked at as one, for most hold nothing."""
    if not rules.own and not found_hints("\n".join(texts.values()).lower()):
        return texts
    return {name: clean_text(text, Work(PLACES, rules)) for name, text in texts.items()}


def clean_lines(text: str, rules: Rules = RULES) -> str:
    """A whole text that somebody sent, the lines of which may each be a name and a value. For `clean_text` to go on."""
    work = Work(PLACES, rules)
    cuts = list(_counted(_lines(text, work), text, work))
    return _without(text, cuts) if cuts else text


def secret_values(text: str, work: Work | None = None) -> Iterator[str]:
    """What a text, such as a request's body, holds of all that is removed here, but for parameters of URLs."""
    small = _small(text)
    work = work or Work(PLACES)
    if not (found_hints(small, ALL_HINTS) or work.rules.own):
        return
    for find in _FINDERS:
        if find is _queries:
            continue
        for start, end, _, why in _counted(find(Looked(text, small, work)), text, work):
            if work.left < 0:
                return  # all that is left, unseen: no value of anything
            yield text[start:end]
            if why.startswith("shape:url"):
                yield text[start:end].partition(":")[2]
    yield from (text[start:end] for start, end, _, _ in _lines(text, work) if work.spend())


def _lines(text: str, work: Work) -> Iterator[Cut]:
    for match in _LINE.finditer(text):
        kind = work.hides(match[1], variable=True)
        if kind:
            yield match.start(2), match.start(2) + len(match[2].rstrip()), FILTERED, f"name:{kind}"


_LINE: Final = re.compile(
    rf"^[ \t]{{0,20}}([\w-]{{0,20}}(?:{IN_TEXTS}|{SHORT})[\w-]{{0,20}})[ \t]{{0,3}}(?::|=(?!&))"
    rf"[ \t]{{0,3}}([^\s\"'{{\[][^\r\n]{{0,300}})",
    re.IGNORECASE | re.MULTILINE,
)


def _small(text: str) -> str:
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(one.lower() if one.isascii() else one for one in text)  # "İ" would become two


def _without(text: str, cuts: list[Cut]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end, instead, _ in cuts:
        if start >= at:
            pieces += text[at:start], instead
            at = end
    return "".join([*pieces, text[at:]])


def _named(looked: Looked) -> Iterator[Cut]:
    """The values that stand beside names."""
    text, small, work = looked
    at = 0
    in_company = any(one in small for one in COMPANY)
    for match in work.rules.in_texts.finditer(small):
        if match.start() < at or small[match.end() : match.end() + 1] not in BEFORE_VALUE:
            continue  # within a value, or followed by none
        whole = f"{_before(text, match.start())}{text[match.start() : match.end()]}"
        kind = work.hides(whole.strip("% "), variable=True)
        if not kind and in_company and whole in IN_COMPANY:
            kind = "code"
        if not kind:
            continue
        begun = match.end() - len(whole)
        if whole.startswith("--") or SETTING.search(small, max(0, begun - 100), begun):
            found = option(small, match.end(), match.start(), as_option=whole.startswith("--"))
        else:
            found = value_after(small, match.end(), match.start())
        if found is not None:
            start, at = found
            if small[start:at].rstrip(".") not in _SAID_TO_BE_NOTHING:
                yield start, at, FILTERED, f"name:{kind}"
        elif not work.spend():  # it was looked for; who counts the cuts asks for no more
            yield match.start(), len(text), FILTERED, "unseen"


_SAID_TO_BE_NOTHING: Final = frozenset(map(str.lower, NOTHING))


def _before(text: str, at: int) -> str:
    """What of a name stands before `at`."""
    last = text[at - 1 : at]
    if not (last.isalnum() or last in {"_", "-", "%"}):
        return ""
    found = _REST_OF_NAME.search(text[max(0, at - 40) : at])
    return found[0] if found else ""


def _value_first(looked: Looked) -> Iterator[Cut]:
    for match in _VALUE_FIRST.finditer(looked.small):
        yield match.start(3), match.end(3), FILTERED, "name"


def _elements(looked: Looked) -> Iterator[Cut]:
    """The text of XML elements whose name is secret."""
    text, small, work = looked
    if "</" not in small:
        return
    at = 0
    for match in _ELEMENT.finditer(small):
        name, start = match[1], match.end()
        if start < at or match[0].rstrip().endswith("/>"):
            continue
        name_at_end = text[match.start(1) : match.end(1)].rpartition(":")[2]
        kind = work.hides(name_at_end, variable=True)
        if not kind:
            continue
        at = small.find("]]>" if match[2] else f"</{name}", start, start + PAIR_LENGTH)
        if at < 0:
            at = small.find("<", start)
        at = len(small) if at < 0 else at
        as_one = match[2] or "<![cdata[" in small[start:at]
        inner = [(start, at)] if as_one else _texts_in(small, start, at)
        for begun, ended in inner:
            if small[begun:ended].strip() not in {"", FILTERED.lower()}:
                yield begun, ended, FILTERED, f"name:{kind}"


def _texts_in(small: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the texts stand between the tags that an element holds."""
    while start < end:
        tag = small.find("<", start, end)
        yield start, end if tag < 0 else tag
        start = small.find(">", tag, end) + 1 if tag >= 0 else 0
        if not start:
            return


def _queries(looked: Looked) -> Iterator[Cut]:
    if "=" not in looked.small:
        return
    for match in _QUERY.finditer(looked.text):
        query = match[0]
        cleaned = clean_query(query, anything, looked.work)
        if cleaned != query:
            yield *match.span(), cleaned, "name"


def _shapes(looked: Looked) -> Iterator[Cut]:
    text, small, work = looked
    long = runs(small)
    found = [
        (*match.span(match.lastindex or 0), FILTERED, shape.rule)
        for at, shape in enumerate(work.rules.shapes)
        if not shape.hints
        or any(map((long if at < len(TOKENS) else small).__contains__, shape.hints))
        for match in shape.pattern.finditer(text)
    ]
    yield from sorted(found)


_FINDERS: Final[tuple[Callable[[Looked], Iterator[Cut]], ...]] = (
    _shapes,
    _queries,
    _named,
    _value_first,
    _elements,
)
