"""The checksum of a document of metadata, which is its first attribute: of its bytes, with zeros in its own place.

Every document has its own, since each is replaced on its own while a run grows. Runs of before have none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import google_crc32c

NAME = "metadata_checksum"

_BEFORE = b'{"attributes": {"%s": "crc32c:' % NAME.encode()
_ZEROS = b"00000000"
_AFTER = len(_BEFORE) + len(_ZEROS)

FIRST = (_BEFORE + _ZEROS + b'"').decode()
"""How a document begins before it is sealed; its other attributes follow, then the rest of it."""


def sealed(document: Mapping[str, Any]) -> bytes:
    """The document as JSON, with its checksum.

    >>> sealed({"attributes": {"a": 1}, "node_type": "group"})
    b'{"attributes": {"metadata_checksum": "crc32c:1cf4961b", "a": 1}, "node_type": "group"}'
    """
    attributes = {NAME: f"crc32c:{_ZEROS.decode()}", **without_seal(document["attributes"])}
    return seal(json.dumps({"attributes": attributes, **_rest(document)}, allow_nan=False).encode())


def resealed(data: bytes) -> bytes:
    """A document of an older dominance, as this one would have written it."""
    return sealed(json.loads(data))


def _rest(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "attributes"}


def seal(text: bytes) -> bytes:
    """The same of a document that begins with ``FIRST``."""
    return _BEFORE + _checksum(text) + text[_AFTER:]


def without_seal(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that are not the document's own checksum."""
    return {name: value for name, value in attributes.items() if name != NAME}


def intact(data: bytes) -> bool | None:
    """Whether the bytes are those that were sealed; None where there is no checksum.

    >>> data = sealed({"attributes": {}})
    >>> intact(data), intact(data.replace(b"{}", b"{ }")), intact(data + b" "), intact(b'{"attributes": {}}')
    (True, True, False, None)
    """
    if not data.startswith(_BEFORE):
        return None
    return data[len(_BEFORE) : _AFTER] == _checksum(data)


def _checksum(data: bytes) -> bytes:
    return b"%08x" % google_crc32c.value(data[: len(_BEFORE)] + _ZEROS + data[_AFTER:])
