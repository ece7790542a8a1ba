"""Credentials that are known by their own shape or by what stands around them, whatever they are called: a table.

Each row has what stands in every such text, in small letters (`hints`: most texts hold none, and to look for them is
cheap), the pattern, and an example that is made up; the tests are made of the examples. The formats are those that
vendors document, or that gitleaks' rules (https://github.com/gitleaks/gitleaks) and GitHub's secret scanning list.

A pattern begins with its fixed prefix and is bounded, so that matching is linear. If it has a group, the group is the
secret, and the rest may stay.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Shape(NamedTuple):
    """A kind of credential."""

    kind: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    example: str

    @property
    def rule(self) -> str:
        """What Sentry shows as the reason."""
        return f"shape:{self.kind.lower().replace(' ', '-')}"


def _shape(kind: str, hints: str, pattern: str, example: str) -> Shape:
    return Shape(kind, tuple(hints.split()), re.compile(pattern), example)


_A: Final = (
    "abcdefghijABCDEFGHIJ0123456789abcdefghijABCDEFGHIJ0123456789abcdefghijABCDEFGHIJ0123456789"
)
_H: Final = "0123456789abcdef" * 5

TOKENS: Final[tuple[Shape, ...]] = (
    # Code and packages.
    _shape(
        "GitHub token",
        "ghp_ gho_ ghu_ ghs_ ghr_",
        r"\bgh[pousr]_[A-Za-z0-9]{36,255}",
        f"ghp_{_A[:36]}",
    ),
    _shape(
        "GitHub fine-grained token",
        "github_pat_",
        r"github_pat_\w{60,100}",
        f"github_pat_{_A[:22]}_{_A[:59]}",
    ),
    _shape(
        "GitLab token",
        "glpat- gldt- glrt- glptt- glcbt-",
        r"\bgl(?:pat|dt|rt|ptt|cbt)-[\w-]{20,100}",
        f"glpat-{_A[:20]}",
    ),
    _shape("npm token", "npm_", r"\bnpm_[A-Za-z0-9]{36}", f"npm_{_A[:36]}"),
    _shape("PyPI token", "pypi-", r"\bpypi-[\w-]{50,1000}", f"pypi-AgEIcHlwaS5vcmc{_A[:60]}"),
    _shape("RubyGems key", "rubygems_", r"\brubygems_[0-9a-f]{48}", f"rubygems_{_H[:48]}"),
    _shape(
        "Docker token",
        "dckr_pat_ dckr_oat_",
        r"\bdckr_(?:pat|oat)_[\w-]{20,40}",
        f"dckr_pat_{_A[:27]}",
    ),
    # Clouds.
    _shape("AWS access key", "akia asia", r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b", "AKIAABCDEFGHIJKLMNOP"),
    _shape("Google API key", "aiza", r"\bAIza[\w-]{35}", f"AIza{_A[:35]}"),
    _shape("Google OAuth token", "ya29.", r"\bya29\.[\w-]{20,2000}", f"ya29.{_A[:60]}"),
    _shape("Google OAuth secret", "gocspx-", r"\bGOCSPX-[\w-]{28}", f"GOCSPX-{_A[:28]}"),
    _shape(
        "DigitalOcean token",
        "dop_v1_ doo_v1_ dor_v1_",
        r"\bdo[opr]_v1_[0-9a-f]{64}",
        f"dop_v1_{_H[:64]}",
    ),
    _shape("Databricks token", "dapi", r"\bdapi[0-9a-f]{32}", f"dapi{_H[:32]}"),
    _shape("Hashicorp Vault token", "hvs. hvb.", r"\bhv[sb]\.[\w-]{24,300}", f"hvs.{_A[:90]}"),
    _shape(
        "Terraform token",
        ".atlasv1.",
        r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}",
        f"{_A[:14]}.atlasv1.{_A[:60]}",
    ),
    _shape("Pulumi token", "pul-", r"\bpul-[0-9a-f]{40}", f"pul-{_H[:40]}"),
    _shape("Heroku key", "hrku-", r"\bHRKU-[\w-]{36,70}", f"HRKU-{_A[:60]}"),
    _shape("Supabase token", "sbp_", r"\bsbp_[0-9a-f]{40}", f"sbp_{_H[:40]}"),
    # Models.
    _shape(
        "OpenAI key",
        "sk-",
        r"\bsk-(?:proj-|svcacct-|admin-|None-)?[\w-]{20,200}",
        f"sk-proj-{_A[:74]}T3BlbkFJ{_A[:20]}",
    ),
    _shape("Hugging Face token", "hf_", r"\bhf_[A-Za-z0-9]{30,40}", f"hf_{_A[:34]}"),
    _shape("Replicate token", "r8_", r"\br8_[A-Za-z0-9]{37,40}", f"r8_{_A[:37]}"),
    # Money and shops.
    _shape(
        "Stripe key",
        "k_live_ k_test_",
        r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,200}",
        f"sk_live_{_A[:24]}",
    ),
    _shape(
        "Stripe webhook secret", "whsec_", r"\bwhsec_[A-Za-z0-9+/=]{20,100}", f"whsec_{_A[:32]}"
    ),
    _shape(
        "Shopify token",
        "shpat_ shpca_ shppa_ shpss_",
        r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
        f"shpat_{_H[:32]}",
    ),
    _shape("Square token", "sq0", r"\bsq0(?:atp|csp|idp)-[\w-]{22,60}", f"sq0atp-{_A[:22]}"),
    # Messages.
    _shape(
        "Slack token",
        "xox",
        r"\bxox[abposre](?:\.xox[bp])?-[\w-]{10,250}",
        "xoxb-1234567890-1234567890123-abcdefghijABCDEFGHIJ0123",
    ),
    _shape(
        "Slack app token",
        "xapp-",
        r"\bxapp-\d-[\w-]{20,150}",
        "xapp-1-A0123456789-1234567890123-0123456789abcdef0123456789abcdef",
    ),
    _shape(
        "Slack webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([\w/-]{20,150})",
        f"hooks.slack.com/services/T0123456/B0123456/{_A[:24]}",
    ),
    _shape(
        "Discord webhook",
        "/webhooks/",
        r"discord(?:app)?\.com/api(?:/v\d{1,2})?/webhooks/(\d{10,25}/[\w-]{40,100})",
        f"discord.com/api/webhooks/123456789012345678/{_A[:68]}",
    ),
    _shape(
        "Telegram bot token",
        "api.telegram.org/",
        r"api\.telegram\.org/(?:file/)?bot(\d{6,12}:[\w-]{30,50})",
        f"api.telegram.org/bot1234567890:{_A[:35]}/sendMessage",
    ),
    _shape(
        "Teams webhook",
        ".webhook.office.com/",
        r"\.webhook\.office\.com/webhookb2/([\w@/-]{40,250})",
        f"x.webhook.office.com/webhookb2/{_H[:32]}@{_H[:32]}/IncomingWebhook/{_H[:32]}",
    ),
    _shape("SendGrid key", "sg.", r"\bSG\.[\w-]{16,32}\.[\w-]{32,64}", f"SG.{_A[:22]}.{_A[:43]}"),
    _shape("Mailgun key", "key-", r"\bkey-[0-9a-f]{32}\b", f"key-{_H[:32]}"),
    _shape(
        "Mailchimp key",
        "-us1 -us2 -us3 -us4 -us5 -us6 -us7 -us8 -us9",
        r"\b[0-9a-f]{32}-us\d{1,2}\b",
        f"{_H[:32]}-us12",
    ),
    # What watches and plans.
    _shape("Sentry token", "sntrys_ sntryu_", r"\bsntry[su]_[\w+/=-]{40,500}", f"sntrys_{_A[:80]}"),
    _shape(
        "Grafana token", "glsa_ glc_", r"\bgl(?:sa|c)_[\w+/=-]{32,400}", f"glsa_{_A[:32]}_{_H[:8]}"
    ),
    _shape("New Relic key", "nrak-", r"\bNRAK-[A-Z0-9]{27}", f"NRAK-{'ABC012345' * 3}"),
    _shape("Atlassian token", "atatt3", r"\bATATT3[\w=-]{60,250}", f"ATATT3{_A[:80]}"),
    _shape(
        "Linear key",
        "lin_api_ lin_oauth_",
        r"\blin_(?:api|oauth)_[A-Za-z0-9]{40,64}",
        f"lin_api_{_A[:40]}",
    ),
    _shape("Notion token", "ntn_", r"\bntn_[A-Za-z0-9]{40,50}", f"ntn_{_A[:46]}"),
    _shape(
        "Postman key", "pmak-", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}", f"PMAK-{_H[:24]}-{_H[:34]}"
    ),
    _shape("Figma token", "figd_", r"\bfigd_[\w-]{40,60}", f"figd_{_A[:40]}"),
    _shape(
        "Doppler token",
        "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.",
        r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,80}",
        f"dp.pt.{_A[:43]}",
    ),
    # Whoever made them.
    _shape(
        "JSON web token",
        "eyj",
        r"(?<![\w-])(?:[\w-]{0,64}?-)??(eyJ[\w-]{8,}+\.[\w-]{4,}+\.[\w-]*+)",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
    ),
    _shape(
        "CAS ticket",
        "st- pgt- tgt-",
        r"\b(?:ST|PGT|TGT)-\d{1,10}-[\w.-]{20,250}",
        f"ST-12-{_A[:24]}",
    ),
    # Keys by themselves.
    _shape(
        "age key",
        "age-secret-key-",
        r"AGE-SECRET-KEY-1[A-Z0-9]{58}",
        f"AGE-SECRET-KEY-1{'ABCDEFGH0123456789' * 3}ABCD",
    ),
)

# What is secret for what stands around it, whatever it looks like: protocols and commands.
AROUND: Final[tuple[Shape, ...]] = (
    _shape(
        "websocket protocol",
        "websocket-protocol",
        r"(?i)Sec-WebSocket-Protocol\W{1,8}(?:bearer|jwt|token|auth|access_token), ?([\w.+/=-]{4,4000})",
        f"Sec-WebSocket-Protocol: bearer, {_A[:20]}",
    ),
    _shape(
        "bearer or basic",
        "bearer basic",
        r"\b(?i:bearer|basic)\s{1,3}(?=[\w+/=.~-]{0,200}?(?:[\d+/=~_]|[a-z][A-Z]))([\w+/=.~-]{4,})",
        f"Bearer {_A[:20]}",
    ),
    _shape(
        "URL with a password",
        "://",
        # No part crosses another "://", so that none is looked through twice. Passwords are put into URLs as they are,
        # and then hold what a URL gives a meaning; but none is in `host:80/a@b`, and a user of a database is none.
        r"(?:(?<=http)|(?<=https)|(?<=ftp))://([^\s/?#'\"]{1,4000})@"
        r"|://([^\s/?#'\"@:]{0,4000}:[^\s/?#'\"]{1,4000}"
        r"|[^\s/@:?#'\"]{0,100}:(?!\d{0,5}(?:[/?#]|\Z))(?:[^\s/@'\"]|/(?!/)){1,256})@",
        "https://bob:hunter2@example.org",
    ),
    _shape(
        "URL with a password, encoded",
        "%3a%2f%2f %253a%252f%252f",
        r"(?i)%(?:25)?3A(?:%(?:25)?2F){2}([\w.%~-]{1,200}?%(?:25)?3A[\w.%~-]{1,200}?)%(?:25)?40",
        "next=https%3A%2F%2Fbob%3Ahunter2%40example.org",
    ),
    _shape(
        "private key",
        "-----begin",
        r"-----BEGIN (?:[A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?|PGP MESSAGE)-----(?!\[Filtered\])"
        r"([^-]*+(?:-(?!----END)[^-]*+)*+)",
        "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
    ),
    _shape(
        "PuTTY key",
        "private-lines:",
        r"Private-Lines: \d{1,4}\s{1,2}((?:[A-Za-z0-9+/=]{1,100}\s?){1,100})",
        f"Private-Lines: 1\n{_A[:64]}\nPrivate-MAC: x",
    ),
    _shape(
        "SMTP login",
        "plain xoauth2",
        r"\bAUTH (?:PLAIN|XOAUTH2) ([\w+/=]{8,2000})",
        f"AUTH PLAIN {_A[:20]}",
    ),
    _shape(
        "curl -u",
        "curl",
        r"\bcurl\b[^\n|;]{0,300}? (?:-u|--user|-U|--proxy-user)[ =]['\"]?([^\s:'\"]{1,100}:[^\s'\"]{1,200})",
        "curl -u bob:hunter2 x",
    ),
    _shape(
        "mysql -p",
        "mysql mariadb",
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;]{0,300}? -p([^\s'\"]{1,200})",
        "mysql -u bob -phunter2-of-bob x",
    ),
    _shape(
        "sshpass -p",
        "sshpass",
        r"\bsshpass -p ?['\"]?([^\s'\"]{1,200})",
        "sshpass -p hunter2 ssh x",
    ),
    _shape(
        "redis-cli -a",
        "redis-cli",
        r"\bredis-cli\b[^\n|;]{0,300}? (?:-a|--pass)(?: |['\"], ['\"])([^\s'\"]{1,200})",
        "redis-cli -h x -a hunter2",
    ),
    _shape(
        "openssl -passin",
        "pass:",
        r"-pass(?:in|out)? pass:([^\s'\"]{1,200})",
        "openssl x -passin pass:hunter2",
    ),
    _shape(
        "SQL IDENTIFIED BY",
        "identified",
        r"\bIDENTIFIED (?:WITH \w{1,40} )?BY '([^'\n]{1,200})'",
        "CREATE USER x IDENTIFIED BY 'hunter2'",
    ),
    _shape(
        "Oracle URL",
        "jdbc:oracle",
        r"jdbc:oracle:\w{1,10}:[^\s/@]{1,60}/([^\s@]{1,200})@",
        "jdbc:oracle:thin:bob/hunter2@db",
    ),
)

SHAPES: Final = (*TOKENS, *AROUND)


def _all_hints(shapes: tuple[Shape, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hint for shape in shapes for hint in shape.hints))


HINTS: Final = _all_hints(AROUND)
_HINTS_OF_TOKENS: Final = _all_hints(TOKENS)
_RUN: Final = re.compile(r"[a-z0-9_./-]{15,}")

SHORTEST: Final = 15
"""Characters that each token has at least, with its prefix, in one run; no shorter one need be looked at."""


def runs(small: str) -> str:
    """What of a text in small letters may be tokens."""
    return "\n".join(_RUN.findall(small))


def may_hold_tokens(small: str) -> bool:
    """Whether a text in small letters may hold a token."""
    long = runs(small)
    return bool(long) and any(map(long.__contains__, _HINTS_OF_TOKENS))
