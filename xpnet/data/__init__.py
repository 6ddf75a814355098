"""Data: from any source to arrays on the device, the order of minibatches, and data sets to learn with."""

from xpnet.data._outside import HostRows, as_host_rows, read_in_blocks
from xpnet.data._scaling import PlacedScaling, place_scaling
from xpnet.data._splits import check_split, parse_rows
from xpnet.data._streams import refuse_iterator
from xpnet.data._weights import (
    balance_classes,
    check_some_weight,
    is_balanced,
    parse_class_weight,
    parse_sample_weight,
    parse_slope_weight,
    relative_weight,
)

__all__ = [
    "HostRows",
    "PlacedScaling",
    "as_host_rows",
    "balance_classes",
    "check_some_weight",
    "check_split",
    "is_balanced",
    "parse_class_weight",
    "parse_rows",
    "parse_sample_weight",
    "parse_slope_weight",
    "place_scaling",
    "read_in_blocks",
    "refuse_iterator",
    "relative_weight",
]
