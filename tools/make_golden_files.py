"""Write the files that tests/test_golden.py reads: python tools/make_golden_files.py tests/golden.

Run this for each new format, and never again for one that a release has written.
"""

import sys
from pathlib import Path

import numpy as np

from xpnet import Adam, Callback, Clip, EarlyStopping, Ensemble, Network, OneCycle
from xpnet.files._file import FORMAT
from xpnet.training import _loop

X = np.linspace(-1.0, 1.0, 60).reshape(20, 3)
LABELS = np.arange(20) % 2
TARGETS = np.stack([X.sum(axis=1), X[:, 0] * X[:, 1]], axis=1)


class Stop(Callback):
    """Interrupt the training in the middle of its third epoch."""

    chunks = 6

    def on_chunk_end(self, steps: int) -> None:
        """Raise after some chunks."""
        self.chunks -= 1
        if self.chunks == 0:
            raise KeyboardInterrupt


def main() -> None:
    """Write the files, and the results that they must give, beside them."""
    folder = Path(sys.argv[1])
    plain = Network([3, 4, 2], seed=1)
    plain.notes = {"labels": ["no", "ja"], "ä": [1, 2.5, None]}
    full = Network([3, 5, 2], activation="elu(0.5)", task="regression", dropout=0.2, standardize=True, seed=2)
    full.train((X, TARGETS), 3, 5, 0.01, optimizer=Clip(Adam(), 1.0), validation_data=(X, TARGETS), progress=False)
    double = Network([3, 4, 1], activation="gelu", task="binary", dtype="float64", seed=3)
    double.train((X, LABELS), 2, 5, 0.1, progress=False)
    nets = {"plain": plain, "full": full, "double": double}
    for name, net in nets.items():
        net.save(folder / f"format-{FORMAT}-{name}.safetensors")
    ensemble = Ensemble.of([plain, plain.copy()])
    ensemble[1].w = [2 * w for w in plain.w]
    ensemble.save(folder / f"format-{FORMAT}-ensemble.zip")
    outputs = {name: np.asarray(net.forward(X), np.float64) for name, net in {**nets, "ensemble": ensemble}.items()}

    _loop.steps_per_chunk = lambda *args, **options: 2
    options = {"epochs": 4, "batch_size": 5, "lr": OneCycle(0.05), "optimizer": Adam(), "progress": False}
    options |= {"validation_data": (X, LABELS)}
    checkpoint = folder / f"format-{FORMAT}-training.safetensors"
    try:
        training = Network([3, 4, 2], task="classification", dropout=0.1, seed=4)
        training.train((X, LABELS), callbacks=[EarlyStopping(9), Stop()], checkpoint=checkpoint, **options)
    except KeyboardInterrupt:
        pass
    whole = Network([3, 4, 2], task="classification", dropout=0.1, seed=4)
    whole.train((X, LABELS), callbacks=[EarlyStopping(9)], **options)
    outputs["training"] = np.asarray(whole.forward(X), np.float64)
    np.savez(folder / f"format-{FORMAT}-outputs.npz", **outputs)


if __name__ == "__main__":
    main()
