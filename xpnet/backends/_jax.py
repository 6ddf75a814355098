"""JAX: the loop is compiled."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from threading import Lock
from types import MethodType
from typing import Any
from weakref import ref

import jax
import jax.numpy as jnp
import numpy as np

from xpnet._identity import describe, is_fixed
from xpnet.backends._numpy import NumPyBackend
from xpnet.backends.base import ON_CPU, ON_GPU, Backend, Loop, cast, host_array, precision
from xpnet.core.arrays import Function, Native, map_arrays, take_examples
from xpnet.errors import BackendError

MIN_COMPILED_STEPS = 64  # of a compiled loop; fewer batches are padded
MOST_DOUBLED = 1024  # rows that are padded to a power of two
MAX_LOOPS = 128  # compiled loops that are kept, a few megabytes each
MAX_CALLS = 1024  # other compiled functions that are kept, half a megabyte each


class CompiledLoop(Loop):
    """Repeats a step by a compiled loop."""

    def __init__(self, backend: Backend, step: Function, make_minibatch: Function) -> None:
        super().__init__(backend, step, make_minibatch)
        self.identity = "" if is_fixed(step) else describe(step)  # what a user's function refers to may change

    @property
    def engine(self) -> str:
        return "compiled loop"

    def __call__(self, state: Any, batches: Any, data: Any) -> Any:
        """Repeat the step for every batch; no buffer is donated, so the state does not change."""
        backend, steps = self.backend, batches.index.shape[0]
        length, repeat = (
            max(MIN_COMPILED_STEPS, 1 << (steps - 1).bit_length()),
            partial(_repeat, self.step, self.make_minibatch),
        )
        with backend.scope(precision(state)):
            padded = map_arrays(lambda x: backend.asarray(_pad(x, length)), batches)
            return _LOOPS.run((backend.device, self.identity), repeat, state, padded, np.int32(steps), data)


class JaxBackend(Backend):
    """JAX on any of its devices."""

    loop_type = CompiledLoop
    threads_from = None
    compiles = True
    remark = "with compiled loops"

    def __init__(self, device: Any = None) -> None:
        self.name, self.xp, self.device = "jax", jnp, _find_device(device)
        self.array_type = jax.Array
        self.on_host = self.device.platform == "cpu"
        self.speed = ON_CPU._replace(layer=2e-6) if self.on_host else ON_GPU

    @classmethod
    def devices(cls) -> list[str]:
        platforms = dict.fromkeys([jax.default_backend(), "cpu"])
        return [_name_device(device) for platform in platforms for device in jax.devices(platform)]

    @property
    def device_name(self) -> str:
        return _name_device(self.device)

    @contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        with ExitStack() as settings:
            settings.enter_context(jax.default_device(self.device))
            if dtype == "float64":
                settings.enter_context(jax.enable_x64(True))  # around our own work only, never for the whole process
            if jax.config.jax_default_matmul_precision is None:  # pyright: ignore  # float32 is float32, unless chosen
                settings.enter_context(jax.default_matmul_precision("float32"))
            yield

    def asarray(self, x: Any, dtype: str | None = None, name: str = "the array") -> Native:
        with self.scope(dtype) if dtype == "float64" else nullcontext():  # else it would become a float32
            return super().asarray(x, dtype, name)

    def copy(self, x: Native) -> Native:
        with self.scope(precision(x)):
            return jax.device_put(x, self.device, may_alias=False)

    def stack(self, arrays: Sequence[Native]) -> Native:
        if not self.on_host:
            return super().stack(arrays)
        return self.asarray(np.stack([self.to_numpy(x) for x in arrays]))  # JAX compiles a program for each shape

    def take_part(self, x: Native, k: int) -> Native:
        if not self.on_host:
            return super().take_part(x, k)
        return self.asarray(self.to_numpy(x)[k])

    def to_numpy(self, x: Native) -> np.ndarray:
        return host_array(x)

    def call(self, function: Function, *args: Any) -> Any:
        if not is_fixed(function):  # a program would not notice a change in what a user's function refers to
            return super().call(function, *args)
        return _CALLS.run(self.device, partial(function, xp=jnp), *args)

    def map_rows(self, function: Function, x: Native) -> Native:
        m, length = x.shape[0], padded_length(x.shape[0])
        if m == length:
            return function(x)
        if not self.on_host:
            return function(jnp.concat([x, jnp.zeros_like(x, shape=(length - m, *x.shape[1:]))]))[:m]
        with self.scope(precision(x)):  # by NumPy, as JAX would compile a program for each m
            return self.asarray(self.to_numpy(function(self.asarray(_pad(self.to_numpy(x), length))))[:m])

    def all_finite(self, arrays: Iterable[Native]) -> bool:
        if self.on_host:
            return _HOST.all_finite(map(self.to_numpy, arrays))
        return super().all_finite(arrays)

    def synchronize(self) -> None:
        jax.block_until_ready([x for x in jax.live_arrays(self.device.platform) if self.device in x.devices()])

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Native:
        copy = cast(x, dtype)
        if copy is x:  # device_put may share memory, or read it later, when the caller may have written to it
            copy = x.copy()
        with jax.enable_x64(True) if copy.dtype.itemsize == 8 else nullcontext():  # else it is narrowed silently
            return jax.device_put(copy, self.device)  # jnp.array would compile a program for each shape

    def _from_device(self, x: Native) -> Native:
        if isinstance(x, jax.Array):
            return jax.device_put(x, self.device)
        return jax.device_put(jnp.from_dlpack(x), self.device, may_alias=False).block_until_ready()


class Programs:
    """A cache of compiled programs, by the functions that they were made from and the shapes of the arguments.

    So a structure is compiled once, for all networks that have it. The cache does not keep a user's functions alive: a
    program does not refer to them, and is dropped when one of them is freed. At most `most` programs are kept, those
    used last.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.programs: OrderedDict[Any, tuple[Function, list[Any]]] = OrderedDict()  # with references to the functions
        self.lock = Lock()  # callbacks of `_watch` do not take it: one may run while this thread holds it

    def run(self, place: Any, function: Function, *args: Any) -> Any:
        """Call a function of nests of arrays, compiled for a place."""
        if jax.config.jax_disable_jit:  # pyright: ignore  # the user looks for a mistake
            return function(*args)
        functions: list[Any] = []
        arrays, structure = jax.tree.flatten(args)
        key = (
            *(_identify(function, functions), structure, *((x.shape, x.dtype) for x in arrays), place),
            *(jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision),  # pyright: ignore
        )
        with self.lock:
            if key in self.programs:
                self.programs.move_to_end(key)
        program, _ = self.programs.get(key) or self._compile(key, function, functions, args)
        return program(*args)

    def _compile(self, key: Any, function: Function, functions: list[Any], args: Any) -> Any:
        # Not `jit` alone, which would keep the function alive; and of a new one, as JAX keeps caches while that lives
        program = jax.jit(partial(function)).lower(*args).compile()
        references = [self._watch(part, key) for part in functions]
        with self.lock:
            self.programs[key] = program, references
            while len(self.programs) > self.most:
                self.programs.popitem(last=False)
        return program, references

    def _watch(self, x: Any, key: Any) -> Any:
        """Drop a program when `x` is freed; keep `x` alive if it cannot be watched."""
        try:
            return ref(x, lambda _: self.programs.pop(key, None))
        except TypeError:
            return x


