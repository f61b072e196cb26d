# SPDX-License-Identifier: Apache-2.0
"""Bodies whose every byte is known: a block of a prime length, repeated, so that a lost, doubled or
moved stretch changes the digest wherever it lies."""
import hashlib

_PRIME = 65521
BLOCK = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(_PRIME // 32 + 1))[:_PRIME]
_TWICE = BLOCK * 17


def piece(offset, size):
    """Bytes [offset, offset + size) of the endless pattern; size up to a megabyte."""
    start = offset % _PRIME
    return _TWICE[start:start + size]


def pieces(total, size=262144):
    offset = 0
    while offset < total:
        n = min(size, total - offset)
        yield piece(offset, n)
        offset += n


def digest(total):
    h = hashlib.sha256()
    for p in pieces(total):
        h.update(p)
    return h.hexdigest()
