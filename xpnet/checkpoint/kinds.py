"""The kinds of files, told apart by their first bytes, so that a message can say how to load a file of the other kind.

Only messages depend on it: a file is checked by the module that reads it.
"""

NETWORK = b'{"__metadata__":{"xpnet":'  # after the length of the header of a safetensors file
ARCHIVE = b"PK\x03\x04"  # a zip archive
MEMBER = b"member-0.safetensors"  # its first file


def is_network(content: bytes) -> bool:
    """Tell whether `Network.save` wrote a file, or `train` a checkpoint."""
    return content.startswith(NETWORK, 8)


def is_ensemble(content: bytes) -> bool:
    """Tell whether `Ensemble.save` wrote a file.

    Examples
    --------
    >>> is_ensemble(b"PK"), is_network(b"PK")
    (False, False)
    """
    return content.startswith(ARCHIVE) and content.startswith(MEMBER, 30)
