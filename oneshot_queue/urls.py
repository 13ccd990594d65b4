"""Broker URLs, as messages may show them. Pure."""

from __future__ import annotations

import re
from typing import Final

_URL_LOGIN: Final = re.compile(r"^([A-Za-z+]+://[^:/@]*):.*@", re.DOTALL)
_QUERY_PASSWORD: Final = re.compile(r"(password=)[^&]*", re.IGNORECASE)


def shown_url(url: str) -> str:
    """A broker's URL without its password, fit for messages; even one that a password made invalid."""
    return _QUERY_PASSWORD.sub(r"\1***", _URL_LOGIN.sub(r"\1:***@", url))
