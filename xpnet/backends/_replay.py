"""A loop whose operations are written down once and then repeated: what a library without a compiler has instead.

In a step of a small network, a good part of the time goes into finding out, in Python, what to do next, and into
making arrays for it. But every step does the same. So the first steps run on arrays that write down each operation of
the library, with the memory that it reads and writes. From then on these operations alone are run, again and again, on
the same memory. The mathematics is what it was, operation by operation.

What cannot be written down is refused: asking for the value of a number, bringing in arrays from elsewhere, or
changing in place what is known under two names. The loop is then a plain one.
"""

import math
import operator
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any, ClassVar, TypeAlias

import numpy as np

from xpnet.arrays import Array, Function, leaves, map_arrays, part
from xpnet.backends import Backend

FEWEST = 32  # steps: with fewer, writing them down does not pay, unless arrays are large
LARGE = 1 << 18  # numbers in a minibatch
UNROLLED = 16  # steps that are written down, at most
SMALL = 1 << 12  # numbers in a result that is not computed twice in a step, at most: it stays in the cache
TOGETHER = 1 << 17  # numbers in the minibatches gathered together, at most: half a mebibyte stays in the cache
BY_VALUES = {  # functions that give arrays whose shape depends on values; of others, replays find it out
    *("nonzero", "repeat", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
    *("argwhere", "bincount", "compress", "extract", "flatnonzero", "unique"),  # beyond the array API
}

# A function's arguments, `out` first -> a call with fewer layers of Python around it
Shortcut: TypeAlias = Callable[..., Callable[[], Any]]


class Lean:
    """An Array API namespace with some functions in the place of its own: those that a step needs, with `out` too."""

    def __init__(self, module: ModuleType, **functions: Callable[..., Array]) -> None:
        self._module = module
        vars(self).update(functions)

    def __getattr__(self, name: str) -> Any:
        """Take everything else from the module, and look it up only once."""
        value = getattr(self._module, name)
        setattr(self, name, value)
        return value


class Eager(Backend):
    """An array library that does at once what it is told to, and can write its results into arrays that are there."""

    operators: ClassVar[dict[str, Callable[..., Array]]]  # what is behind "add" (+) and the like; they take `out`
    shortcuts: ClassVar[dict[Any, Shortcut]] = {}  # of functions with a layer of Python
    slow_with_numbers: ClassVar[set[Callable[..., Array]]] = set()  # functions that are faster of two whole arrays

    def writer(self, name: str) -> Callable[..., Array] | None:
        """Find a function of the array API that takes `out`; None where the library has none."""
        raise NotImplementedError

    def write(self, target: Array, x: Any) -> Any:
        """Copy an array or a number into an array."""
        raise NotImplementedError

    def like(self, x: Array) -> Array:
        """Make an array of the same shape, dtype and strides, of any values."""
        raise NotImplementedError

    def layout(self, x: Array) -> tuple[Any, ...]:
        """Shape, dtype and strides: arrays with equal ones can stand for each other."""
        raise NotImplementedError

    def share(self, x: Array, y: Array) -> bool:
        """Whether one of two arrays is a view of the other, or both are of the same memory."""
        raise NotImplementedError

    def aligned(self, x: Array) -> bool:
        """Whether an array lies where a new one could, as far as products depend on that in the last bit."""
        return True

    def constant(self, number: float, like: Array) -> Any:
        """Give a number the form in which it meets an array fastest."""
        raise NotImplementedError

    def bound(self, function: Callable[..., Array], args: Sequence[Any], options: Any, out: Array) -> Callable[[], Any]:
        """Tie a function that takes `out` to all that it reads and writes."""
        short = self.shortcuts.get(function)
        return short(out, *args, **options) if short else partial(function, *args, out=out, **options)

    def fold(
        self, step: Function, gather: Function, state: Any, batches: Any, data: Any, kept: dict[Any, Any] | None = None
    ) -> Any:
        shapes = tuple(x.shape for x in leaves(state)), map_arrays(lambda x: x.shape[1:], batches)
        key = step, gather, shapes, *(id(x) for x in leaves(data))
        known = {} if kept is None else kept
        try:
            with np.errstate(all="ignore"):
                program = known[key] = self._program(step, gather, state, batches, data, known.get(key, 0))
                if isinstance(program, Program):
                    program.run(batches)
        except Exception:  # refused; or it fails, and will fail in the plain loop
            program = known[key] = -math.inf
        if not isinstance(program, Program):
            return super().fold(step, gather, state, batches, data)
        own = self.own if kept is not None else lambda x: x  # a program that is kept will write into its memory again
        after = map_arrays(lambda x: own(x.array), program.state)
        return self._plainly(step, gather, after, part(batches, slice(program.done, None)), data)

    def _program(
        self, step: Function, gather: Function, state: Any, batches: Any, data: Any, known: Any
    ) -> "Program | float":
        """Take the program that is known, or write one down, with its first steps done; else count steps until it pays.

        A program that is known is set to the state; `known` may be the number of steps of folds before this one.
        """
        if isinstance(known, Program):
            return known.begin(state)
        steps = leaves(batches)[0].shape[0]
        width = sum(_size(x) for x in leaves(gather(data, part(batches, 0), self.xp)))
        if known + steps < FEWEST and (known + steps < 2 or width < LARGE):
            return known + steps
        block = max(1, min(UNROLLED, TOGETHER // width, steps // FEWEST))
        recorder = Recorder(self)
        given = map_arrays(recorder.copied, part(batches, slice(block)))
        own = map_arrays(lambda x: recorder.kept(self.own(x)), state)
        try:
            after, minibatches = own, gather(map_arrays(recorder.kept, data), given, recorder)
            for i in range(block):
                after = step(after, map_arrays(recorder.placed, part(minibatches, i)), recorder)
                recorder.known.clear()
            recorder.loop(own, after)
        finally:
            recorder.known.clear()  # what is known holds the recorder
        return Program(self, recorder.program, leaves(map_arrays(_array, given)), own, data, block)


class Program:
    """Operations of some steps, written down, and the memory that they are tied to.

    Parameters
    ----------
    backend
        The library.
    operations
        What to do, without arguments.
    inputs
        Where each block of batches is put, an array for each part of them.
    state
        Where the state is, before and after.
    data
        What is read besides: it must stay where it is.
    block
        How many steps the operations are.
    """

    def __init__(
        self,
        backend: Eager,
        operations: Sequence[Callable[[], Any]],
        inputs: Sequence[Array],
        state: Any,
        data: Any,
        block: int,
    ) -> None:
        self.backend, self.operations, self.inputs, self.state, self.data = backend, operations, inputs, state, data
        self.places = [x.array for x in leaves(state)]
        self.block = self.done = block  # writing down has done the first

    def begin(self, state: Any) -> "Program":
        """Have another state, and nothing done."""
        for target, x in zip(self.places, leaves(state)):
            self.backend.write(target, x)
        self.done = 0
        return self

    def run(self, batches: Any) -> None:
        """Do the steps after those that are done, but for a last part of a block."""
        write, block, steps = self.backend.write, self.block, leaves(batches)[0].shape[0]
        whole = steps - steps % block
        parts = [x[self.done : whole, ...] for x in leaves(batches)]
        for several in zip(*(self.backend.xp.reshape(x, (-1, block, *x.shape[1:])) for x in parts)):
            for target, x in zip(self.inputs, several):
                write(target, x)
            for operation in self.operations:
                operation()
        self.done = whole


class Recorder:
    """The namespace of an eager library, which writes down what it does to arrays.

    Parameters
    ----------
    backend
        The library.
    """

    def __init__(self, backend: Eager) -> None:
        self.backend = backend
        self.program: list[Callable[[], Any]] = []
        self.free: dict[Any, list[Array]] = defaultdict(list)  # memory that nothing needs any more, by its layout
        self.constants: dict[Any, Any] = {}
        # Small results of this step, by what they are of; and that itself, so that no id in a key comes up again
        self.known: dict[Any, tuple[Recorded, Sequence[Recorded]]] = {}

    def __getattr__(self, name: str) -> Any:
        """Function of that name; what is not a function is that of the library."""
        if name in BY_VALUES:
            raise TypeError(f"the shape of what {name} gives depends on values")
        writer = self.backend.writer(name)
        plain = writer or getattr(self.backend.xp, name)
        if isinstance(plain, type) or not callable(plain):  # a dtype
            return plain

        return lambda *args, **options: self.call(plain, args, options, writes=writer is not None)

    def _like(self, given: Sequence["Recorded"]) -> Array:
        """Find the array whose dtype the numbers beside it take: booleans only choose."""
        return next((x for x in given if not _is_bool(x.dtype)), given[0]).array

    def kept(self, x: Array) -> "Recorded":
        """Let an array take part whose memory stays where it is."""
        return Recorded(x, Memory(x, None), self)

    def copied(self, x: Array) -> "Recorded":
        """Let a copy of an array take part."""
        copy = self.backend.like(x)
        self.backend.write(copy, x)
        return self.kept(copy)

    def placed(self, x: "Recorded") -> "Recorded":
        """Copy a part of a larger array, if it does not lie as an array of its own would."""
        if x.ndim < 2 or self.backend.aligned(x.array):  # vectors and numbers take no part in products
            return x
        pool = self.free[self.backend.layout(x.array)]
        copy = pool.pop() if pool else self.backend.like(x.array)
        self._bring(x.array, copy)
        return Recorded(copy, Memory(copy, pool), self)

    def call(self, function: Callable[..., Any], args: Sequence[Any], options: Any = None, writes: bool = True) -> Any:
        """Call a function of the library, and write down that it was; `writes` says whether it takes `out`."""
        given: list[Recorded] = []
        if options and "out" in options:
            raise TypeError("out= is not of the array API")
        plain, options = _plain(args, given), _plain(options or {}, given)
        if writes and given:
            like = self._like(given)
            number = self._whole if function in self.backend.slow_with_numbers else self._constant
            plain = [number(each, like) for each in plain]
        key = (function, _key(args), _key(options)) if writes and given else None
        known, _ = self.known.get(key, (None, None))
        if known is not None and not known.memory.version:  # as softmax and cross-entropy both ask for the largest z
            known.memory.shared = True
            return Recorded(known.array, known.memory, self)
        result = function(*plain, **options)
        if not hasattr(result, "dtype"):
            if isinstance(result, (bool, int, str, type(None))) or not given:
                return result
            raise TypeError(f"{function} gives {type(result).__name__}")
        result = result if isinstance(result, self.backend._array_type) else self.backend.xp.asarray(result)
        for each in given:
            if self.backend.share(result, each.array):  # a view: memory stays where it is, so nothing is to be done
                return Recorded(result, each.memory, self)
        pool = self.free[self.backend.layout(result)]
        target = pool.pop() if pool else result
        if target is not result:
            self.backend.write(target, result)
        again = self.backend.bound if writes else self._copying
        self.program.append(again(function, plain, options, target))
        found = Recorded(target, Memory(target, pool), self)
        if key is not None and all(_size(each) <= SMALL for each in (found, *given)):
            self.known[key] = found, given
        return found

    def update(self, function: Callable[..., Any], x: "Recorded", other: Any) -> "Recorded":
        """Augmented assignment: the result takes the place of the first operand."""
        if x.memory.shared:
            raise TypeError("what is known under two names is not changed in place")
        x.memory.version += 1
        (plain,) = _plain((other,), [])
        operation = self.backend.bound(function, (x.array, self._constant(plain, x.array)), {}, x.array)
        operation()
        self.program.append(operation)
        return x

    def _copying(
        self, function: Callable[..., Any], args: Sequence[Any], options: Any, out: Array
    ) -> Callable[[], Any]:
        write = self.backend.write  # no operation holds the recorder: all its memory goes when it goes

        def again() -> None:
            found = function(*args, **options)
            if tuple(getattr(found, "shape", ())) != tuple(out.shape):
                raise TypeError("the shape of what a function gives depends on values")
            write(out, found)

        return again

    def loop(self, begin: Any, end: Any) -> None:
        """Bring what the steps ended with to where they begin."""
        before, after = leaves(begin), leaves(end)
        if [(x.shape, x.dtype) for x in before] != [(x.shape, x.dtype) for x in after]:
            raise TypeError("a step gives another state than it takes")
        if len({id(y.memory) for y in after}) < len(after):
            raise TypeError("parts of the state share memory")
        places = [x.memory for x in before]
        for x, y in zip(before, after):
            if y.array is x.array:
                continue
            if any(y.memory is each for each in places):
                raise TypeError("parts of the state change places")
            self._bring(y.array, x.array)

    def _bring(self, x: Array, target: Array) -> None:
        operation = partial(self.backend.write, target, x)
        operation()
        self.program.append(operation)

    def _constant(self, x: Any, like: Array) -> Any:
        if type(x) not in (int, float):
            return x
        key = repr(x), like.dtype  # 0.0 and −0.0 are equal
        if key not in self.constants:
            self.constants[key] = self.backend.constant(x, like)
        return self.constants[key]

    def _whole(self, x: Any, like: Array) -> Any:
        """Give a number as an array of the shape of the other operand."""
        number = self._constant(x, like)
        if number is x or not hasattr(number, "dtype"):  # no number; or one of another kind than the array's
            return number
        key = repr(x), self.backend.layout(like)
        if key not in self.constants:
            self.constants[key] = self.backend.like(like)
            self.backend.write(self.constants[key], number)
        return self.constants[key]


class Memory:
    """What arrays and their views share; when the last of them is gone, later operations may write over it."""

    __slots__ = ("array", "pool", "shared", "version")

    def __init__(self, array: Array, pool: list[Array] | None) -> None:
        self.array, self.pool = array, pool
        self.version, self.shared = 0, False  # how often it was changed in place; whether it has two names: never again

    def __del__(self) -> None:
        """Give the memory back."""
        if self.pool is not None:
            self.pool.append(self.array)


class Recorded:
    """An array whose operations are written down. It does not tell its values."""

    __slots__ = ("array", "memory", "recorder")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore
    __iter__ = None
    __contains__ = None

    def __init__(self, array: Array, memory: Memory, recorder: Recorder) -> None:
        self.array, self.memory, self.recorder = array, memory, recorder

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    device = property(lambda self: self.array.device)

    def _refuse(self, *args: Any, **options: Any) -> Any:
        raise TypeError("what is written down has no values to ask for")

    __bool__ = __array__ = __ipow__ = __imatmul__ = _refuse

    @property
    def mT(self) -> "Recorded":
        """Matrices transposed."""
        return self.recorder.call(operator.attrgetter("mT"), (self,), writes=False)

    def __getitem__(self, key: Any) -> "Recorded":
        """Elements, or a view of them."""
        keys = key if isinstance(key, tuple) else (key,)
        if any(isinstance(each, Recorded) and _is_bool(each.dtype) for each in keys):
            raise TypeError("the shape of what a mask gives depends on values")
        return self.recorder.call(operator.getitem, (self, key), writes=False)

    def __pow__(self, exponent: Any) -> "Recorded":
        """Power, by the library's own ways for each exponent; a square is a product."""
        if type(exponent) is int and exponent == 2 and "float" in str(self.dtype):
            return self * self  # pyright: ignore
        return self.recorder.call(operator.pow, (self, exponent), writes=False)

    def __rpow__(self, base: Any) -> "Recorded":
        """Power of a number."""
        return self.recorder.call(operator.pow, (base, self), writes=False)

    def __matmul__(self, other: Any) -> "Recorded":
        """Product of matrices."""
        return self.recorder.call(operator.matmul, (self, other), writes=False)


def _add_operators() -> None:
    def forwards(name: str) -> Any:
        return lambda self, *other: self.recorder.call(self.recorder.backend.operators[name], (self, *other))

    def backwards(name: str) -> Any:
        def method(self: Recorded, other: Any) -> Recorded:
            operators = self.recorder.backend.operators
            if f"r{name}" in operators:  # the library has a way of its own where the number comes first
                return self.recorder.call(operators[f"r{name}"], (self, other))
            return self.recorder.call(operators[name], (other, self))

        return method

    def in_place(name: str) -> Any:
        return lambda self, other: self.recorder.update(self.recorder.backend.operators[name], self, other)

    for name in ("neg", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Recorded, f"__{name}__", forwards(name))
    for name in ("add", "sub", "mul", "truediv", "and", "or", "xor", "lshift", "rshift"):
        setattr(Recorded, f"__{name}__", forwards(name))
        setattr(Recorded, f"__r{name}__", backwards(name))
        setattr(Recorded, f"__i{name}__", in_place(name))


_add_operators()


def _array(x: Recorded) -> Array:
    return x.array


def _size(x: Array) -> int:
    return math.prod(x.shape)


@cache
def _is_bool(dtype: Any) -> bool:
    return str(dtype).endswith("bool")


def _key(nest: Any) -> Any:
    """What stands for arguments in a dict, as long as their arrays are the same and hold the same numbers."""
    if isinstance(nest, Recorded):
        return id(nest.array), nest.memory.version
    if isinstance(nest, dict):
        return tuple((name, _key(each)) for name, each in nest.items())
    if type(nest) in (list, tuple):
        return tuple(map(_key, nest))
    return repr(nest)  # 0.0 and −0.0 are equal


def _plain(nest: Any, found: list[Recorded]) -> Any:
    """Arrays of the library in the place of recorded ones, which are collected in `found`."""
    if isinstance(nest, Recorded):
        found.append(nest)
        return nest.array
    if isinstance(nest, dict):
        return {name: _plain(each, found) for name, each in nest.items()}
    if type(nest) in (list, tuple):
        return type(nest)(_plain(each, found) for each in nest)
    if not isinstance(nest, type) and hasattr(nest, "__array__"):
        raise TypeError(f"an array of type {type(nest).__name__} comes from elsewhere")
    return nest
