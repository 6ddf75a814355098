"""Recording: arrays that record each operation on them, with the memory that it reads and writes.

A `Recorder` hands out recorded arrays and a namespace for them. Functions of the one and operators of the other
compute at once, as the library does, and append to `Recorder.calls` a call that repeats the computation on the same
memory, or on other arrays in place of some of its own. An array that nothing refers to any more gives its memory to
later results.

This relies on reference counting, which frees an array at its last use, and on functions whose results have the same
shape whatever the values. Everything else raises `NotRecordableError`.
"""

import math
import operator
import weakref
from collections.abc import Callable, Sequence
from functools import cache, partial, partialmethod
from typing import Any, NamedTuple, NoReturn

import numpy as np

from xpnet.backends.base import OPERATORS, Eager, NotRecordableError, call_and_copy
from xpnet.core.arrays import Native, count_bytes, leaves

SMALL_RESULT = 1 << 12  # most elements of a result that is computed only once in a step: it stays in the cache
NUMBER_TYPES = {int, float, complex, bool}
FILLED_LIKE = {"zeros_like", "ones_like", "full_like", "empty_like"}  # results do not depend on the argument's values
MAY_RETURN_ARGUMENT = {"asarray", "astype"}  # without having written into it


class RecordedCall(NamedTuple):
    """An operation: a call without arguments, and the function and arguments that made it."""

    operation: Callable[[], Any]
    bind: Callable[..., Callable[[], Any]]
    args: tuple[Any, ...]

    def rebind(self, arrays: dict[int, Native]) -> "RecordedCall":
        """Bind the operation to other arrays, by the ids of those that they replace."""
        args = _replace_arrays(self.args, arrays)
        return self if args is self.args else RecordedCall(self.bind(*args), self.bind, args)


class RecordedView(NamedTuple):
    """An array that is a view of another one, and the function that made it."""

    array: Native
    function: Callable[..., Native]
    args: Sequence[Any]
    options: dict[str, Any]


