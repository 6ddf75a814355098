"""An array library on a device: moving arrays there and back, and repeating a step; and arrays of other libraries."""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import array_api_compat
import numpy as np

from xpnet._checks import name_backend
from xpnet.backends._machine import limit_thread_pools
from xpnet.core.arrays import Array, Function, Namespace, Native, blocks, leaves, map_arrays, select, take_examples
from xpnet.core.scaling import Moments, moments
from xpnet.errors import ArgumentError, BackendError

__all__ = [
    "CONVERSION_ERRORS",
    "ON_CPU",
    "ON_GPU",
    "OPERATORS",
    "UFUNCS",
    "Backend",
    "BindShortcut",
    "Eager",
    "GroupLimits",
    "Loop",
    "NotRecordableError",
    "PatchedNamespace",
    "Place",
    "Speed",
    "as_array",
    "astype",
    "call_and_copy",
    "cast",
    "find_operators",
    "host_array",
    "is_array",
    "on_host",
    "open_namespace",
    "precision",
    "refuse_graph",
]

# Errors that the conversion of an object to an array may raise, including those of a user's own __array__
CONVERSION_ERRORS = (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError, StopIteration)
# DLPack's numbers for a CPU, and for memory of the host that is pinned for CUDA or ROCm
DLPACK_HOST = (1, 3, 11)
# What a namespace must have, besides functions that only a function of the user calls
NAMESPACE_FUNCTIONS = (
    *("__array_namespace_info__", "abs", "all", "any", "argmax", "asarray", "astype", "broadcast_to", "ceil", "clip"),
    *("concat", "count_nonzero", "cumulative_sum", "exp", "expm1", "eye", "finfo", "from_dlpack", "isdtype"),
    *("isfinite", "log", "log1p", "logical_not", "matmul", "max", "maximum", "mean", "min", "minimum", "ones_like"),
    *("permute_dims", "reshape", "sign", "sort", "sqrt", "stack", "std", "sum", "take", "tanh", "var", "vecdot"),
    *("where", "zeros", "zeros_like"),
)
NAMESPACE_DTYPES = ("float32", "float64", "int32", "uint8")
# ... and its arrays
ARRAY_MEMBERS = (
    *("shape", "ndim", "dtype", "device", "mT", "__getitem__", "__bool__", "__int__", "__float__", "__neg__"),
    *("__abs__", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__"),
    *("__pow__", "__rpow__", "__matmul__", "__and__", "__or__", "__xor__", "__rshift__", "__lt__", "__le__"),
    *("__gt__", "__ge__", "__eq__", "__ne__", "__invert__", "__array_namespace__", "__dlpack__", "__dlpack_device__"),
    "to_device",
)
# Operators that a step may use, and the functions that compute them in NumPy and CuPy
OPERATORS = (
    *("add", "sub", "mul", "truediv", "neg", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"),
    *("and", "or", "xor", "lshift", "rshift", "matmul"),
)
UFUNCS = """
    add subtract multiply true_divide negative absolute invert less less_equal greater greater_equal equal not_equal
    bitwise_and bitwise_or bitwise_xor left_shift right_shift matmul
"""

# (out, *args, **options) -> call that writes the result into `out`; None if there is none for these operands
BindShortcut = Callable[..., Callable[[], Any] | None]


WIDE_DTYPES = {  # that float32 would round
    *("float64", "float96", "float128", "int32", "int64", "uint32", "uint64"),
}
WIDE_CODES = "dgiIlLqQ"  # the codes of the same dtypes in NumPy


class Speed(NamedTuple):
    """Seconds that the parts of a training step take, roughly. They decide how many steps a chunk has."""

    layer: float  # calls of operations, for each layer
    weight: float  # passes over the weights, for each of them
    product: float  # products, for each weight and example
    copies: float  # a hundred times copying and checking the state, for each weight


ON_CPU = Speed(20e-6, 0.7e-9, 0.03e-9, 250e-9)  # measured with NumPy on one core of a Xeon with AVX-512
ON_GPU = Speed(15e-6, 0.03e-9, 0.5e-12, 3e-9)  # not measured: from the data sheets of smaller GPUs


class GroupLimits(NamedTuple):
    """How many networks of one shape take their steps together on a CPU."""

    numbers: int  # weights and activations of all of them, at most
    fewest: int  # networks; where fewer would fit into a group, they train one after the other


class Loop:
    """A function that repeats a step, as `Backend.loop` describes it: a loop in Python, or something faster."""

    def __init__(self, backend: "Backend", step: Function, make_minibatch: Function) -> None:
        self.backend, self.step, self.make_minibatch = backend, step, make_minibatch

    @property
    def engine(self) -> str:
        """How the last steps ran, in a few words."""
        return "plain loop"

    def __call__(self, state: Any, batches: Any, data: Any) -> Any:
        """Repeat the step for every batch, on a copy of the state."""
        backend = self.backend
        # Training checks for itself whether costs and weights are finite
        with backend.scope(precision(state)), np.errstate(all="ignore"):
            return backend.take_steps(self.run, state, map_arrays(backend.asarray, batches), data)

    def run(self, state: Any, batches: Any, data: Any) -> Any:
        """Repeat the step for every batch, on a copy of the state; batches are on the device, the call in a scope."""
        return self.repeat(map_arrays(self.backend.copy, state), batches, data)

    def repeat(self, state: Any, batches: Any, data: Any) -> Any:
        """Repeat the step in Python. It may write into `state`; all arrays are on the device."""
        (examples, encoding), xp = data, self.backend.xp
        for i in range(batches.index.shape[0]):
            batch = select(batches, i)
            rows = take_examples(examples, batch.index, xp)
            state = self.step(state, self.make_minibatch(rows, encoding, batch, xp), xp)
            state = map_arrays(self.backend.keep_order, state)  # as after a resume, down to the last bit
        return state

    def end_training(self, most: int) -> int:
        """Release memory, but keep up to `most` bytes that the next training can reuse; return the bytes kept."""
        return 0


class Backend:
    """An array library on a device; this class serves any Array API namespace.

    Parameters
    ----------
    name
        Name of the library.
    xp
        Its Array API namespace.
    device
        Its device, in the library's own terms; None for its default.

    Examples
    --------
    >>> from xpnet import get_backend
    >>> backend = get_backend("numpy")
    >>> backend.to_numpy(backend.asarray([1, 2], "float32"))
    array([1., 2.], dtype=float32)
    """

    loop_type: ClassVar[type[Loop]] = Loop
    # Multiplications in a matrix product from which several threads are worth it; None if the library manages its own
    threads_from: ClassVar[int | None] = 1 << 24
    shares_steps: ClassVar[bool] = False  # whether its loop has threads of its own, which share the work of a step
    speed: Speed = ON_CPU
    kept_bytes: ClassVar[int] = 1 << 26  # most bytes that the loops of a network keep between two trainings
    remark: ClassVar[str] = "with a plain loop"  # how it repeats steps here
    compiles: ClassVar[bool] = False  # whether a step with arrays of other shapes must be compiled, which takes seconds
    # Measured with JAX on one core of an AMD EPYC (Zen 5): larger groups gain nothing more, and larger networks spend
    # most of their time in matrix products
    group_limits: ClassVar[GroupLimits] = GroupLimits(numbers=1 << 19, fewest=4)

    def __init__(self, name: str, xp: Namespace, device: Any = None) -> None:
        self.name = name
        self.xp = xp
        example = xp.zeros(1, device=device)
        self.device = array_api_compat.device(example)
        self.array_type = type(example)
        self.on_host = on_host(example)

    def __repr__(self) -> str:
        return f"<Backend {self.name} on {self.device_name}>"

    def __eq__(self, other: object) -> bool:
        """Tell whether it has the same library and device."""
        return isinstance(other, Backend) and self.name == other.name and bool(self.device == other.device)

    def __hash__(self) -> int:
        return hash((self.name, self.device_name))

    def __reduce__(self) -> Any:
        """Copy and pickle by the names of library and device."""
        if type(self) is Backend:
            return _import_namespace, (self.name, self.device_name)
        return type(self), (self.device_name,)

    @property
    def device_name(self) -> str:
        """Name of the device, as ``device=`` accepts it."""
        return short_name(self.device)

    @property
    def library(self) -> Any:
        """The library, as ``backend=`` accepts it: its name, or its namespace module if it has no name here."""
        return self.xp if type(self) is Backend else self.name

    @classmethod
    def devices(cls) -> list[str]:
        """Names of the devices that are available here."""
        return ["cpu"]

    def scope(self, dtype: str) -> AbstractContextManager[Any]:
        """Return a context with the library's settings for computing in `dtype` on this device.

        Arithmetic on arrays needs it: elsewhere NumPy warns of numbers that overflow, JAX narrows float64, PyTorch
        records for autograd, and CuPy allocates on its current device. The methods of a backend enter it themselves;
        contexts may be nested.
        """
        return np.errstate(all="ignore")

    def asarray(self, x: Any, dtype: str | None = None, name: str = "the array") -> Array:
        """Move `x` to the device; an array that is there already is shared, not copied.

        Parameters
        ----------
        x
            An array of any library, or anything that NumPy can convert to an array.
        dtype
            Name of the dtype of the result; None keeps its own.
        name
            Name of `x` in an error.

        Raises
        ------
        ArgumentError
            If `x` is on a device and this backend computes on the host: data never moves to the host silently.
        """
        x = as_array(x, name)
        if array_api_compat.device(x) is None:
            raise ArgumentError(
                f"{name} has no values, as JAX only traces what is computed with it; call the network outside of jit, "
                "vmap and grad, or make a function for these by xpnet.export.to_jax"
            )
        if isinstance(x, np.ndarray) or (not isinstance(x, self.array_type) and on_host(x)):
            return self._from_host(host_array(x), dtype)
        if self.on_host and not on_host(x):
            raise ArgumentError(
                f"{name} is on {array_api_compat.device(x)} ({library(x)}), but the network computes on the host "
                f"({self.name}); move the network to the data with {_suggest_move(x)}"
            )
        x = self._from_device(x)
        if dtype is None:
            return x
        with self.scope(dtype):
            return self.xp.astype(x, getattr(self.xp, dtype), copy=False)

    def copy(self, x: Array) -> Array:
        """Copy an array of this device, in the memory order in which the library multiplies fastest."""
        return self.xp.asarray(x, copy=True)

    def keep_order(self, x: Array) -> Array:
        """Return an array in the memory order of `copy`; a copy only where it is in another."""
        return x

    def make_contiguous(self, x: Array) -> Array:
        """Return an aligned array with its rows one after the other in memory; a copy only where it is not one.

        The order in memory can change the last bit of sums and products.
        """
        return x

    def copy_to_read(self, x: Array) -> Array:
        """Copy an array of this device; the copy is read-only where the library can protect an array."""
        return self.copy(x)

    def copy_nest(self, nest: Any, dtype: str) -> Any:
        """Copy a nest of NumPy arrays to the device: real numbers in `dtype`, integers in their own dtypes."""
        return map_arrays(lambda x: self.copy(self.asarray(x, dtype if x.dtype.kind == "f" else None)), nest)

    def stack(self, arrays: Sequence[Array]) -> Array:
        """Stack arrays of the same shape, along a new axis in front."""
        return self.xp.stack(list(arrays))

    def take_part(self, x: Array, k: int) -> Array:
        """Copy element `k` along the first axis of an array, as `copy` does."""
        return self.copy(x[k, ...])

    def to_numpy(self, x: Native) -> np.ndarray:
        """Move an array to the host: the only way back. Synchronizes."""
        if on_host(x):
            return host_array(x)
        try:
            return np.from_dlpack(x, device="cpu", copy=True)
        except TypeError:  # DLPack of before 2023, for memory that NumPy can read
            return host_array(x)

    def loop(self, step: Function, make_minibatch: Function) -> Loop:
        """Build a function that repeats a step over minibatches.

        A call ``state = run(state, batches, (examples, encoding))`` means::

            for i in range(n):
                rows = take_examples(examples, batches.index[i], xp)
                state = step(state, make_minibatch(rows, encoding, batches[i], xp), xp)

        The state passed in does not change, and the state returned is never written to again. A loop may compile or
        record the step, and reuse that when it is called with arrays of the same shapes, whatever their values: make
        one loop for all chunks of a training, or for several trainings.

        Parameters
        ----------
        step
            ``step(state, minibatch, xp) -> state``, a pure function, except that it may write into its state.
        make_minibatch
            ``make_minibatch(rows, encoding, batch, xp) -> minibatch``, a pure function that also takes stacks of rows
            and batches, and then returns a stack of minibatches.

        Returns
        -------
        Loop
            ``run(state, batches, data) -> state``. `state` is a nest of arrays on the device. `batches` is a named
            tuple of NumPy arrays on the host in their final dtypes, with an axis of steps in front; its `index` holds
            the numbers of the examples. `data` is a pair of nests of arrays on the device: examples and encoding.
        """
        return self.loop_type(self, step, make_minibatch)

    def take_steps(self, function: Function, *args: Any) -> Any:
        """Call a function that takes steps of a training; until it ends, subnormal numbers are 0 in this thread.

        Units that have died leave moments that shrink until they are subnormal, and then stay so, and some CPUs take a
        hundred cycles and more for each operation with them.
        """
        flush, restore = self._find_modes()
        try:
            flush()
            return function(*args)
        finally:
            restore()

    def call(self, function: Function, *args: Any) -> Any:
        """Call a pure function of nests of arrays, ``function(*args, xp)``, within a scope; JAX compiles it."""
        return function(*args, self.xp)

    def map_rows(self, function: Function, x: Array) -> Array:
        """Apply a function to rows, (m, n), each of which it maps by itself; JAX compiles few numbers of rows."""
        return function(x)

    def records(self, x: Any) -> bool:
        """Whether the library records what is computed with an array, to differentiate it by itself."""
        return False

    def join(self, function: Function, pullback: Function, x: Array) -> Array:
        """Compute ``function(x)`` as a part of the graph that the library records.

        Parameters
        ----------
        function
            ``function(x) -> array``.
        pullback
            ``pullback(x, g)``: the gradient by x, where g is that by the result.
        x
            An array that the backend `records`.
        """
        raise NotImplementedError

    def repeat_function(self, function: Function, nest: Any, x: Array) -> Function | None:
        """Make a faster form of a pure function for one nest and many arrays; None if there is none.

        Parameters
        ----------
        function
            ``function(nest, x, xp) -> array``.
        nest
            Arrays that nobody writes into.
        x
            An array; all later ones have its shape and dtype.

        Returns
        -------
        callable or None
            ``repeated(x) -> array or None``. The result has the bits of that of `function`; None means that it cannot
            be used now, such as in several threads at once.
        """
        return None

    def all_finite(self, arrays: Iterable[Array]) -> bool:
        """Whether no array holds NaN or infinity. Synchronizes, once."""
        xp, arrays = self.xp, list(arrays)
        with self.scope(precision(tuple(arrays))):
            return bool(xp.all(xp.stack([xp.all(xp.isfinite(rows)) for x in arrays for rows in blocks(x)])))

    def limit_threads(self, number: int) -> AbstractContextManager[Any]:
        """Return a context that limits the threads that multiply matrices, and restores their number at its end."""
        return limit_thread_pools(self.name, number)

    def share_steps(self, number: int) -> AbstractContextManager[Any]:
        """Return a context in which this many threads share the work of a step; for backends with `shares_steps`."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until the device has finished all its work. Synchronizes."""

    def _find_modes(self) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Return two calls: subnormal numbers are 0 from now on; and as they are now. Here they do nothing.

        Both must be calls of C, before which no signal handler can raise an error.
        """
        return int, int

    def _from_host(self, x: np.ndarray, dtype: str | None) -> Array:
        return self.xp.asarray(np.asarray(cast(x, dtype), order="C"), device=self.device)

    def _from_device(self, x: Array) -> Array:
        if isinstance(x, self.array_type):
            return array_api_compat.to_device(x, self.device)
        return self.xp.from_dlpack(x, device=self.device)


def find_operators(module: Any, names: str) -> dict[str, Callable[..., Native]]:
    """Find the functions of a library with these names, in the order of `OPERATORS`."""
    return {operator: getattr(module, name) for operator, name in zip(OPERATORS, names.split(), strict=True)}


def astype(x: Native, dtype: Any, copy: bool = True, device: Any = None, out: Native | None = None) -> Native:
    """Convert an array of NumPy or CuPy to another dtype."""
    if out is None:
        return x.astype(dtype, copy=copy)
    out[...] = x
    return out


class PatchedNamespace:
    """An Array API namespace with some functions replaced; those that a step needs also take `out`."""

    def __init__(self, module: Namespace, **functions: Callable[..., Native]) -> None:
        self._module = module
        vars(self).update(functions)

    def __getattr__(self, name: str) -> Any:
        """Take everything else from the module, and look it up only once."""
        value = getattr(self._module, name)
        setattr(self, name, value)
        return value


def call_and_copy(
    assign: Callable[..., None], function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any], out: Native
) -> None:
    """Call a function without `out`, and copy its result into an array.

    Raises
    ------
    NotRecordableError
        If the result has another shape, as it may where that depends on values.
    """
    result = function(*args, **options)
    if tuple(getattr(result, "shape", ())) != tuple(out.shape):
        raise NotRecordableError("the shape of a function's result depends on values")
    assign(out, result)


class NotRecordableError(Exception):
    """A step does something that cannot be recorded; a plain loop can run it.

    It is not a TypeError or AttributeError, which much code catches to try something else.
    """


class Eager(Backend):
    """An array library that computes at once and can write results into existing arrays.

    To add one, implement these methods; its `loop_type` is `ReplayLoop` or a class derived from it.
    """

    remark = "with the loop in Python"
    # Most elements of the minibatches that are gathered together: half a mebibyte fits the cache of a CPU
    gathered_together: ClassVar[int] = 1 << 17
    operators: ClassVar[dict[str, Callable[..., Native]]]  # functions of "add" (+) and other operators; they take `out`
    shortcuts: ClassVar[dict[Any, BindShortcut]] = {}  # faster ways to bind functions written in Python
    not_elementwise: ClassVar[set[Callable[..., Native]]] = set()  # functions with `out` whose numbers are not operands
    slow_with_numbers: ClassVar[set[Callable[..., Native]]] = set()  # functions that are faster with two full arrays
    with_out: ClassVar[dict[str, Callable[..., Native]]]  # functions of the namespace that take `out`, by name
    by_columns: ClassVar[bool] = False  # whether weights and their gradients lie in memory by columns, not by rows
    depends_on_alignment: ClassVar[bool] = False  # whether memory alignment can change the last bit of a product

    def assign(self, target: Native, x: Any) -> None:
        """Write an array or a number into an array."""
        target[...] = x

    def empty_like(self, x: Native) -> Native:
        """Allocate an array of the same shape, dtype and strides."""
        return self.xp.empty_like(x)

    def memory_layout(self, x: Native) -> tuple[Any, ...]:
        """Return shape, dtype and strides: arrays that are equal in these can replace each other."""
        return x.shape, x.dtype, x.strides

    def shares_memory(self, x: Native, y: Native) -> bool:
        """Whether one of two arrays is a view of the other, or both are views of the same memory."""
        raise NotImplementedError

    def is_aligned(self, x: Native) -> bool:
        """Whether memory alignment matches a fresh allocation; it can change the last bit of a product."""
        return True

    def make_constant(self, number: float, like: Native) -> Any:
        """Convert a number to the form that is fastest as an operand beside the array `like`."""
        return number

    def bind(
        self, function: Callable[..., Native], args: Sequence[Any], options: Any, out: Native
    ) -> Callable[[], Any]:
        """Return a call without arguments that writes the result of a function into `out`."""
        shortcut = self.shortcuts.get(function)
        if shortcut is None:
            return partial(function, *args, out=out, **options)
        return shortcut(out, *args, **options) or partial(call_and_copy, self.assign, function, args, options, out)

    def bind_assign(self, target: Native, x: Native) -> Callable[[], Any]:
        """Return a call without arguments that writes one array into another."""
        return partial(self.assign, target, x)


class Place(NamedTuple):
    """Where a network computes, and in which dtype.

    Numbers that the dtype would round, and that are to be scaled first, keep their own dtype until then. They are
    called wide. Those on the host stay there, in NumPy arrays. `find_place` makes one.
    """

    backend: Backend
    dtype: str
    host: Backend  # NumPy

    def scope(self) -> AbstractContextManager[Any]:
        """Enter the library's settings for computing in this dtype on this device."""
        return self.backend.scope(self.dtype)

    def is_wide(self, x: Array) -> bool:
        """Tell whether these are numbers, other than classes, that the network's dtype would round."""
        if self.dtype == "float64":
            return False
        if isinstance(x, np.ndarray):
            return x.dtype.char in WIDE_CODES
        return str(x.dtype).rpartition(".")[2] in WIDE_DTYPES

    def home(self, x: Array) -> Backend:
        """Return the backend of an array that was read; unscaled numbers may still be in a NumPy array."""
        return self.backend if isinstance(x, self.backend.array_type) else self.host

    def move(self, x: Array, name: str) -> Array:
        """Move numbers to be scaled to the device; those on the host that the dtype would round stay there."""
        if not self.is_wide(x):
            return self.backend.asarray(x, self.dtype, name)
        if isinstance(x, np.ndarray):
            return x
        return host_array(x) if on_host(x) else self.backend.asarray(x, None, name)

    def arrange(self, x: Array) -> Array:
        """Bring rows into one order in memory, so that results do not depend on it; wide ones when they are scaled."""
        return x if self.is_wide(x) else self.home(x).make_contiguous(x)

    def find_not_finite(self, x: Array) -> tuple[int, int] | None:
        """Find row and place in the row of the first number that is not finite; None if all are. Synchronizes."""
        home, first = self.home(x), 0
        if home.all_finite([x]):
            return None
        for block in blocks(x):
            rows = home.to_numpy(block).reshape(block.shape[0], -1)
            if not np.isfinite(rows).all():
                break
            first += block.shape[0]
        row, column = np.argwhere(~np.isfinite(rows))[0]
        return first + int(row), int(column)

    def take(self, x: Array, index: np.ndarray) -> Array:
        """Take some of the rows of an array that was read."""
        home = self.home(x)
        with home.scope(precision(x)):
            return home.xp.take(x, home.asarray(index), axis=0)

    def concat(self, arrays: Sequence[Array]) -> Array:
        """Concatenate arrays that were read."""
        home = self.home(arrays[0])
        with home.scope(precision(arrays[0])):
            return home.xp.concat(list(arrays), axis=0)

    def moments(self, x: Array) -> Moments:
        """Compute the moments of columns that were read, as NumPy arrays. Synchronizes."""
        home, dtype = self.home(x), "float64" if self.is_wide(x) else self.dtype
        with home.scope(dtype):
            result = moments(home.make_contiguous(home.asarray(x, dtype)), home.xp)
            return Moments(result.n, *(home.to_numpy(array) for array in result[1:]))


def open_namespace(xp: ModuleType, device: Any = None) -> Backend:
    """Make a backend of any Array API namespace module, on one of its devices; None means its default device.

    Raises
    ------
    BackendError
        If the module is not such a namespace, or does not have the device. What it lacks is named all at once.
    """
    request = name_backend(xp.__name__, device)
    missing = [name for name in (*NAMESPACE_FUNCTIONS, *NAMESPACE_DTYPES) if not hasattr(xp, name)]
    numbers = returned = np.array([[0.5, 2.0]], np.float32)
    try:
        if isinstance(device, str) and hasattr(xp, "__array_namespace_info__"):
            devices = xp.__array_namespace_info__().devices()
            device = next((candidate for candidate in devices if _is_name_of(device, candidate)), device)
        if hasattr(xp, "zeros"):
            x = xp.zeros((1, 1), device=device)
            missing += [f"{type(x).__name__}.{name}" for name in ARRAY_MEMBERS if not _has_member(x, name)]
        if not missing:
            backend = Backend(xp.__name__, xp, device)
            returned = backend.to_numpy(backend.asarray(numbers))
    except Exception as error:
        raise BackendError(
            f"{request} cannot be used ({type(error).__name__}: {error}); "
            "give an Array API namespace module and one of its devices"
        ) from error
    if missing:
        raise BackendError(
            f"{request} cannot be used, as it lacks {', '.join(missing)}; give an Array API namespace module that has "
            "all of them"
        )
    if returned.dtype != numbers.dtype or not np.array_equal(returned, numbers):
        raise BackendError(
            f"{request} cannot be used, as {numbers!r} came back from it as {returned!r}; its asarray must read NumPy "
            "arrays, and np.from_dlpack its own"
        )
    return backend


def _has_member(x: Any, name: str) -> bool:
    """Whether an array has a method or attribute; Python looks for operators in its class, and `object` has some."""
    if name.startswith("__"):
        return getattr(type(x), name, None) is not getattr(object, name, None)
    return getattr(x, name, None) is not None


def is_array(x: Any) -> bool:
    """Whether this is an array with values, of any library; Dask's are only plans, which NumPy can carry out.

    Examples
    --------
    >>> is_array(np.ones(2)), is_array([1.0, 1.0])
    (True, False)
    """
    return array_api_compat.is_array_api_obj(x) and not array_api_compat.is_dask_array(x)


def as_array(x: Any, name: str = "the array", dtype: Any = None) -> Array:
    """Return an array of any library as it is, and convert everything else to a NumPy array.

    Parameters
    ----------
    x
        An array, or anything that NumPy can convert to one. A PyTorch tensor goes through `as_plain_tensor`.
    name
        Name of `x` in an error.
    dtype
        The dtype of the NumPy array, if one is made.

    Raises
    ------
    ArgumentError
        If it cannot be converted.

    Examples
    --------
    >>> as_array([[1.0, 2.0]]).shape
    (1, 2)
    """
    if array_api_compat.is_torch_array(x):
        return as_plain_tensor(x, name)
    if is_array(x):
        return x
    try:
        return np.asarray(x, dtype)
    except CONVERSION_ERRORS as error:
        raise ArgumentError(
            f"{name} cannot be converted to an array ({error}); give an array, or rows of equal length"
        ) from error


def as_plain_tensor(x: Any, name: str) -> Any:
    """Return a PyTorch tensor without what only PyTorch has: a graph, a negative bit, 8-bit floats or bfloat16.

    Raises
    ------
    ArgumentError
        If it is not dense, or has no values.
    """
    for is_other, kind, remedy in (
        (x.is_nested, "a nested tensor", "its to_padded_tensor(0.0)"),
        (str(x.layout) not in ("torch.strided", "torch.jagged"), f"a tensor of layout {x.layout}", "its to_dense()"),
        (x.is_quantized, "a quantized tensor", "its dequantize()"),
        (x.is_meta, "a tensor on the device meta, which holds no values", "one that has values"),
    ):
        if is_other:
            raise ArgumentError(f"{name} is {kind}; give {remedy}")
    x = x.detach().resolve_conj().resolve_neg()
    try:
        return x.float() if x.is_floating_point() and x.element_size() < 4 else x  # float32 holds them exactly
    except RuntimeError as error:
        raise ArgumentError(f"{name} has dtype {x.dtype}, which PyTorch cannot convert; give float32") from error


def refuse_graph(x: Any, name: str) -> None:
    """Refuse a PyTorch tensor that autograd follows, where results would be left out of its graph.

    Raises
    ------
    ArgumentError
        If it requires gradients, or has a tangent.
    """
    if not array_api_compat.is_torch_array(x):
        return
    from torch import is_grad_enabled
    from torch.autograd import forward_ad

    if (x.requires_grad and is_grad_enabled()) or forward_ad.unpack_dual(x).tangent is not None:
        raise ArgumentError(
            f"{name} requires gradients, and of a network only forward with backend='torch' is part of PyTorch's "
            f"graph; give {name}.detach(), and take derivatives by jacobian, vjp or hessian"
        )


def on_host(x: Any) -> bool:
    """Whether an array is in the host's memory: on a device that its library calls a CPU, and DLPack the host.

    DLPack alone would take the simulated devices of array-api-strict for the host, and names alone dpnp's
    "opencl:cpu:0", whose memory only SYCL can read.
    """
    if isinstance(x, np.ndarray):
        return True
    device = array_api_compat.device(x)
    devices = getattr(device, "device_set", [device])  # several, of an array that JAX has divided
    if not all("cpu" in str(one).lower() for one in devices):
        return False
    return len(devices) > 1 or not hasattr(x, "__dlpack_device__") or x.__dlpack_device__()[0] in DLPACK_HOST


def host_array(x: Array) -> np.ndarray:
    """Convert an array on the host, of any library, to a NumPy array; without a copy if the library allows it.

    Numbers of a dtype that NumPy lacks, such as bfloat16, become float32. The standard knows only DLPack, but that
    lacks such dtypes.

    Raises
    ------
    ArgumentError
        If the library offers no way that works.
    """
    x = np.asarray(x) if isinstance(x, np.ndarray) else _read_foreign(x)
    foreign = x.dtype.isbuiltin == 2  # defined by another package
    return x.astype(np.float32) if foreign and np.can_cast(x.dtype, np.float32) else x


def _read_foreign(x: Native) -> np.ndarray:
    for read in (np.asarray, np.from_dlpack) if hasattr(x, "__array__") else (np.from_dlpack,):
        try:
            return read(x)
        except Exception as error:
            reason = error
    raise ArgumentError(f"an array of {library(x)} cannot be converted to a NumPy array ({reason}); convert it first")


def cast(x: np.ndarray, dtype: str | None) -> np.ndarray:
    """Change the dtype of a NumPy array; a value beyond its range becomes infinite, without a warning."""
    if dtype is None or x.dtype == dtype:
        return x
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def precision(nest: Any) -> str:
    """Return the dtype that `Backend.scope` needs for a nest of arrays: float64 if one of them has it, else float32.

    Examples
    --------
    >>> precision((np.ones(2), np.arange(2)))
    'float64'
    """
    return "float64" if any(_is_float64(x.dtype) for x in leaves(nest)) else "float32"


def _is_float64(dtype: Any) -> bool:
    return dtype.char == "d" if isinstance(dtype, np.dtype) else str(dtype).endswith("float64")  # NumPy's str is slow


def library(x: Array) -> str:
    """Return the name of the library that an array belongs to.

    Examples
    --------
    >>> library(np.ones(2))
    'numpy'
    """
    name = array_api_compat.array_namespace(x).__name__.removeprefix("array_api_compat.")
    return name.split(".")[0]


def _suggest_move(x: Array) -> str:
    """Format the code that moves a network to the library and device of an array."""
    name = library(x)
    if name == "cupy":
        return f'net.to("cupy", device="cuda:{x.device.id}")'
    backend = repr(name) if name in ("torch", "jax", "dpnp") else name
    return f"net.to({backend}, device={short_name(array_api_compat.device(x))!r})"


def short_name(device: Any) -> str:
    """Return the name of a device without what its library writes around it, as in ``"lib.Device('CPU_0')"``.

    Examples
    --------
    >>> short_name("lib.Device('CPU_0')"), short_name("cuda:0")
    ('CPU_0', 'cuda:0')
    """
    return re.sub(r"^.*\(\W*|\W*\)$", "", str(device))


def _is_name_of(name: str, device: Any) -> bool:
    return name in (str(device), short_name(device)) or (name == "cpu" and "cpu" in str(device).lower())


def _import_namespace(name: str, device: str) -> Backend:
    return open_namespace(importlib.import_module(name), device)
