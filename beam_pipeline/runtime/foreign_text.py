"""Text of others, before it is shown, logged or stored: no secrets, no control characters, not without end."""

import logging
import re
import threading

_USER = re.compile(r"(://)[^\s/?#]*@")
"""User and password of a URL. A password may hold an @, so it ends at the last one."""

_QUERY_OF_URL = re.compile(r"(://[^\s?#]*)(?:[?#][^\s\"]*)?")
"""A URL, and apart from it its query and fragment, where keys and signatures are.

It takes URLs without them too, so that nothing is looked at twice: "://://..." would take the square of its length.
"""

_QUERY = re.compile(r"\?[^\s?=\"]+=[^\s\"]*")
"""A query whose URL is told in parts, as urllib3 does: "Max retries exceeded with url: /v1?key=..."."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#|~&!:@])")
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_MOST_CHARS = 2000

_MOST_HIDDEN = 256
"""Tokens that are remembered to be hidden: more than a process has at a time, however often they are renewed."""

_hidden: tuple[str, ...] = ()
_hidden_lock = threading.Lock()

# Those that print a URL at some level, pass on what GDAL says of one, or flags that they do not know.
_LOGGERS_THAT_SHOW_URLS = (
    "apache_beam.options.pipeline_options",
    "pystac_client.stac_api_io",
    "rasterio._base",
    "rasterio._env",
    "rasterio._err",
    "rasterio._io",
    "rasterio._vsiopener",
    "rasterio.env",
    "rasterio.session",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.util.retry",
)


def hide(secret: str) -> None:
    """Has `without_secrets` leave out a secret from now on, wherever it stands: a host may repeat what it was sent.

    Args:
        secret: A token; "" is none.
    """
    global _hidden
    with _hidden_lock:
        if secret and secret not in _hidden:
            _hidden = (*_hidden, secret)[-_MOST_HIDDEN:]


def without_secrets(text: str) -> str:
    """Takes user, password, query and fragment out of every URL in a text, and what `hide` was told.

    What signs a URL is called differently by each host, so nothing of a query is kept.

    Args:
        text: One URL, or anything with URLs in it.

    Returns:
        The text without them.
    """
    for secret in _hidden:
        text = text.replace(secret, "[hidden]")
    if "?" not in text and "://" not in text:
        return text
    return _QUERY.sub("", _QUERY_OF_URL.sub(r"\1", _USER.sub(r"\1", text)))


def one_line(text: str, most_chars: int = _MOST_CHARS) -> str:
    r"""Makes text safe for a terminal, a table and a log.

    Args:
        text: Anything.
        most_chars: How much of it is kept.

    Returns:
        The text, with what cannot be printed (line breaks, escape sequences, marks that turn the direction of writing,
        lone surrogates) written as Python writes it, e.g. "\n" or "\x1b".
    """
    if len(text) > most_chars:
        text = f"{text[:most_chars]}... ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def shown(text: str, most_chars: int = _MOST_CHARS) -> str:
    """Makes text safe to be shown to anybody: `without_secrets`, and on `one_line`."""
    return one_line(without_secrets(text), most_chars)


def in_markdown(text: str) -> str:
    """Returns text of others as Markdown that shows it as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def in_csv(text: str) -> str:
    """Returns text of others as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


class _WithoutSecrets(logging.Filter):
    """Shows log records as `without_secrets`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_secrets(record.getMessage()), ()
        return True


_WITHOUT_SECRETS = _WithoutSecrets()


def hide_secrets_in_logs() -> None:
    """Has libraries that log URLs leave out what is secret in them, at every level; once for a process is enough."""
    for name in _LOGGERS_THAT_SHOW_URLS:
        logging.getLogger(name).addFilter(_WITHOUT_SECRETS)
