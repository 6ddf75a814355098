"""Pictures of histories, networks and their predictions, drawn with matplotlib (``pip install -e '.[plots]'``).

Each function returns a figure, which a notebook shows and ``figure.savefig("picture.png")`` saves. None of them opens a
window, uses pyplot, or changes its arguments. With ``ax=`` they draw on your axes, or in place of them if they need
several, and return the figure of the axes. Data and networks may be on any backend and device.

Pictures do not depend on color: curves have dashes and markers, classes have markers, and color maps become lighter
from end to end. For confusion matrices, and predictions against targets, see `ConfusionMatrixDisplay` and
`PredictionErrorDisplay` of scikit-learn, whose `from_predictions` takes what `predict` returns.
"""

from xpnet._checks import install_command

try:
    from matplotlib import colormaps  # noqa: F401  not only below: modules that are loaded do not ask again
    from matplotlib.figure import SubFigure  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"xpnet.plots needs matplotlib 3.8 or newer ({error}); install it with: {install_command('plots')}"
    ) from error

from xpnet.plots._calibrations import calibration
from xpnet.plots._classes import decision_boundary, mistakes
from xpnet.plots._layers import activations, weights
from xpnet.plots._regressions import error_bars
from xpnet.plots._style import curve_style  # noqa: F401
from xpnet.plots._tables import importances, partial_dependence
from xpnet.plots._trainings import compare, history

__all__ = [
    "activations",
    "calibration",
    "compare",
    "decision_boundary",
    "error_bars",
    "history",
    "importances",
    "mistakes",
    "partial_dependence",
    "weights",
]