class Recorder:
    """Records the operations of a step.

    Parameters
    ----------
    backend
        The library.

    Attributes
    ----------
    calls
        The operations.
    views
        The views of other arrays among their arguments.
    stacks
        The stacks whose first array was taken, and that array.
    n_bytes
        The size of all arrays that were allocated.
    refusal
        Why recording was refused, even if the step caught the exception; None if it was not.
    """

    def __init__(self, backend: Eager) -> None:
        self.backend = backend
        self.calls: list[RecordedCall] = []
        self.views: list[RecordedView] = []
        self.stacks: list[tuple[Native, Native]] = []
        self.n_bytes = 0
        self.refusal: str | None = None
        self._restorations: list[RecordedCall] = []
        self._pool = MemoryPool()
        self._constants: dict[Any, Any] = {}
        # Small results, by function and arguments, so that each is computed once: softmax and cross-entropy both need e
        # to the power of z, for example. While the inputs live, no other array can have their ids, which are in the key
        self._repeated: dict[Any, tuple[RecordedArray, Sequence[RecordedArray]]] = {}

    def namespace(self) -> "RecordingNamespace":
        """Return the library's namespace for recorded arrays."""
        return RecordingNamespace(self)  # not an attribute: it refers to the recorder, which would never be freed

    def refuse(self, reason: str) -> NoReturn:
        """Refuse to record, now and in all later calls."""
        self.refusal = reason
        raise NotRecordableError(reason)

    # Arrays that enter

    def wrap(self, x: Native) -> "RecordedArray":
        """Make a recorded array from an array, without a copy."""
        self.n_bytes += count_bytes(x)
        return RecordedArray(x, Memory(), self)

    def wrap_copy(self, x: Native) -> "RecordedArray":
        """Make a recorded array from a copy of an array."""
        copy = self.backend.empty_like(x)
        self.backend.assign(copy, x)
        return self.wrap(copy)

    def take_first(self, stack: "RecordedArray") -> "RecordedArray":
        """Take the first array of a stack; copy it if any array of the stack is not aligned as a new array is."""
        x, parts = stack[0, ...], range(stack.shape[0])
        self.stacks.append((stack.array, x.array))
        # Vectors and numbers are not multiplied as matrices
        if x.ndim < 2 or all(self.backend.is_aligned(stack.array[i, ...]) for i in parts):
            return x
        layout = self.backend.memory_layout(x.array)
        copy = self._pool.take(layout)
        copy = self.backend.empty_like(x.array) if copy is None else copy
        self._append(self.backend.bind_assign, copy, x.array)
        return RecordedArray(copy, self._pool.lend(copy, layout), self)

    # Operations

    def check_operand(self, x: Any) -> None:
        """Refuse operands that are neither recorded arrays nor numbers: libraries differ in what they do with them."""
        if type(x) is not RecordedArray and type(x) not in NUMBER_TYPES:
            self.refuse(f"an operand of type {type(x).__name__} comes from elsewhere")

    def call(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        options: dict[str, Any] | None = None,
        name: str = "",
        takes_out: bool = False,
    ) -> Any:
        """Call a function of the library, and record it. `name` is its name in the namespace."""
        self._refuse_again()
        inputs: list[RecordedArray] = []
        options = options or {}
        key = function, repr(_map_arguments(_identify, (args, options)))
        plain_args, plain_options = self._unwrap(args, inputs), self._unwrap(options, inputs)
        if takes_out:
            repeated, _ = self._repeated.get(key, (None, None))
            if repeated is not None and not repeated.memory.changes:
                repeated.memory.has_two_names = True
                return repeated
            if inputs and function not in self.backend.not_elementwise:
                plain_args = self._prepare_numbers(function, plain_args, inputs)
        result = function(*plain_args, **plain_options)
        if not isinstance(result, (self.backend.array_type, np.generic)):  # NumPy's numbers are arrays without axes
            if inputs:
                self.refuse(f"{name} returns a {type(result).__name__}, which may depend on values")
            return result  # such as that of `finfo`
        if isinstance(result, np.generic):
            result = self.backend.xp.asarray(result)
        source = next((x for x in inputs if self.backend.shares_memory(result, x.array)), None)
        if source is not None:
            if result is source.array and name not in MAY_RETURN_ARGUMENT:
                self.refuse(f"{name} may have written into its argument")
            # a view: every replay finds it in the same memory
            self.views.append(RecordedView(result, function, plain_args, plain_options))
            return RecordedArray(result, source.memory, self)
        if (name in FILLED_LIKE and len(inputs) == 1) or all(x.memory.constant is not None for x in inputs):
            return RecordedArray(result, Memory(result), self)  # it need not be computed again
        if not takes_out:
            return self._record(
                result, partial, call_and_copy, self.backend.assign, function, plain_args, plain_options
            )
        recorded = self._record(result, self.backend.bind, function, plain_args, plain_options)
        if all(math.prod(x.shape) <= SMALL_RESULT for x in (recorded, *inputs)):
            self._repeated[key] = recorded, inputs
        return recorded

    def call_operator(self, name: str, *operands: Any) -> "RecordedArray":
        """Apply an operator, such as "add", and record it."""
        for operand in operands:
            self.check_operand(operand)
        return self.call(self.backend.operators[name], operands, takes_out=True)

    def update(self, name: str, x: "RecordedArray", other: Any) -> "RecordedArray":
        """Apply an operator in place (augmented assignment), and record it."""
        self._refuse_again()
        self.check_operand(other)
        if x.ndim == 0:
            self.refuse("a number is changed in place, and NumPy's numbers would not change under their other names")
        if x.memory.has_two_names:
            self.refuse("an array that was computed once for two results is changed in place")
        if x.memory.constant is not None:  # it is restored before each step
            constant, copy, x.memory.constant = x.memory.constant, self.wrap_copy(x.memory.constant).array, None
            bind = self.backend.bind_assign
            self._restorations.append(RecordedCall(bind(constant, copy), bind, (constant, copy)))
        x.memory.changes += 1
        operand = self._make_constant(self._unwrap(other, []), x.array)
        self._append(self.backend.bind, self.backend.operators[name], (x.array, operand), {}, x.array)
        return x

    # Parts of a program

    def cut(self) -> list[RecordedCall]:
        """Return the calls so far, as one part of the program, and begin the next part."""
        self.forget_results()
        calls, self.calls, self._restorations = [*self._restorations, *self.calls], [], []
        return calls

    def forget_results(self) -> None:
        """Forget the results of repeated calls."""
        self._repeated.clear()

    def find_replacements(self, i: int) -> dict[int, Native]:
        """Find what replaces the arrays taken from stacks, and views of them, in step `i`: {id: array}."""
        arrays = {id(first): stack[i, ...] for stack, first in self.stacks}
        for array, *call in self.views:
            if (replaced := _replace_arrays(call, arrays)) is not call:
                function, args, options = replaced
                arrays[id(array)] = function(*args, **options)
        return arrays

    def close(self, begin: Any, end: Any) -> None:
        """Record the copies of the new state to the memory from which the step reads it."""
        self._refuse_again()
        before, after = leaves(begin), leaves(end)
        if not all(isinstance(x, RecordedArray) for x in after):
            self.refuse("a step returns something other than arrays computed from its own")
        if [(x.shape, x.dtype) for x in before] != [(x.shape, x.dtype) for x in after]:
            self.refuse("a step returns a state of other shapes or dtypes than it takes")
        if len({id(x.memory) for x in after}) < len(after):
            self.refuse("parts of the state share memory")
        for x, y in zip(before, after):
            if y.array is x.array:
                continue
            if any(y.memory is other.memory for other in before):
                self.refuse("a part of the state is returned as a view, or in the place of another")
            self._append(self.backend.bind_assign, x.array, y.array)

    # Parts of a call

    def _refuse_again(self) -> None:
        if self.refusal is not None:  # the step has caught the exception
            raise NotRecordableError(self.refusal)

    def _unwrap(self, nest: Any, inputs: list["RecordedArray"]) -> Any:
        """Replace the recorded arrays in arguments by the library's, and collect them in `inputs`."""

        def unwrap(x: Any) -> Any:
            if isinstance(x, RecordedArray):
                if x.recorder is not self:
                    self.refuse("an array of another recording is used")
                inputs.append(x)
                return x.array
            if type(x) not in NUMBER_TYPES and not isinstance(x, type) and hasattr(x, "__array__"):
                self.refuse(f"an array of type {type(x).__name__} comes from elsewhere")
            return x

        return _map_arguments(unwrap, nest)

    def _prepare_numbers(
        self, function: Callable[..., Any], args: Sequence[Any], inputs: list["RecordedArray"]
    ) -> list[Any]:
        """Convert numbers among operands to the form with which the library computes fastest."""
        if not any(type(x) in NUMBER_TYPES for x in args):
            return list(args)
        like = next((x for x in inputs if not _is_bool(x.dtype)), inputs[0]).array  # booleans only choose
        prepare = self._make_full_constant if function in self.backend.slow_with_numbers else self._make_constant
        return [prepare(x, like) for x in args]

    def _make_constant(self, x: Any, like: Native) -> Any:
        if type(x) not in (int, float):
            return x
        key = repr(x), like.dtype  # 0.0 and −0.0 are equal
        if key not in self._constants:
            self._constants[key] = self.backend.make_constant(x, like)
        return self._constants[key]

    def _make_full_constant(self, x: Any, like: Native) -> Any:
        """Make an array of the shape of `like` that is filled with a number."""
        number = self._make_constant(x, like)
        if number is x or not hasattr(number, "dtype"):  # not a number, or one that the dtype of `like` cannot hold
            return number
        key = repr(x), self.backend.memory_layout(like)
        if key not in self._constants:
            self._constants[key] = self.backend.empty_like(like)
            self.backend.assign(self._constants[key], number)
        return self._constants[key]

    def _record(self, result: Native, bind: Callable[..., Callable[[], Any]], *args: Any) -> "RecordedArray":
        """Record the operation that computed `result`, to write into free memory, or else into that of `result`."""
        layout = self.backend.memory_layout(result)
        target = self._pool.take(layout)
        if target is None:
            target = result
            self.n_bytes += count_bytes(result)
        else:
            self.backend.assign(target, result)
        self.calls.append(RecordedCall(bind(*args, target), bind, (*args, target)))
        return RecordedArray(target, self._pool.lend(target, layout), self)

    def _append(self, bind: Callable[..., Callable[[], Any]], *args: Any) -> None:
        """Run an operation, and record it."""
        call = RecordedCall(bind(*args), bind, args)
        call.operation()
        self.calls.append(call)


