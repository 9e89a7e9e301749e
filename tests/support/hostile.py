"""Texts and bodies that nobody means well with; the same each time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

#: Begins what would be a line of its own in a log, if it became one.
FORGED = "[I 2001-01-01 00:00:00.000 FORGED] all is well"

TEXTS = [
    *("{}", "{0}", "{username}", "{username.__class__}", "{{servername}}", "${HOME}", "{%raw%}"),
    *("%s", "%(x)s", "%n%d", "%00", "%2e%2e%2f", "100%"),
    *("..", "../..", "/etc/passwd", "a/../../b", "C:\\x", "~root", "-v", "--privileged"),
    *("a\x00b", "\x00", "\x7f", "\x1b[2J\x1b]0;x\x07", "a\x85b", "\x0b\x0c"),
    *(f"x\n{FORGED}", f"x\r\n{FORGED}", f"x\r{FORGED}", f"x\u2028{FORGED}", f"x\u2029{FORGED}"),
    *("\u202egnp.exe", "a\u200fb", "\u2066x\u2069", "\ufeff", "\u00ad", "\uff21\uff22", "ﬁ", "İ"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'\"><b>", "&lt;", "]]>"),
    *("\ud800", "a\udfffb", "\U0010ffff", "\ufffe", "é", "é", "名前", "👩‍👩‍👧"),
    *("Set-Cookie: x=1\r\n\r\n", "a\r\nLocation: http://evil", "a b", " ", "\t", "\u3000"),
    *("NULL", "True", "NaN", "1e999", "0x10", "'; DROP TABLE users; --", "`id`", "$(id)"),
    *("x" * 65536, "é" * 32768, "a:b:c", "@", "sha256:" + "0" * 64, "localhost/x", "evil.io/x"),
]

#: As they may stand in JSON that Python reads.
NUMBERS = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e-999",
        "0.1e-5",
        "-0",
        "-1",
        "5",
        "1.5",
    ),
    *("1" + "0" * 400, "1" + "0" * 4000, "9" * 19, "18446744073709551616"),
]


def bodies(count: int, texts: dict[str, str], numbers: list[str], seed: int = 7) -> Iterator[bytes]:
    """Bodies of requests to start a server, each of which has something to refuse in it.

    Args:
        count: how many.
        texts: option with a text → one that is allowed.
        numbers: options with a number from 1 to 4, in steps of 1.
        seed: of what is random.
    """
    chance = random.Random(seed)
    makers = [
        _wrong_text,
        _wrong_key,
        _wrong_number,
        _wrong_type,
        _wrong_json,
        _deep,
        _twice,
        _many,
    ]
    for number in range(count):
        made = makers[number % len(makers)](chance, texts, numbers)
        if isinstance(made, dict):
            made = json.dumps(_wrapped(chance, made), ensure_ascii=chance.random() < 0.7)
        yield made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made


def _wrapped(chance: random.Random, options: dict[str, Any]) -> dict[str, Any]:
    """As JupyterHub 6 takes options beside a title; JupyterHub 5 knows no such key."""
    if chance.random() < 0.8:
        return options
    return {"user_options": options, "display_name": _text(chance)[:200]}


def _text(chance: random.Random) -> str:
    text = chance.choice(TEXTS)
    return text + chance.choice(TEXTS)[:99] if chance.random() < 0.5 else text


def _nested(chance: random.Random, levels: int = 3) -> Any:
    kind = chance.randrange(6 if levels else 3)
    if kind == 0:
        return _text(chance)
    if kind == 1:
        return chance.choice([None, True, False, 10**30, -1.5, 0])
    if kind in (2, 3):
        return [_nested(chance, levels - 1) for _ in range(chance.randrange(4))] if levels else []
    return {_text(chance)[:300]: _nested(chance, levels - 1) for _ in range(chance.randrange(4))}


def _wrong_text(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    return {chance.choice(list(texts)): _text(chance)}


def _wrong_key(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    return {**texts, f"{_text(chance)}{chance.choice(['', '--unlisted-choice'])}?": _nested(chance)}


def _wrong_number(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    return f'{{"{chance.choice(numbers)}": {chance.choice(NUMBERS)}}}'


def _wrong_type(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    value = _nested(chance)
    while isinstance(value, (int, float)):
        value = _nested(chance)
    return {chance.choice([*texts, *numbers]): [value]}


def _wrong_json(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    text = json.dumps(texts)
    cut = chance.randrange(1, len(text))
    broken = [
        text[:cut].encode(),
        text.encode() + b"\xff\xfe",
        b'{"image": "\xc3\x28\xff"}',
        text.encode("utf-16"),
        json.dumps([_nested(chance), 1]).encode(),
        json.dumps(_text(chance)).encode(),
        b"1" * 5000,
        b"7",
        b"\x00\x01",
        f"{json.dumps(_text(chance))[:50]}=1&image=lab".encode("utf-8", "replace"),
    ]
    return chance.choice(broken)


def _deep(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    levels = chance.choice([3, 49, 51, 400, *range(900, 1001, 10), 1000, 5000, 100_000])
    opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
    inner = "1" if opening != "[" else ""
    return f'{{"{chance.choice(list(texts))}": {opening * levels}{inner}{closing * levels}}}'


def _twice(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    key = chance.choice(list(texts))
    name, good = json.dumps(key), json.dumps(texts[key])
    return f"{{{name}: {good}, {name}: [{chance.choice(NUMBERS)}]}}"


def _many(chance: random.Random, texts: dict[str, str], numbers: list[str]) -> Any:
    return {
        f"{_text(chance)[:20]}{number}": number for number in range(chance.choice([2, 50, 3000]))
    }
