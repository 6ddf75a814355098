"""JAX: the loop is compiled."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xpnet.arrays import Array, Function
from xpnet.backends import Backend, cast
from xpnet.errors import BackendError


class JaxBackend(Backend):
    """JAX on any of its devices."""

    blas = False

    def __init__(self, device: Any = None) -> None:
        self.name, self.xp, self.device = "jax", jnp, _find(device)
        self._array_type = jax.Array

    @classmethod
    def devices(cls) -> list[str]:
        return [f"{each.platform}:{each.id}" for each in _all_devices()]

    @contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        with ExitStack() as settings:
            settings.enter_context(jax.default_device(self.device))
            if dtype == "float64":
                settings.enter_context(jax.enable_x64(True))  # around our own work only, never for the whole process
            if jax.config.jax_default_matmul_precision is None:  # pyright: ignore  # float32 is float32, unless chosen
                settings.enter_context(jax.default_matmul_precision("float32"))
            yield

    def asarray(self, x: Any, dtype: str | None = None, name: str = "the array") -> Array:
        with self.scope(dtype) if dtype == "float64" else nullcontext():  # else it would become a float32
            return super().asarray(x, dtype, name)

    def own(self, x: Array) -> Array:
        return jax.device_put(x, self.device, may_alias=False)

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def fold(
        self, step: Function, gather: Function, state: Any, batches: Any, data: Any, kept: dict[Any, Any] | None = None
    ) -> Any:
        return _compiled(step, gather)(state, batches, data)  # nothing is donated: the state given stays as it is

    def all_finite(self, arrays: Iterable[Array]) -> bool:
        return bool(_all_finite(tuple(arrays)))

    def synchronize(self) -> None:
        jax.block_until_ready([x for x in jax.live_arrays(self.device.platform) if self.device in x.devices()])

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        mine = cast(x, dtype)
        if mine is x:  # device_put may share memory, or read it later, when the caller may have written to it
            mine = x.copy()
        with jax.enable_x64(True) if mine.dtype.itemsize == 8 else nullcontext():  # else it is narrowed without a word
            return jax.device_put(mine, self.device)  # jnp.array would compile a program for each shape

    def _from_device(self, x: Array) -> Array:
        if isinstance(x, jax.Array):
            return jax.device_put(x, self.device)
        return jax.device_put(jnp.from_dlpack(x), self.device, may_alias=False).block_until_ready()


@jax.jit
def _all_finite(arrays: tuple[Array, ...]) -> Array:  # compiled, it makes no array as large as any of these
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))


@lru_cache(maxsize=64)
def _compiled(step: Callable[..., Any], gather: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the loop over a step: once a step, and inside once for each set of shapes."""

    def loop(state: Any, batches: Any, data: Any) -> Any:
        def once(state: Any, batch: Any) -> tuple[Any, None]:
            return step(state, gather(data, batch, jnp), jnp), None

        return jax.lax.scan(once, state, batches)[0]

    return jax.jit(loop)


def _all_devices() -> list[Any]:
    platforms = dict.fromkeys([jax.default_backend(), "cpu"])
    return [each for platform in platforms for each in jax.devices(platform)]


def _find(device: Any) -> Any:
    """Turn None, ``"cpu"``, ``"cuda:1"`` or a JAX device into a JAX device."""
    if device is None:
        device = jax.config.jax_default_device or jax.devices()[0]  # pyright: ignore  # the former may be a name too
    if isinstance(device, jax.Device):
        return device
    platform, _, index = str(device).partition(":")
    try:
        if not (index or "0").isdecimal():
            raise ValueError(f"{index!r} is not a number")
        return jax.devices(platform)[int(index or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        raise BackendError(
            f'device={device!r} cannot be used with backend="jax" ({error}); it has {", ".join(JaxBackend.devices())}'
        ) from error


BACKEND = JaxBackend