_LOOPS, _CALLS = Programs(MAX_LOOPS), Programs(MAX_CALLS)
_HOST = NumPyBackend()  # for what it does on a CPU without compiling


def _identify(x: Any, functions: list[Any]) -> Any:
    """Return a key for a function with its parts: the same for the same functions and equal numbers.

    The functions are appended to `functions`. The key does not keep them alive, and is valid only while they live.
    """
    if isinstance(x, tuple):
        parts = type(x), *x
    elif isinstance(x, partial):
        parts = partial, x.func, x.args, tuple(x.keywords.items())
    elif isinstance(x, MethodType):
        parts = MethodType, x.__func__, x.__self__
    elif x is None or isinstance(x, (int, float, str)):
        return type(x), x
    else:
        functions.append(x)
        return id(x)
    return tuple([_identify(part, functions) for part in parts])


def _repeat(step: Function, make_minibatch: Function, state: Any, batches: Any, steps: Native, data: Any) -> Any:
    """Repeat a step; compiled again for each set of shapes, but not for each number of steps."""
    take = partial(jax.lax.dynamic_index_in_dim, keepdims=False, allow_negative_indices=False)
    examples, encoding = data

    def once(i: Native, state: Any) -> Any:
        batch = map_arrays(partial(take, index=i), batches)
        return step(state, make_minibatch(take_examples(examples, batch.index, jnp), encoding, batch, jnp), jnp)

    return jax.lax.fori_loop(0, steps, once, state)


def padded_length(m: int) -> int:
    """Choose the number of rows to compute, at least m: few numbers, and at most a quarter too many if m is large.

    Examples
    --------
    >>> [padded_length(m) for m in (1, 3, 1000, 1025, 5000)]
    [1, 4, 1024, 1280, 5120]
    """
    power = 1 << (m - 1).bit_length()
    step = power // 8 if power > MOST_DOUBLED else power
    return -(-m // step) * step


def _pad(x: np.ndarray, length: int) -> np.ndarray:
    """Pad the first axis with zeros, so that few different shapes are compiled."""
    return np.concatenate([x, np.zeros((length - len(x), *x.shape[1:]), x.dtype)])


def _name_device(device: Any) -> str:
    return f"{device.platform}:{device.id}"  # JAX 0.9 itself writes "TFRT_CPU_0", and does not know that name


def _find_device(device: Any) -> Any:
    """Turn None, ``"cpu"``, ``"cuda:1"`` or a JAX device into a JAX device."""
    if device is None:
        device = jax.config.jax_default_device or jax.devices()[0]  # pyright: ignore  # the former may be a name too
    if isinstance(device, jax.Device):
        return device
    platform, _, index = str(device).partition(":")
    try:
        return dict(enumerate(jax.devices(platform or "''")))[int(index or 0)]
    except (RuntimeError, KeyError, ValueError) as error:
        raise BackendError(
            f'device={device!r} cannot be used with backend="jax" ({error}); it has {", ".join(JaxBackend.devices())}'
        ) from error


BACKEND = JaxBackend