class RecordingNamespace:
    """The namespace of a library, whose functions record their calls."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        """Return a function so that it records its calls, and dtypes and numbers as they are."""
        recorder = self._recorder
        value = getattr(recorder.backend.xp, name)
        with_out = recorder.backend.with_out.get(name)

        def call(*args: Any, **options: Any) -> Any:
            return recorder.call(with_out or value, args, options, name, with_out is not None)

        if isinstance(value, type) or not callable(value):
            return value
        setattr(self, name, call)  # so that it is looked up only once
        return call


class Memory:
    """The memory of an array and its views."""

    __slots__ = ("__weakref__", "changes", "constant", "has_two_names")

    def __init__(self, constant: Native | None = None) -> None:
        self.constant = constant  # the whole array, if it holds the same numbers in every step
        self.changes = 0  # how often it was changed in place
        self.has_two_names = False  # whether it is the result of two equal calls, and must not be changed


class MemoryPool:
    """Arrays that no operation needs any more, for later results."""

    def __init__(self) -> None:
        self._lent: list[tuple[weakref.ref[Memory], Any, Native]] = []

    def take(self, layout: Any) -> Native | None:
        """Take a free array of this memory layout, the one that was lent last; None if there is none."""
        for i in reversed(range(len(self._lent))):
            memory, other, array = self._lent[i]
            if memory() is None and other == layout:
                del self._lent[i]
                return array
        return None

    def lend(self, array: Native, layout: Any) -> Memory:
        """Lend an array for the lifetime of the `Memory` that is returned, which all its views share."""
        memory = Memory()
        self._lent.append((weakref.ref(memory), layout, array))
        return memory


class RecordedArray:
    """An array that records the operations on it. It does not reveal its values."""

    __slots__ = ("array", "memory", "recorder")

    array: Native
    memory: Memory
    recorder: Recorder

    def __init__(self, array: Native, memory: Memory, recorder: Recorder) -> None:
        for name, value in (("array", array), ("memory", memory), ("recorder", recorder)):
            object.__setattr__(self, name, value)

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    device = property(lambda self: self.array.device)

    @property
    def mT(self) -> "RecordedArray":
        """The transposed matrices."""
        return self.recorder.call(operator.attrgetter("mT"), (self,))

    def __getitem__(self, key: Any) -> "RecordedArray":
        """Return elements, or a view of them."""
        return self.recorder.call(operator.getitem, (self, key))

    def __pow__(self, exponent: Any) -> "RecordedArray":
        """Compute a power as the library does, which depends on the exponent; a square is a product."""
        if type(exponent) is int and exponent == 2 and "float" in str(self.dtype):
            return self * self  # pyright: ignore
        self.recorder.check_operand(exponent)
        return self.recorder.call(operator.pow, (self, exponent))

    def __rpow__(self, base: Any) -> "RecordedArray":
        """Compute a power of a number."""
        self.recorder.check_operand(base)
        return self.recorder.call(operator.pow, (base, self))

    def _apply(self, name: str, *others: Any) -> "RecordedArray":
        """Apply an operator, such as "add", to this array and perhaps another operand."""
        return self.recorder.call_operator(name, self, *others)

    def _apply_reflected(self, name: str, other: Any) -> "RecordedArray":
        if f"r{name}" in self.recorder.backend.operators:  # the library has a function of its own
            return self._apply(f"r{name}", other)
        return self.recorder.call_operator(name, other, self)

    def _update(self, name: str, other: Any) -> "RecordedArray":
        return self.recorder.update(name, self, other)

    def _refuse(self, name: str, *_: Any, **__: Any) -> NoReturn:
        self.recorder.refuse(f"__{name}__ cannot be recorded")

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse attributes and methods that only some libraries have."""
        self.recorder.refuse(f".{name} is not an attribute that can be recorded")


