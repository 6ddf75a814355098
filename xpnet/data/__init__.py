"""Data: from any source to arrays on the device, the order of minibatches, and data sets to learn with."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.data._digest import digest_arrays as digest_arrays
    from xpnet.data._digest import fingerprint_arrays as fingerprint_arrays
    from xpnet.data._feature_names import column_names as column_names
    from xpnet.data._feature_names import has_coordinates as has_coordinates
    from xpnet.data._gathered import Gathered as Gathered
    from xpnet.data._gathered import RowSource as RowSource
    from xpnet.data._gathered import read_targets as read_targets
    from xpnet.data._host_rows import HostRows as HostRows
    from xpnet.data._host_rows import as_host_rows as as_host_rows
    from xpnet.data._host_rows import read_in_blocks as read_in_blocks
    from xpnet.data._scaling import place_scaling as place_scaling
    from xpnet.data._slopes import parse_slope_weight as parse_slope_weight
    from xpnet.data._splits import check_split as check_split
    from xpnet.data._splits import parse_rows as parse_rows
    from xpnet.data._streams import check_repeatable as check_repeatable
    from xpnet.data._streams import refuse_iterator as refuse_iterator
    from xpnet.data._weights import balance_classes as balance_classes
    from xpnet.data._weights import check_some_weight as check_some_weight
    from xpnet.data._weights import is_balanced as is_balanced
    from xpnet.data._weights import parse_class_weight as parse_class_weight
    from xpnet.data._weights import parse_sample_weight as parse_sample_weight
    from xpnet.data._weights import relative_weight as relative_weight

__all__ = [
    "Gathered",
    "HostRows",
    "RowSource",
    "as_host_rows",
    "balance_classes",
    "check_repeatable",
    "check_some_weight",
    "check_split",
    "column_names",
    "digest_arrays",
    "fingerprint_arrays",
    "has_coordinates",
    "is_balanced",
    "parse_class_weight",
    "parse_rows",
    "parse_sample_weight",
    "parse_slope_weight",
    "place_scaling",
    "read_in_blocks",
    "read_targets",
    "refuse_iterator",
    "relative_weight",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_digest": (
            "digest_arrays",
            "fingerprint_arrays",
        ),
        "_gathered": (
            "Gathered",
            "RowSource",
            "read_targets",
        ),
        "_host_rows": (
            "HostRows",
            "as_host_rows",
            "read_in_blocks",
        ),
        "_feature_names": (
            "column_names",
            "has_coordinates",
        ),
        "_scaling": ("place_scaling",),
        "_slopes": ("parse_slope_weight",),
        "_streams": (
            "check_repeatable",
            "refuse_iterator",
        ),
        "_splits": (
            "check_split",
            "parse_rows",
        ),
        "_weights": (
            "balance_classes",
            "check_some_weight",
            "is_balanced",
            "parse_class_weight",
            "parse_sample_weight",
            "relative_weight",
        ),
    },
)
