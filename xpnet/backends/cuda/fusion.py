"""Fusion: groups the operations of a recorded program into kernels.

A kernel is a sequence of loops. A loop goes over the elements of one shape, applies one or more operations to each, and
keeps intermediate results in registers; or it reduces rows or columns, one per thread. Loops that are independent are
spread over the whole GPU. Where a loop needs results of an earlier one, the threads must wait for each other in
between. Only the threads of one block can do that, so such loops have to be short.

Operations keep their order, except that one may move up past others that it does not depend on. Two operations depend
on each other if one writes memory that the other reads or writes; a program uses the same memory for several arrays.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from xpnet.backends.cuda import functions, sizes
from xpnet.backends.cuda.functions import is_short
from xpnet.core.arrays import Native

LOOK_BACK = 3  # how many kernels and other operations an operation may move up past
MAX_ARRAYS = 256  # of a kernel, whose arguments are limited to 4 KiB
FUSIBLE_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")

# Element-wise functions, as expressions of C++ in their operands; `source` defines the functions that C++ does not have
ARITHMETIC: dict[Callable[..., Any], str] = {  # the operands' common dtype is that of the result
    cupy.add: "add({a}, {b})",
    cupy.subtract: "subtract({a}, {b})",
    cupy.multiply: "multiply({a}, {b})",
    cupy.true_divide: "{a} / {b}",
    cupy.negative: "negative({a})",
    cupy.absolute: "absolute({a})",
    functions.sign: "sign({a})",
    cupy.minimum: "minimum({a}, {b})",
    cupy.maximum: "maximum({a}, {b})",
    **{getattr(cupy, name): f"{name}({{a}})" for name in ("exp", "log", "log1p", "expm1", "tanh", "sqrt")},
    cupy.bitwise_and: "{a} & {b}",
    cupy.bitwise_or: "{a} | {b}",
    cupy.bitwise_xor: "{a} ^ {b}",
    cupy.invert: "invert({a})",
    cupy.left_shift: "left_shift({a}, {b})",
    cupy.right_shift: "{a} >> {b}",
}
CONVERSIONS = (functions.astype, functions.assign)
COMPARISONS: dict[Callable[..., Any], str] = {  # operands are converted to their common dtype
    cupy.less: "{a} < {b}",
    cupy.less_equal: "{a} <= {b}",
    cupy.greater: "{a} > {b}",
    cupy.greater_equal: "{a} >= {b}",
    cupy.equal: "{a} == {b}",
    cupy.not_equal: "{a} != {b}",
}
REDUCTIONS: dict[Callable[..., Any], tuple[str, str, str]] = {  # expressions of a term, of the first and next total
    functions.sum_along: ("{a}", "0", "add(total, term)"),
    functions.vecdot: ("multiply({a}, {b})", "0", "add(total, term)"),
    functions.max_along: ("{a}", "-INFINITY", "maximum(total, term)"),
}


class Operation(NamedTuple):
    """A recorded operation: a function that writes into `out`."""

    function: Callable[..., Any]
    args: Sequence[Any]
    options: dict[str, Any]
    out: Native

    def __call__(self) -> None:
        """Call the function."""
        self.function(*self.args, out=self.out, **self.options)


class MemoryView:
    """The part of memory that an array covers, and the order of its elements there."""

    def __init__(self, array: Native) -> None:
        address, strides = array.data.ptr, array.strides
        self.array, self.shape, self.dtype = array, array.shape, dtype_name(array.dtype)
        self.strides = tuple([step // array.itemsize for step in strides])  # in elements
        self.key = address, self.shape, self.strides, self.dtype
        reach = [step * (n - 1) for step, n in zip(strides, self.shape)]
        self.allocation = array.data.mem.ptr  # address of the allocation that it is part of
        self.begin = address + sum([step for step in reach if step < 0])
        self.end = address + sum([step for step in reach if step > 0]) + array.itemsize

    def overlaps(self, other: "MemoryView") -> bool:
        """Whether both may share memory."""
        return self.begin < other.end and other.begin < self.end

    def covers(self, other: "MemoryView") -> bool:
        """Whether writing this view overwrites every element of the other."""
        within = self.begin <= other.begin and other.end <= self.end
        return self.key == other.key or (within and is_dense(self.shape, self.strides))


class MemoryViews:
    """A set of views, in order. Only those of one allocation can overlap, so a search looks at few of them."""

    def __init__(self, views: Iterable[MemoryView] = ()) -> None:
        self._views: dict[Any, MemoryView] = {}  # by key
        self._parts: dict[int, list[MemoryView]] = {}  # by allocation
        for view in views:
            self.add(view)

    def __iter__(self) -> Iterator[MemoryView]:
        """Iterate over the views."""
        return iter(self._views.values())

    def __len__(self) -> int:
        """Count the views."""
        return len(self._views)

    def __contains__(self, view: MemoryView) -> bool:
        """Whether an equal view is among them."""
        return view.key in self._views

    def add(self, view: MemoryView) -> None:
        """Add a view, unless an equal one is there."""
        if view.key not in self._views:
            self._views[view.key] = view
            self._parts.setdefault(view.allocation, []).append(view)

    def overlap(self, view: MemoryView) -> bool:
        """Whether one of them may share memory with another view."""
        return any(view.overlaps(x) for x in self._parts.get(view.allocation, ()))

    def overlap_otherwise(self, view: MemoryView) -> bool:
        """Whether one of them may share memory with another view, and is not equal to it."""
        return any(view.overlaps(x) and view.key != x.key for x in self._parts.get(view.allocation, ()))

    def overwrite(self, view: MemoryView) -> None:
        """Remove the views that a write to another view overwrites completely."""
        part = self._parts.get(view.allocation, [])
        for x in [x for x in part if view.covers(x)]:
            part.remove(x)
            del self._views[x.key]


@cache
def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype; it is cached, because NumPy takes microseconds to build it."""
    return dtype.name


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether an array with these strides, in elements, fills its memory without gaps, in any order of its axes."""
    expected = 1
    for step, n in sorted((abs(step), n) for step, n in zip(strides, shape) if n > 1):
        if step != expected:
            return False
        expected *= n
    return True


class Assignment(NamedTuple):
    """An operation inside a loop: an expression, its operands (views or numbers), and where the result is stored."""

    expression: str
    operands: Sequence[MemoryView | float]
    dtypes: Sequence[str]  # to which the operands are converted
    out: MemoryView


class Reduction(NamedTuple):
    """A reduction along one axis of the operands."""

    axis: int
    length: int
    start: str  # the total before the first term
    update: str  # the total after each further term


class KernelLoop:
    """A loop over the elements of a shape.

    Without a reduction, an element of an output depends only on the same element of the operands. With one, the loop
    has a single assignment, whose expression is a term, and `shape` is the shape of the operands without the axis.
    """

    def __init__(
        self, shape: Sequence[int], assignments: Sequence[Assignment], reduction: Reduction | None = None
    ) -> None:
        self.shape, self.assignments, self.reduction = tuple(shape), list(assignments), reduction
        self.size = math.prod(self.shape) * (reduction.length if reduction else 1)  # number of elements that it visits
        self.dropped: set[Any] = set()  # keys of outputs that need not be stored
        self.reads, self.writes = MemoryViews(), MemoryViews()
        for assignment in self.assignments:
            for x in assignment.operands:
                if isinstance(x, MemoryView) and x not in self.writes:
                    self.reads.add(x)
            self.writes.add(assignment.out)

    def join(self, other: "KernelLoop") -> "KernelLoop | None":
        """Return a loop that applies the assignments of both to each element; None if that is not possible."""
        if self.reduction or other.reduction or self.shape != other.shape:
            return None
        if any(self.reads.overlap_otherwise(x) or self.writes.overlap_otherwise(x) for x in other.writes):
            return None
        if any(self.writes.overlap_otherwise(x) for x in other.reads):
            return None
        return KernelLoop(self.shape, [*self.assignments, *other.assignments])


class Kernel:
    """A sequence of loops, and the views that they read and write."""

    def __init__(self, loop: KernelLoop) -> None:
        self.loops = [loop]
        self.reads, self.writes = MemoryViews(loop.reads), MemoryViews(loop.writes)

    def take(self, loop: KernelLoop) -> bool:
        """Add a loop if it can run after the loops of this kernel; return whether it was added."""
        if len(self.reads) + len(self.writes) + len(loop.reads) + len(loop.writes) > MAX_ARRAYS:
            return False
        loops = self._place(loop)
        if any(part.size > sizes.ONE_BLOCK_ELEMENTS for part in loops) and find_barriers(loops):
            return False  # they would need barriers, and are too long for one block
        self.loops = loops
        for x in loop.reads:
            self.reads.add(x)
        for x in loop.writes:
            self.writes.add(x)
        return True

    def _place(self, loop: KernelLoop) -> list[KernelLoop]:
        """Join a loop with the last one that it can be joined with, or else put it at the end."""
        for i in reversed(range(len(self.loops))):
            joined = self.loops[i].join(loop)
            if joined:
                return [*self.loops[:i], joined, *self.loops[i + 1 :]]
            if depend(loop, self.loops[i]):
                break
        return [*self.loops, loop]


def find_barriers(loops: Sequence[KernelLoop]) -> set[int]:
    """Find the loops that need a barrier before them."""
    barriers, first = set(), 0
    for i, loop in enumerate(loops):
        if any(depend(loop, earlier) for earlier in loops[first:i]):
            barriers.add(i)
            first = i
    return barriers


def fuse(operations: Sequence[Any], results: Iterable[Native]) -> list[Any]:
    """Group operations into kernels; return these, and the operations that stay as they are, in order.

    Parameters
    ----------
    operations
        The operations of a program, each with `function`, `args`, `options` and `out`.
    results
        The arrays that are read after the program, such as its state.
    """
    nodes: list[Any] = []
    for operation in operations:
        loop = make_loop(operation)
        if loop is None:
            nodes.append(operation)
        elif not any(node.take(loop) for node in _kernels_to_join(nodes, loop)):
            nodes.append(Kernel(loop))
    _drop_unread(nodes, [MemoryView(x) for x in results])
    return nodes


def _kernels_to_join(nodes: Sequence[Any], loop: KernelLoop) -> Iterator[Kernel]:
    """Iterate backwards over the last kernels, until something follows that the loop depends on."""
    for node in reversed(nodes[-LOOK_BACK:]):
        if isinstance(node, Kernel):
            yield node
        if depend(loop, node if isinstance(node, Kernel) else Accesses(node)):
            return


class Accesses:
    """The memory that an operation reads and writes."""

    def __init__(self, operation: Any) -> None:
        self.reads = MemoryViews(MemoryView(x) for x in _find_arrays((operation.args, operation.options)))
        self.writes = MemoryViews([MemoryView(operation.out)])


def depend(one: Any, other: Any) -> bool:
    """Whether two loops, kernels or operations must keep their order: one writes memory that the other accesses."""
    if any(other.reads.overlap(x) or other.writes.overlap(x) for x in one.writes):
        return True
    return any(other.writes.overlap(x) for x in one.reads)


def make_loop(operation: Any) -> KernelLoop | None:
    """Turn an operation into a loop; None if it is neither element-wise nor a short reduction."""
    loop = _make_any_loop(operation) if isinstance(operation, Operation) else None
    if loop and any(loop.reads.overlap_otherwise(x) for x in loop.writes):
        return None  # a thread would overwrite what another one reads
    return loop


def _make_any_loop(operation: Operation) -> KernelLoop | None:
    function, args, options, out = operation
    arrays = _find_arrays(args)
    if not arrays or any(dtype_name(x.dtype) not in FUSIBLE_DTYPES or x.size == 0 for x in (*arrays, out)):
        return None
    if function in REDUCTIONS:
        return _make_reduction(operation)
    if function is functions.astype:
        args = args[:1]
    if not all(type(x) in (int, float, bool) and abs(x) < 2**63 for x in args if not hasattr(x, "data")):
        return None
    common = dtype_name(np.result_type(*(x.dtype if hasattr(x, "data") else x for x in args)))
    if function in COMPARISONS:
        expression, dtypes = COMPARISONS[function], [common] * 2
    elif function is functions.where:
        expression, dtypes = "{a} ? {b} : {c}", ["bool", dtype_name(out.dtype), dtype_name(out.dtype)]
    elif function in CONVERSIONS or (function in ARITHMETIC and not options and common == dtype_name(out.dtype)):
        expression, dtypes = ARITHMETIC.get(function, "{a}"), [dtype_name(out.dtype)] * len(args)
    else:
        return None
    operands = [MemoryView(x) if hasattr(x, "data") else x for x in args]
    return KernelLoop(out.shape, [Assignment(expression, operands, dtypes, MemoryView(out))])


def _make_reduction(operation: Operation) -> KernelLoop | None:
    call = inspect.signature(operation.function).bind(*operation.args, **operation.options)
    call.apply_defaults()
    operands, axis = [call.arguments[name] for name in ("x", "y") if name in call.arguments], call.arguments["axis"]
    x = operands[0]
    if call.arguments.get("dtype") is not None or not is_short(x, axis):
        return None
    if any((y.shape, y.dtype) != (x.shape, x.dtype) for y in operands):
        return None
    axis %= x.ndim
    term, start, update = REDUCTIONS[operation.function]
    dtypes = [dtype_name(x.dtype)] * len(operands)
    assignment = Assignment(term, [MemoryView(y) for y in operands], dtypes, MemoryView(operation.out))
    shape = [n for i, n in enumerate(x.shape) if i != axis]
    return KernelLoop(shape, [assignment], Reduction(axis, x.shape[axis], start, update))


def _drop_unread(nodes: Sequence[Any], results: Iterable[MemoryView]) -> None:
    """Drop the stores of results that are overwritten before anything reads them from memory."""
    live = MemoryViews(results)
    for _ in range(2):  # the first pass finds what the next launch reads before it is written
        for node in reversed(nodes):
            for part in reversed(node.loops) if isinstance(node, Kernel) else [Accesses(node)]:
                if isinstance(part, KernelLoop):
                    part.dropped = {x.key for x in part.writes if not live.overlap(x)}
                for x in part.writes:
                    live.overwrite(x)
                for x in part.reads:
                    live.add(x)
        for view in results:
            live.add(view)


def _find_arrays(nest: Any) -> list[Native]:
    """List the arrays among the arguments of a function."""
    if isinstance(nest, (list, tuple, dict)):
        return [x for part in (nest.values() if isinstance(nest, dict) else nest) for x in _find_arrays(part)]
    return [nest] if isinstance(nest, cupy.ndarray) else []