# What Python asks of an array by special methods
for _name in OPERATORS:
    setattr(RecordedArray, f"__{_name}__", partialmethod(RecordedArray._apply, _name))
for _name in ("add", "sub", "mul", "truediv"):
    setattr(RecordedArray, f"__r{_name}__", partialmethod(RecordedArray._apply_reflected, _name))
for _name in ("add", "sub", "mul", "truediv", "and", "or", "xor", "lshift", "rshift"):
    setattr(RecordedArray, f"__i{_name}__", partialmethod(RecordedArray._update, _name))
for _name in (
    *("bool", "int", "float", "complex", "index", "len", "iter", "reversed", "contains", "hash"),  # values
    *("repr", "str", "format", "bytes", "round", "trunc", "floor", "ceil"),
    *("setitem", "delitem", "setattr", "delattr", "copy", "deepcopy", "reduce", "reduce_ex"),
    *("array", "array_ufunc", "array_function", "dlpack", "dlpack_device", "buffer"),  # other libraries
    *("ipow", "imatmul"),  # Python would compute another array, and leave this one as it is
):
    setattr(RecordedArray, f"__{_name}__", partialmethod(RecordedArray._refuse, _name))


def _map_arguments(function: Callable[[Any], Any], nest: Any) -> Any:
    """Apply a function to everything in the arguments of a call but lists, tuples and dicts."""
    if isinstance(nest, dict):
        return {name: _map_arguments(function, value) for name, value in nest.items()}
    if isinstance(nest, (list, tuple)):
        parts = [_map_arguments(function, part) for part in nest]
        return parts if isinstance(nest, list) else tuple(parts)
    return function(nest)


def _replace_arrays(nest: Any, arrays: dict[int, Native]) -> Any:
    """Replace arrays among the arguments of a function, by id; arguments without any of them stay the same object."""
    changes = False

    def replace(x: Any) -> Any:
        nonlocal changes
        changes = changes or id(x) in arrays
        return arrays.get(id(x), x)

    replaced = _map_arguments(replace, nest)
    return replaced if changes else nest


@cache
def _is_bool(dtype: Any) -> bool:
    return str(dtype).endswith("bool")


def _identify(x: Any) -> Any:
    """Return a key for an argument that stays equal as long as the array is the same and has not changed."""
    return (id(x.array), x.memory.changes) if type(x) is RecordedArray else repr(x)  # 0.0 and −0.0 are equal
