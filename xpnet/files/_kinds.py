"""The kinds of files, told apart by their first bytes, so that a message can say how to load a file of the other kind.

Only messages depend on it: a file is checked by the module that reads it.
"""

NETWORK_START = b'{"__metadata__":{"xpnet":'  # after the length of the header of a safetensors file
ARCHIVE_START = b"PK\x03\x04"  # of a zip archive
FIRST_MEMBER = b"member-0.safetensors"  # the first file in the archive


def is_network(content: bytes) -> bool:
    """Tell whether `Network.save` wrote a file, or `train` a checkpoint."""
    return content.startswith(NETWORK_START, 8)


def is_ensemble(content: bytes) -> bool:
    """Tell whether `Ensemble.save` wrote a file.

    Examples
    --------
    >>> is_ensemble(b"PK"), is_network(b"PK")
    (False, False)
    """
    return content.startswith(ARCHIVE_START) and content.startswith(FIRST_MEMBER, 30)
