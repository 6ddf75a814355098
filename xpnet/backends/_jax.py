"""JAX: the loop is compiled."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xpnet.backends.base import Backend, Loop, cast, precision
from xpnet.core.arrays import Array, Function, leaves, map_arrays
from xpnet.errors import BackendError

SHORTEST = 64  # steps for which a loop is compiled, at least


class JaxBackend(Backend):
    """JAX on any of its devices."""

    threads_from = None
    overhead = 2e-6

    def __init__(self, device: Any = None) -> None:
        self.name, self.xp, self.device = "jax", jnp, _find_device(device)
        self.array_type = jax.Array

    @classmethod
    def devices(cls) -> list[str]:
        return [f"{device.platform}:{device.id}" for device in _all_devices()]

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

    def copy(self, x: Array) -> Array:
        with self.scope(precision(x)):
            return jax.device_put(x, self.device, may_alias=False)

    def stack(self, arrays: Sequence[Array]) -> Array:
        if self.device.platform != "cpu":
            return super().stack(arrays)
        return self.asarray(np.stack([np.asarray(x) for x in arrays]))  # JAX compiles a program for each shape

    def unstack(self, x: Array) -> list[Array]:
        if self.device.platform != "cpu":
            return [self.copy(part) for part in jnp.unstack(x)]
        return [self.asarray(part) for part in np.asarray(x)]

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def loop(self, step: Function, gather: Function, data: Any) -> Loop:
        return CompiledLoop(self, step, gather, data)

    def all_finite(self, arrays: Iterable[Array]) -> bool:
        arrays = tuple(arrays)
        with self.scope(precision(arrays)):
            return bool(_all_finite(arrays))

    def synchronize(self) -> None:
        jax.block_until_ready([x for x in jax.live_arrays(self.device.platform) if self.device in x.devices()])

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        ours = cast(x, dtype)
        if ours is x:  # device_put may share memory, or read it later, when the caller may have written to it
            ours = x.copy()
        with jax.enable_x64(True) if ours.dtype.itemsize == 8 else nullcontext():  # else it is narrowed silently
            return jax.device_put(ours, self.device)  # jnp.array would compile a program for each shape

    def _from_device(self, x: Array) -> Array:
        if isinstance(x, jax.Array):
            return jax.device_put(x, self.device)
        return jax.device_put(jnp.from_dlpack(x), self.device, may_alias=False).block_until_ready()


class CompiledLoop:
    """Repeats a step by a compiled loop."""

    engine = "compiled loop"

    def __init__(self, backend: JaxBackend, step: Function, gather: Function, data: Any) -> None:
        self.backend, self.data, self.repeat = backend, data, _compile_loop(step, gather)

    def __call__(self, state: Any, batches: Any) -> Any:
        """Repeat the step for every batch; nothing is donated, so the state stays as it is."""
        steps = leaves(batches)[0].shape[0]
        length = max(SHORTEST, 1 << (steps - 1).bit_length())
        with self.backend.scope(precision(state)):
            padded = map_arrays(lambda x: self.backend.asarray(_pad(x, length)), batches)
            return self.repeat(state, padded, np.int32(steps), self.data)


@jax.jit
def _all_finite(arrays: tuple[Array, ...]) -> Array:  # compiled, it makes no array as large as any of these
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in arrays]))


@lru_cache(maxsize=64)
def _compile_loop(step: Callable[..., Any], gather: Callable[..., Any]) -> Callable[..., Any]:
    """Compile the loop over a step; JAX compiles it again for each set of shapes, but not for each number of steps."""
    take = partial(jax.lax.dynamic_index_in_dim, keepdims=False, allow_negative_indices=False)

    def repeat(state: Any, batches: Any, steps: Array, data: Any) -> Any:
        def once(i: Array, state: Any) -> Any:
            batch = map_arrays(partial(take, index=i), batches)
            return step(state, gather(data, batch, jnp), jnp)

        return jax.lax.fori_loop(0, steps, once, state)

    return jax.jit(repeat)


def _pad(x: np.ndarray, length: int) -> np.ndarray:
    """Lengthen the first axis by zeros, so that few different shapes are compiled."""
    padded = np.zeros((length, *x.shape[1:]), x.dtype)
    padded[: len(x)] = x
    return padded


def _all_devices() -> list[Any]:
    platforms = dict.fromkeys([jax.default_backend(), "cpu"])
    return [device for platform in platforms for device in jax.devices(platform)]


def _find_device(device: Any) -> Any:
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
