"""How messages show broker URLs. Pure."""

from __future__ import annotations

import re
from typing import Final

_URL_LOGIN: Final = re.compile(r"^([A-Za-z+]+://[^:/@]*):.*@", re.DOTALL)
_QUERY_PASSWORD: Final = re.compile(r"(password=)[^&]*", re.IGNORECASE)


def shown_url(url: str) -> str:
    """Hide the password in a broker URL, even if special characters in it made the URL invalid."""
    return _QUERY_PASSWORD.sub(r"\1***", _URL_LOGIN.sub(r"\1:***@", url))
