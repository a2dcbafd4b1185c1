"""RUN/config.yaml as {"train.lr": 0.003, ...}.

The file is what `shoal train` prints: nested keys, two blanks a level, one value a line. That much YAML
is read here, so that no YAML library is needed.
"""
from __future__ import annotations

import json
from typing import Dict, Optional, Union

Value = Union[bool, int, float, str]


def option_text(value: Optional[Value]) -> str:
    """As it stands in the file; a dash where the run has no such option."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) or "(empty)"


def _without_comment(text: str) -> str:
    """`text` up to a '#' that is not inside double quotes."""
    quoted = False
    for at, sign in enumerate(text):
        if sign == '"' and (at == 0 or text[at - 1] != "\\"):
            quoted = not quoted
        if sign == "#" and not quoted and (at == 0 or text[at - 1] == " "):
            return text[:at]
    return text


def _value(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def parse_config(text: str) -> Dict[str, Value]:
    """Options by their dotted keys; lines that are none are passed over."""
    options: Dict[str, Value] = {}
    parents: list[str] = []
    for line in text.splitlines():
        body = _without_comment(line).rstrip()
        key, colon, rest = body.strip().partition(":")
        if not colon:
            continue
        depth = (len(body) - len(body.lstrip(" "))) // 2
        parents = parents[:depth] + [key]
        if rest.strip():
            options[".".join(parents)] = _value(rest.strip())
    return options
