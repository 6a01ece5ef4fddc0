"""A bearer token that lies in a file: workers read it there, so that no command line and no job holds it."""

import dataclasses
import re
import threading
import time
from collections.abc import Callable

from beam_pipeline.runtime.faults import TransientFault
from beam_pipeline.runtime.foreign_text import hide

READ_AGAIN_S = 60.0
"""Seconds after which the file is read again: a token may be replaced while a job goes on."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*\Z")
"""Source: RFC 6750, section 2.1."""

_MOST_CHARS = 16_384


class NoToken(TransientFault):
    """There is no token now. Its asker has had its tries, and no file is to blame."""

    def __init__(self, reason: str = "no_token", detail: str = "") -> None:
        super().__init__(reason, detail)


@dataclasses.dataclass(frozen=True)
class TokenFile:
    """A file, local or remote, that holds a bearer token and nothing else; small and picklable.

    Attributes:
        path: A local path, or a URL such as gs://bucket/token.
        read: Reads a file of such a path; a function that pickles.
    """

    path: str
    read: Callable[[str], bytes] = dataclasses.field(compare=False, repr=False)

    def token(self, refused: str = "") -> str:
        """Returns the token; threads of a process share what was read.

        Args:
            refused: A token that a host has refused: the file is read again where that is the one last read.

        Raises:
            NoToken: The file cannot be read, or holds no token.
        """
        with _lock:
            token, when = _tokens.get(self.path, ("", 0.0))
            now = time.monotonic()
            if token and token != refused and now - when < READ_AGAIN_S:
                return token
            try:
                token = self._read()
            except NoToken:
                if not token:
                    raise
                # Such as while the file is being replaced: the old one is good until a host says otherwise.
            _tokens[self.path] = token, now
            return token

    def _read(self) -> str:
        try:
            content = self.read(self.path)
        except Exception as error:
            # More than faults: each cloud's client has classes of its own.
            raise NoToken(detail=f"the token file {self.path} cannot be read: {error}") from error
        token = content[: _MOST_CHARS + 1].decode("ascii", errors="replace").strip()
        if len(token) > _MOST_CHARS or not _TOKEN.match(token):
            # What it holds may be a secret all the same.
            raise NoToken(
                detail=f"the token file {self.path} must hold a bearer token, letters, digits and -._~+/=, and "
                "nothing else"
            )
        hide(token)
        return token


_tokens: dict[str, tuple[str, float]] = {}
"""By path: the token, and when it was read in seconds of the monotonic clock."""

_lock = threading.Lock()
