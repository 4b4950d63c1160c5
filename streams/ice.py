"""STUN and TURN servers as clients are told of them; TURN with credentials that end by themselves.

The REST form (draft-uberti-behave-turn-rest; coturn's ``use-auth-secret``): the user name is ``expiry:name``, the
password the base64 of HMAC-SHA1 of it under a secret that only we and the TURN server know.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Sequence

LIFETIME_S = 3600
"""An open allocation goes on after that; a new one needs new credentials."""


def credentials(
    secret: str, name: str, lifetime: int = LIFETIME_S, now: Callable[[], float] = time.time
) -> tuple[str, str]:
    """(user name, password), valid for ``lifetime`` seconds."""
    user = f"{int(now()) + lifetime}:{name}"
    digest = hmac.new(secret.encode(), user.encode(), hashlib.sha1).digest()
    return user, base64.b64encode(digest).decode()


def link_headers(servers: Sequence[str], secret: str = "", name: str = "vultus") -> list[str]:
    """``Link`` headers (RFC 9725, 4.6) of ICE servers written as ``stun:host:port`` or ``turn:host?transport=udp``."""
    links = []
    for server in servers:
        link = f'<{server}>; rel="ice-server"'
        if secret and server.startswith(("turn:", "turns:")):
            user, password = credentials(secret, name)
            link += f'; username="{user}"; credential="{password}"; credential-type="password"'
        links.append(link)
    return links
