"""Values to files, and back."""

from xpnet.files._archive import decode_archive, encode_archive
from xpnet.files._file import (
    INVALID_VALUE_ERRORS,
    decode_record,
    encode_network,
    explain_errors,
    is_ensemble,
    read_network,
)
from xpnet.files._record import (
    encode_optimizer,
    fingerprint,
    fingerprint_members,
    refuse_unknown,
    restore,
)
from xpnet.files._writing import is_same_file, read_file, write_file

__all__ = [
    "INVALID_VALUE_ERRORS",
    "decode_archive",
    "decode_record",
    "encode_archive",
    "encode_network",
    "encode_optimizer",
    "explain_errors",
    "fingerprint",
    "fingerprint_members",
    "is_ensemble",
    "is_same_file",
    "read_file",
    "read_network",
    "refuse_unknown",
    "restore",
    "write_file",
]
