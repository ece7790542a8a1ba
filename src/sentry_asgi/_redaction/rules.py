"""Which names are those of secrets: a table, and what is made of it.

The rules:

- A name is compared in small letters, after `-`, `.`, `:`, brackets and spaces have become `_`; `sshKey` is also looked
  at as `ssh_key`. The parts of a row match anywhere in a name, the words as whole words of it.
- The last column counts for headers, cookies, parameters and keys alone: many a variable is called `key` or `sid` that
  holds nothing secret. A name in capitals or with a hyphen is no variable's, and takes this column, too.
- What only measures, describes or makes a secret is none: `max_tokens`, `session_length`, `token_type`, `csrf_exempt`.
- Some names are those of secrets in company only: `code` beside `state` or `grant_type`, as OAuth has it.
- The kind of a row is what Sentry shows as the reason for a value that was replaced: `name:password`.
- `Rules` are these tables with what a user has added to them; who looks for secrets is given `Work`, which knows them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from .shapes import SHAPES, Shape


class Name(NamedTuple):
    """A kind of secret, by what it is called. Each column holds regular expressions, with spaces between."""

    kind: str
    parts: str
    words: str = ""
    words_of_keys: str = ""


NAMES: Final[tuple[Name, ...]] = (
    Name(
        "password",
        "passw passphrase passcode passkey pwd",
        "pw psk requirepass [a-z]{1,40}_pass auth_user_pass",
        "pass",
    ),
    Name(
        "token",
        "token(?!i[sz]) jwt bearer saml",
        "^tok$ dpop client_assertion",
        "assertion oauth_verifier oidc_data",
    ),
    Name(
        "key",
        "api_?key access_?key private_?key shared_?key account_?key encryption_?key signing_?key master_?key"
        " stripe_?key license_?key service_?key role_?key storage_?key ssh_?key deploy_?key hmac_?key"
        " subscription_?key fernet_?key",
        "kek",
        "key app_?key honeycomb_team",
    ),
    Name(
        "secret",
        "secret(?!ar) credential connection_?string seed_?phrase recovery_?code backup_?code",
        "creds mnemonic conn_?str code_verifier device_?code security_answer",
    ),
    Name(
        "session",
        "session csrf xsrf cookie sessid sess_id",
        "",
        "sid sess sso ssid oauth2_proxy [1-9]?psid s?apisid sess[0-9a-f]{32} remember_?me cf_clearance"
        " keycloak_identity aspnetcore_[a-z_]{1,40} wordpress_logged_in_[a-z0-9]{1,64}",
    ),
    Name(
        "auth",
        "authori[sz]ation authentication",
        "auth",
        "[a-z]{0,40}auth(?!or|ent)[a-z]{0,40}",
    ),
    Name("signature", "signature", "", "sig hmac"),
    Name(
        "code",
        "card_?number",
        "t?otp pin$ otp_?code pin_?code cvv cvc ssn social_security_number"
        " (?:one_time|mfa|sms|unlock|verification)_?code",
    ),
)

# What is said of a secret, or makes or names one, in the order of: its measure, its kind, its life, its code.
_OF_ONE: Final = (
    "count length len size limit ttl age duration lifetime timeout expiry expires expires_at expires_in expired"
    " expiration total budget strength required enabled max_age usage used details reset_timeout reset_tokens"
    " types? policy consent exempt methods? schemes? status class classes models? format version algorithm type_hint"
    " issuer audience supported fields? names? label placeholder help_text prefix func error through"
    " created_at updated_at rotated_at changed_at start started_at"
    " backends? engine factory maker provider manager handler serializer middleware validators? hashers failure_view"
    " samesite httponly"
)
_MEASURED: Final = "max min num total prompt completion input output cached reasoning audio thinking prediction limit"
_COUNTED: Final = "n billed sampled generated reserved remaining consumed special stop"
_OF_KEYS: Final = (
    "public primary foreign sort cache partition routing idempotency translation group object row dict map lookup"
    " index unique composite natural shard i18n websocket metadata meta scope context stats field config"
)


def _any(words: str) -> str:
    return "|".join(words.split())


DESCRIBED: Final = re.compile(
    rf"_(?:{_any(_OF_ONE)})$"
    rf"|(?:^|_)(?:{_any(_OF_KEYS)})_key(?:_pem)?$"
    r"|(?:^|_)(?:has|is|needs|requires)_(?:\w{1,30}_)?(?:password|token|secret|session|cookie|key|auth|credentials?)s?$"
    r"|^(?:oauth2?_|oidc_)?(?:auth|token|authori[sz]ation)_(?:url|uri|endpoint)$|^session_state$|^www_authenticate$"
    # Of texts that are cut into tokens, and of pages. A token that resets or is new is one.
    rf"|(?:^|_)(?:{_any(_MEASURED)})(?:_[a-z]{{1,20}})?_tokens$"
    rf"|(?:^|_)(?:{_any(_COUNTED)})_tokens$|(?:^|_)tokens_(?:remaining|left|per_\w{{1,20}}|in|out|seen|generated)$"
    r"|(?:^|_)(?:eos|bos|pad|unk|sep|cls|mask|first)_tokens?(?:_time)?$|^(?:next_|prev_|previous_)?page_token$"
    r"|(?:^|_)token_(?:ids|logprobs|price|cost)$"
    # The name of a key, but for AWS's, which is half a credential; and what talks to a database or a service.
    r"|^(?!.*access_?key).*(?:^|_)key_id$|(?:^|_)(?:db|database|sql|orm|aiohttp|requests|boto3?)_session$"
    r"|^active_sessions$|^sessionmaker$|^cookie_(?:secure|domain|path)$"
)

COMPANY: Final = frozenset({"state", "grant_type", "redirect_uri", "session_state"})
"""What stands beside the secrets of a login."""

IN_COMPANY: Final = frozenset({"code", "ticket"})
"""What is secret beside these."""


def _pattern(*, keys: bool) -> re.Pattern[str]:
    rows: list[str] = []
    for name in NAMES:
        words = _any(f"{name.words} {name.words_of_keys if keys else ''}")
        whole = rf"|(?<![^\W_])(?:{words})(?![^\W_])" if words else ""
        rows.append(f"(?P<{name.kind}>{_any(name.parts)}{whole})")
    return re.compile("|".join(rows))


OF_KEYS: Final = _pattern(keys=True)
OF_VARIABLES: Final = _pattern(keys=False)

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_LONGEST_NAME: Final = 256


class Remembered(dict[Any, str]):
    """What was found out about texts that clients send, for two generations of so many of a bounded length.

    When as many have come as are remembered, all become the older generation, and the one before is forgotten; what is
    asked for meanwhile becomes new again. So no client makes it grow, or makes it forget what comes all the time.
    """

    longest = 64
    most = 2048

    def __init__(self) -> None:
        super().__init__()
        self.older: dict[Any, str] = {}

    def keep(self, text: str, found: str) -> None:
        """Remember what was found out about a text, unless it is too long."""
        if len(text) <= self.longest:
            if len(self) >= self.most:
                self.older = self.copy()
                self.clear()
            self[text] = found


class HarmlessValues(Remembered):
    """Values of headers that may be sent and hold nothing to remove: user agents, languages, what is accepted.

    No secret is among them. Browsers send the same ones with each request, and to look through them is most of what a
    request without secrets costs.
    """

    longest = 256
    most = 512


class Names(Remembered):
    """The kind of secret that things of a name are, or "": a look-up, for it is asked of each key of each event."""

    def __init__(
        self, *, keys: bool, more: frozenset[str] = frozenset(), fewer: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self._keys, self._more, self._fewer = keys, more, fewer

    def __missing__(self, name: Any) -> str:
        kind = self.older.get(name)
        if kind is None:
            kind = self._judge(str(name))
        if name.__class__ is str:
            self.keep(name, kind)
        return kind

    def _judge(self, text: str) -> str:
        text = _folded(text)
        forms = [_compared(text)]
        if not text.islower():
            forms.append(_compared(_HUMP.sub("_", text)))
        if not self._fewer.isdisjoint(forms):
            return ""
        if any(f"_{one}_" in f"_{form}_" for one in self._more for form in forms):
            return "own"
        pattern = OF_KEYS if self._keys or text.isupper() or "-" in text[1:] else OF_VARIABLES
        found = next(filter(None, map(pattern.search, forms)), None)
        if found is None or any(map(DESCRIBED.search, forms)):
            return ""
        return found.lastgroup or ""


def canonical(name: str) -> str:
    """A name as it is compared with others."""
    return _compared(_folded(name))


def _compared(name: str) -> str:
    return re.sub(r"[-. :\[\]]", "_", name.lower())


# One of these becomes up to eighteen letters, none of which is of any name here.
_LIGATURES: Final = re.compile("[\u3300-\u3370\ufb50-\ufdff]+")


def _folded(name: str) -> str:
    """A name of bounded length, without wide letters and invisible ones."""
    name = _ends(name, _LONGEST_NAME)
    if name.isascii():
        return name
    # To normalise marks that combine takes time that grows as a square.
    known = unicodedata.normalize("NFKC", _ends(_LIGATURES.sub("_", name), _LONGEST_NAME // 2))
    return _ends("".join(one for one in known if unicodedata.category(one) != "Cf"), _LONGEST_NAME)


def _ends(text: str, length: int) -> str:
    """A text without its middle, if it is longer than that."""
    return text if len(text) <= length else text[: length // 2] + text[-length // 2 :]


# As they stand in texts, in small letters: those that are looked for by themselves, and those too short for it.
IN_TEXTS: Final = (
    "passw|passphrase|passcode|passkey|pwd|secret|token|jwt|bearer|credential|session|csrf|xsrf|cookie|authori[sz]ation"
    "|authentication|assertion|saml_?re|signature|mnemonic|one[ _-]?time[ _-]code|verification[ _-]code|sessid"
    "|api[ _-]?key|private[ _-]?key|access[ _-]?key|connection_?string|seed_?phrase|requirepass|auth-user-pass"
)
SHORT: Final = (
    "auth|key|pass|otp|pin|pw|psk|sig|cvv|cvc|ssn|creds|conn_?str|tok|kek|hmac|dpop|ticket|answer|number|honeycomb[_-]?team"
    "|oidc[_-]?data|codes?"
)
SIGN: Final = (
    r"[\w.\[\]-]{0,40}+(?:\\{0,20}['\"\])]|&(?:quot|#x27|#39|#34);|[ \t]{0,20}[:=]|%(?:25)?3d)"
)


def _name_in_texts(more: Iterable[str] = ()) -> re.Pattern[str]:
    short = "|".join([SHORT, *(re.escape(one).replace("_", "[_ .-]?") for one in more)])
    return re.compile(
        rf"(?:(?:{IN_TEXTS})|(?:{short})(?={SIGN}))(?:[\w.\[\]-]|%(?!(?:25)?3d)){{0,40}}"
    )


_NAME_IN_TEXTS: Final = _name_in_texts()


class Rules:
    """What is secret: the tables, with what a user has added."""

    __slots__ = ("harmless", "in_texts", "keys", "own", "shapes", "variables")

    def __init__(
        self,
        names: Iterable[str] = (),
        unless: Iterable[str] = (),
        shapes: Iterable[re.Pattern[str]] = (),
    ) -> None:
        more, fewer = frozenset(map(canonical, names)), frozenset(map(canonical, unless))
        self.keys = Names(keys=True, more=more, fewer=fewer)
        self.variables = Names(keys=False, more=more, fewer=fewer)
        shapes_of_own = [Shape("own", (), pattern, "") for pattern in shapes]
        self.shapes = (*SHAPES, *shapes_of_own)
        self.in_texts = _name_in_texts(more) if more else _NAME_IN_TEXTS
        self.own = bool(more or shapes_of_own)
        self.harmless = HarmlessValues()


RULES: Final = Rules()


class Work:
    """What may still be looked at, of what one client sends or one event holds, and by which rules."""

    __slots__ = ("left", "rules")

    def __init__(self, left: int, rules: Rules = RULES) -> None:
        self.left = left
        self.rules = rules

    def spend(self, amount: int = 1) -> bool:
        """Take a part of it; whether there was any left."""
        self.left -= amount
        return self.left >= 0

    def hides(self, name: Any, *, variable: bool = False) -> str:
        """Why what has this name is to be replaced: it is secret, or there is no time left to tell; "" if it is not."""
        names = self.rules.variables if variable else self.rules.keys
        kind = names.get(name)  # most often
        return self._judged(names, name, "unseen") if kind is None else kind

    def tells(self, name: Any) -> str:
        """Why what has this name is known to be secret; "" if it is not."""
        kind = self.rules.keys.get(name)
        return self._judged(self.rules.keys, name, "") if kind is None else kind

    def _judged(self, names: Names, name: Any, unseen: str) -> str:
        kind = names.older.get(name)
        if kind is None:
            kind = names[name] if self.spend() else unseen
        return kind


MOST: Final = 500
"""New names that are judged of one source: a query, a header of cookies, a body, all headers."""
