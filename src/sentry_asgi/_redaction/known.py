"""The secrets of a request, found in the texts of an event and removed from them.

The rules:

- Of the forms that each can take (`secrets`), those are looked for of which the event shows something: most occur
  nowhere in it.
- Those of eight characters and more are found anywhere; shorter ones only where they stand alone. Where a text was cut
  (a chunk of a body, a text that ends in dots), the piece of a secret at its edge goes too.
- All texts are searched as one, for what a client sends a hundred of is looked for a hundred times, not in each text.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import uuid4

from .names import FILTERED
from .rules import Work
from .secrets import EDGE, Forms, Found, wide
from .texts import PLACES

_FEW: Final = 20  # secrets that are searched for one by one; anybody can send hundreds
_EDGED: Final = (
    24  # secrets of which pieces are looked for at the edges of texts: some of each source
)
_PER_TEXT: Final = (
    10  # edges of texts that are compared, for each place that may take a closer look
)
# What texts are joined by to be searched as one. No text holds it, for nobody knows it.
_BETWEEN: Final = f"\n{uuid4().hex}\n"
_ENCODED: Final = re.compile("%[0-9A-Fa-f]{2}")


class KnownSecrets:
    """Of the secrets of a request, those that an event shows."""

    def __init__(self, secrets: Found, everything: str) -> None:
        """Choose the forms that are looked for; `everything` is all texts and keys of the event."""
        self._anywhere: list[str] = []
        self._alone: list[str] = []
        self._starts: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        self._edges_left = Work(PLACES * _PER_TEXT)
        self._without: dict[str, str] = {}
        if secrets:
            self._choose(secrets.forms(), everything, many=len(secrets) > _FEW)
        self._whole = {*self._anywhere, *self._alone}
        self.sought = {*self._whole, *self._starts, *self._ends}
        """The texts, or pieces of them, that the event shows; empty if it shows none."""

    def _choose(self, forms: Forms, everything: str, *, many: bool) -> None:
        long = _shown(forms.long | wide(forms.plain, everything), everything, many=many)
        self._alone = [one for one in forms.short if one in everything]
        self._anywhere = sorted(long, key=len, reverse=True)
        edged = forms.edged
        # Pieces of them are few, once the whole ones are gone.
        for one in edged:
            if one in long:
                everything = everything.replace(one, FILTERED)
        for one in edged:
            if one[:EDGE] in everything:
                self._starts.setdefault(one[:EDGE], []).append(one)
            if one[-EDGE:] in everything:
                self._ends.setdefault(one[-EDGE:], []).append(one)

    def search(self, texts: list[str]) -> None:
        """Remember each of the texts without the secrets that it shows as a whole."""
        if texts and self._whole:
            cleaned = self._without_whole(_BETWEEN.join(texts)).split(_BETWEEN)
            self._without.update(zip(texts, cleaned, strict=True))

    def removed_from(self, text: str, *, chunk: bool) -> str:
        """A text without what it shows of the secrets. A chunk may begin and end within one."""
        if self._whole:
            known = self._without.get(text)
            text = self._without_whole(text) if known is None else known
        if (self._starts or self._ends) and (chunk or text.rstrip("'\"")[-3:] == "..."):
            text = self._without_edges(text, chunk=chunk)
        return text

    def _without_whole(self, text: str) -> str:
        for form in self._anywhere:
            if form in text:
                text = text.replace(form, FILTERED)
        for form in self._alone:
            text = _without_word(text, form)
        return text

    def _without_edges(self, text: str, *, chunk: bool) -> str:
        """A text without the pieces of secrets at its edges, where what it shows may have been cut."""
        if len(text) < EDGE:
            return text
        if not self._edges_left.spend(len(self._starts) + len(self._ends)):
            return FILTERED
        start, end = _inner(text)
        for piece, secrets in self._starts.items():
            at = text.rfind(piece, max(start, end - max(map(len, secrets))), end)
            if at >= 0 and any(one.startswith(text[at:end]) for one in secrets):
                text, end = f"{text[:at]}{FILTERED}{text[end:]}", at
        start, end = _inner(text)
        for piece, secrets in self._ends.items() if chunk else ():
            at = text.find(piece, start, start + max(map(len, secrets)))
            if at >= 0 and any(one.endswith(text[start : at + EDGE]) for one in secrets):
                text = f"{text[:start]}{FILTERED}{text[at + EDGE :]}"
        return text


def _shown(forms: set[str], text: str, *, many: bool) -> set[str]:
    """Those that occur in a text. Of many, most are told by the text's pieces to occur nowhere."""
    if many:
        # Of six characters from every third place: what has eight or more of the text's holds one of them.
        pieces = {text[at : at + EDGE] for at in range(0, len(text), 3)}
        forms = {
            one
            for one in forms
            if one[:EDGE] in pieces or one[1 : EDGE + 1] in pieces or one[2 : EDGE + 2] in pieces
        }
    return {one for one in forms if one in text}


def _without_word(text: str, word: str) -> str:
    """A text without a word, where no letter or digit stands beside it."""
    # No regular expression: the cache of those is the app's, and no place for secrets.
    pieces: list[str] = []
    kept = 0
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        before = text[at - 1 : at].isalnum() and not _ENCODED.match(text, max(0, at - 3), at)
        if not (before or text[end : end + 1].isalnum()):
            pieces += text[kept:at], FILTERED
            kept = end
        at = text.find(word, end)
    return "".join([*pieces, text[kept:]]) if pieces else text


def _inner(text: str) -> tuple[int, int]:
    """Where a text begins and ends within the quotes of a repr, and before the dots of a cut."""
    start, end = 0, len(text)
    if text.endswith("..."):
        end -= 3
    if text[:1] == "b" and text[1:2] in {"'", '"'}:
        start = 2
    elif text[:1] in {"'", '"'}:
        start = 1
    if end > start and text[end - 1] in {"'", '"'}:
        end -= 1
    return start, end
