"""PyTorch: its own arrays, its own devices, and no autograd."""

from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from xpnet.arrays import Array
from xpnet.backends import Backend, cast, host_array
from xpnet.errors import BackendError


class TorchBackend(Backend):
    """PyTorch on any of its devices."""

    def __init__(self, device: Any = None) -> None:
        try:
            where = torch.get_default_device() if device is None else torch.device(device)
            super().__init__("torch", array_api_compat.torch, where)
            self.to_numpy(self.xp.zeros(1, device=self.device))  # "meta" holds no numbers
        except (RuntimeError, AssertionError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BackendError(
                f'device={device!r} cannot be used with backend="torch" ({reason}); it has {", ".join(self.devices())}'
            ) from error

    @classmethod
    def devices(cls) -> list[str]:
        found = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return found + (["mps"] if torch.backends.mps.is_available() else [])

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        return torch.no_grad()  # not inference_mode: its results fail in a user's autograd

    def own(self, x: Array) -> Array:
        x = torch.as_tensor(x)
        if x.ndim < 2:
            return x.clone()
        return x.mT.clone(memory_format=torch.contiguous_format).mT  # a wᵀ is faster where wᵀ is contiguous

    def to_numpy(self, x: Array) -> np.ndarray:
        return host_array(x.detach().cpu())

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        x = np.require(cast(x, dtype), requirements=["C", "W"])  # what a tensor can share, else a copy
        return torch.from_numpy(x).to(self.device)


BACKEND = TorchBackend
