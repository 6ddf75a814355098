"""Values to files, and back."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.files._archive import decode_archive as decode_archive
    from xpnet.files._archive import encode_archive as encode_archive
    from xpnet.files._archive import read_archive as read_archive
    from xpnet.files._archive import write_archive as write_archive
    from xpnet.files._file import INVALID_VALUE_ERRORS as INVALID_VALUE_ERRORS
    from xpnet.files._file import decode_record as decode_record
    from xpnet.files._file import explain_errors as explain_errors
    from xpnet.files._kinds import is_ensemble as is_ensemble
    from xpnet.files._networks import encode_network as encode_network
    from xpnet.files._networks import find_shared_calibration as find_shared_calibration
    from xpnet.files._networks import fingerprint as fingerprint
    from xpnet.files._networks import fingerprint_members as fingerprint_members
    from xpnet.files._networks import read_network as read_network
    from xpnet.files._networks import restore_network as restore_network
    from xpnet.files._networks import restore_training as restore_training
    from xpnet.files._networks import share_calibration as share_calibration
    from xpnet.files._record import NO_CALIBRATIONS as NO_CALIBRATIONS
    from xpnet.files._record import Calibrations as Calibrations
    from xpnet.files._record import Record as Record
    from xpnet.files._record import check_depth as check_depth
    from xpnet.files._record import encode_optimizer as encode_optimizer
    from xpnet.files._record import make_record as make_record
    from xpnet.files._record import refuse_unknown as refuse_unknown
    from xpnet.files._writing import is_same_file as is_same_file
    from xpnet.files._writing import read_file as read_file
    from xpnet.files._writing import write_file as write_file

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
        "_archive": (
            "decode_archive",
            "encode_archive",
            "read_archive",
            "write_archive",
        ),
        "_file": (
            "INVALID_VALUE_ERRORS",
            "decode_record",
            "explain_errors",
        ),
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
        "_writing": (
            "is_same_file",
            "read_file",
            "write_file",
        ),
    },
)
