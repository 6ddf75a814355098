"""Summary: the layers of a network as a table."""

from dataclasses import dataclass
from typing import Any

from xpnet.core.model import Model
from xpnet.value import make_table

LEFT_COLUMNS = (2, 3)  # aligned left


@dataclass(frozen=True)
class Summary:
    """The layers of a network with their sizes and costs; printing it shows a table.

    Attributes
    ----------
    rows : list of dict
        For each layer: ``layer``, ``units``, ``activation``, ``weights`` (shape), ``parameters``, ``bytes``, ``flops``
        (of a forward pass of one example: a multiplication and an addition for each weight, an addition for each bias;
        activation functions are not counted).
    parameters, bytes, flops : int
        Of all layers.

    Examples
    --------
    >>> from xpnet import Network
    >>> Network([3, 4, 2]).summary()
    layer  units  activation  weights  parameters  bytes  flops an example
        1      4  sigmoid     (4, 3)           16     64                28
        2      2  sigmoid     (2, 4)           10     40                18
    total                                      26    104                46
    """

    rows: list[dict[str, Any]]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(row["parameters"] for row in self.rows)

    @property
    def bytes(self) -> int:
        """Memory of weights and biases."""
        return sum(row["bytes"] for row in self.rows)

    @property
    def flops(self) -> int:
        """Floating-point operations of a forward pass of one example."""
        return sum(row["flops"] for row in self.rows)

    def __repr__(self) -> str:
        """Table of the layers."""
        return table(self._lines(), left=LEFT_COLUMNS)

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        return self.to_html()

    def to_html(self, caption: str = "") -> str:
        """Return the table as HTML, with a line above it if one is given."""
        return make_table(self._lines(), left=LEFT_COLUMNS, caption=caption)

    def _lines(self) -> list[list[str]]:
        """Header, layers and total, as strings."""
        head = ["layer", "units", "activation", "weights", "parameters", "bytes", "flops an example"]
        lines = [[str(value) for value in row.values()] for row in self.rows]
        return [head, *lines, ["total", "", "", "", str(self.parameters), str(self.bytes), str(self.flops)]]


def summarize(model: Model, dtype: str) -> Summary:
    """List layers, shapes, parameters, bytes and operations; see `Network.summary`."""
    rows = [
        {
            "layer": l,
            "units": n_out,
            "activation": sigma.name,
            "weights": (n_out, n_in),
            "parameters": n_out * n_in + n_out,
            "bytes": (n_out * n_in + n_out) * (4 if dtype == "float32" else 8),
            "flops": 2 * n_out * n_in + n_out,
        }
        for l, ((n_out, n_in), sigma) in enumerate(zip(model.shapes, model.sigmas), 1)
    ]
    return Summary(rows)


def table(lines: list[list[str]], left: tuple[int, ...] = ()) -> str:
    """Lay out rows of strings in columns, aligned left for the columns in `left` and right for the others.

    Examples
    --------
    >>> print(table([["layer", "size"], ["1", "30"]]))
    layer  size
        1    30
    """
    widths = [max(len(word) for word in column) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            word.ljust(w) if i in left else word.rjust(w) for i, (word, w) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    )
