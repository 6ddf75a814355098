"""Values to files, and back."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.files._archive import decode_archive, encode_archive, read_archive, write_archive
    from xpnet.files._file import INVALID_VALUE_ERRORS, decode_record, explain_errors
    from xpnet.files._kinds import is_ensemble
    from xpnet.files._networks import (
        encode_network,
        find_shared_calibration,
        fingerprint,
        fingerprint_members,
        read_network,
        restore_network,
        restore_training,
        share_calibration,
    )
    from xpnet.files._record import (
        NO_CALIBRATIONS,
        Calibrations,
        Record,
        check_depth,
        encode_optimizer,
        make_record,
        refuse_unknown,
    )
    from xpnet.files._writing import is_same_file, read_file, write_file

__all__ = [
    "INVALID_VALUE_ERRORS",
    "NO_CALIBRATIONS",
    "Calibrations",
    "Record",
    "check_depth",
    "decode_archive",
    "decode_record",
    "encode_archive",
    "encode_network",
    "encode_optimizer",
    "explain_errors",
    "find_shared_calibration",
    "fingerprint",
    "fingerprint_members",
    "is_ensemble",
    "is_same_file",
    "make_record",
    "read_archive",
    "read_file",
    "read_network",
    "refuse_unknown",
    "restore_network",
    "restore_training",
    "share_calibration",
    "write_archive",
    "write_file",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_archive": ("decode_archive", "encode_archive", "read_archive", "write_archive"),
        "_file": ("INVALID_VALUE_ERRORS", "decode_record", "explain_errors"),
        "_kinds": ("is_ensemble",),
        "_networks": (
            "encode_network",
            "find_shared_calibration",
            "fingerprint",
            "fingerprint_members",
            "read_network",
            "restore_network",
            "restore_training",
            "share_calibration",
        ),
        "_record": (
            "Calibrations",
            "NO_CALIBRATIONS",
            "Record",
            "check_depth",
            "encode_optimizer",
            "make_record",
            "refuse_unknown",
        ),
        "_writing": ("is_same_file", "read_file", "write_file"),
    },
)
