"""Writes kernels as CUDA C++.

Each sum and product is rounded by itself, and never contracted to a fused multiply-add, so a kernel gives the same bits
as the operations that it replaces. Integers overflow as unsigned ones do, which C++ defines.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpnet.backends.cuda import sizes
from xpnet.backends.cuda.fusion import Assignment, Kernel, KernelLoop, MemoryView, find_barriers
from xpnet.core.arrays import Native

WARP = 32  # threads that run together
ALIGNMENT = 16  # bytes that a thread can load at once, from an address that is a multiple of it
C_TYPES = {
    **{"float32": "float", "float64": "double", "bool": "bool", "uint8": "unsigned char"},
    **{"int32": "int", "int64": "long long"},
}
PREAMBLE = """
#ifndef INFINITY
#define INFINITY (1.0f / 0.0f)
#endif
__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline float subtract(float a, float b) { return __fsub_rn(a, b); }
__device__ inline double subtract(double a, double b) { return __dsub_rn(a, b); }
__device__ inline float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double multiply(double a, double b) { return __dmul_rn(a, b); }
template <class T, int n> struct alignas(n * sizeof(T) < 16 ? n * sizeof(T) : 16) Elements { T at[n]; };
template <class T> __device__ inline T minimum(T a, T b) { return a != a || b != b ? a + b : (a < b ? a : b); }
template <class T> __device__ inline T maximum(T a, T b) { return a != a || b != b ? a + b : (a > b ? a : b); }
template <class T> __device__ inline T sign(T a) { return a != a ? a : T((a > T(0)) - (a < T(0))); }
template <class T> __device__ inline T negative(T a) { return -a; }
template <class T> __device__ inline T invert(T a) { return ~a; }
template <> __device__ inline bool invert(bool a) { return !a; }
__device__ inline float absolute(float a) { return fabsf(a); }
__device__ inline double absolute(double a) { return fabs(a); }
"""
WHOLE_NUMBERS = """
__device__ inline {0} add({0} a, {0} b) {{ return ({0})((unsigned {0})a + (unsigned {0})b); }}
__device__ inline {0} subtract({0} a, {0} b) {{ return ({0})((unsigned {0})a - (unsigned {0})b); }}
__device__ inline {0} multiply({0} a, {0} b) {{ return ({0})((unsigned {0})a * (unsigned {0})b); }}
__device__ inline {0} left_shift({0} a, {0} b) {{ return ({0})((unsigned {0})a << b); }}
__device__ inline {0} absolute({0} a) {{ return a < 0 ? subtract(({0})0, a) : a; }}
"""


class Call(NamedTuple):
    """How to launch a kernel: the name of its function, the numbers of blocks and threads, and the arguments."""

    name: str
    blocks: int
    threads: int
    arrays: Sequence[Native]


def write_module(kernels: Sequence[Kernel], replacements: Sequence[dict[int, Native]] = ()) -> tuple[str, list[Call]]:
    """Write the source code of several kernels, identical ones once, and list how to launch each of them.

    Parameters
    ----------
    kernels
        The kernels.
    replacements
        For each step, the arrays that take the place of those of the first step, by the ids of the latter.
    """
    names: dict[str, str] = {}  # by the code that follows a name
    calls = []
    for kernel in kernels:
        parameters = KernelParameters(replacements)
        body = write_body(kernel, parameters)
        name = names.setdefault(parameters.declare() + body, f"kernel_{len(names)}")
        calls.append(Call(name, *_choose_size(kernel), parameters.arrays))
    functions = [
        f'extern "C" __global__ void __launch_bounds__({sizes.MAX_KERNEL_THREADS}) {name}{code}'
        for code, name in names.items()
    ]
    return PREAMBLE + "".join(map(WHOLE_NUMBERS.format, ("int", "long long"))) + "\n".join(functions), calls


def _choose_size(kernel: Kernel) -> tuple[int, int]:
    """Choose the numbers of blocks and threads."""
    longest = max(math.prod(loop.shape) for loop in kernel.loops)
    if find_barriers(kernel.loops):
        return 1, min(sizes.MAX_KERNEL_THREADS, WARP * math.ceil(longest / WARP))
    blocks = math.ceil(longest / sizes.THREADS_PER_BLOCK)
    return min(sizes.MAX_BLOCKS, blocks), sizes.THREADS_PER_BLOCK


class KernelParameters:
    """The parameters of a function: pointers to the memory of views, which may differ from step to step."""

    def __init__(self, replacements: Sequence[dict[int, Native]]) -> None:
        self.replacements = replacements
        self.arrays: list[Native] = []
        self._names: dict[Any, tuple[str, str]] = {}  # type and name, by address and dtype

    def name(self, view: MemoryView) -> str:
        """Return the name of the pointer to the first element of a view."""
        key = view.array.data.ptr, view.dtype
        if key not in self._names:
            self._names[key] = C_TYPES[view.dtype], f"p{len(self._names)}"
            self.arrays.append(view.array)
        return self._names[key][1]

    def are_aligned(self, view: MemoryView) -> bool:
        """Whether a thread can read several elements of a view at once, in every step."""
        arrays = [view.array, *(x for step in self.replacements if (x := step.get(id(view.array))) is not None)]
        return all(x.data.ptr % ALIGNMENT == 0 for x in arrays)

    def declare(self) -> str:
        """Write the list of parameters."""
        return f"({', '.join(f'{kind}* {name}' for kind, name in self._names.values())})"


def write_body(kernel: Kernel, parameters: KernelParameters) -> str:
    """Write the body of a function."""
    barriers, lines = find_barriers(kernel.loops), ["{"]
    for i, loop in enumerate(kernel.loops):
        if i in barriers:
            lines.append("__syncthreads();")
        count = math.prod(loop.shape)
        index = "long long" if _reach(loop) >= 1 << 30 else "int"
        start, stride = f"({index})blockIdx.x * blockDim.x + threadIdx.x", f"({index})gridDim.x * blockDim.x"
        at_once = 1 if loop.reduction or count % sizes.ELEMENTS_AT_ONCE else sizes.ELEMENTS_AT_ONCE
        lines.append(f"for ({index} part = {start}; part < {count // at_once}; part += {stride}) {{")
        if loop.reduction:
            lines += [f"const {index} t = part;", *write_reduction(loop, parameters)]
        else:
            lines += write_elements(loop, parameters, index, at_once)
        lines.append("}")
    return "\n".join([*lines, "}"])


def write_elements(loop: KernelLoop, parameters: KernelParameters, index: str, at_once: int) -> list[str]:
    """Write the body of a loop for some elements; those of an array are loaded and stored at once if aligned."""
    together: dict[Any, tuple[MemoryView, str]] = {}  # by key: views whose elements are loaded or stored at once
    if at_once == 1:
        return [f"const {index} t = part;", *write_element(loop, parameters)]
    element = write_element(loop, parameters, together)
    inner = [f"for (int k = 0; k < {at_once}; ++k) {{", f"const {index} t = part * {at_once} + k;", *element, "}"]
    loads, stores = [], []
    for view, name in together.values():
        kind = f"Elements<{C_TYPES[view.dtype]}, {at_once}>"
        place = f"(({kind}*){parameters.name(view)})[part]"
        loads.append(f"{kind} {name} = {place};" if view in loop.reads else f"{kind} {name};")
        if view in loop.writes and view.key not in loop.dropped:
            stores.append(f"{place} = {name};")
    return [*loads, "#pragma unroll", *inner, *stores]


def write_element(
    loop: KernelLoop, parameters: KernelParameters, together: dict[Any, tuple[MemoryView, str]] | None = None
) -> list[str]:
    """Write the code for one element: values are loaded at their first use and stored at the end."""
    lines: list[str] = []
    values: dict[Any, str] = {}  # names of registers, by the key of a view

    def load(view: MemoryView) -> str:
        if view.key not in values:
            values[view.key] = name = f"v{len(lines)}"
            lines.append(f"const {C_TYPES[view.dtype]} {name} = {element(view)};")
        return values[view.key]

    def element(view: MemoryView) -> str:
        offset = write_offset(loop.shape, _broadcast_strides(view, loop.shape))
        if together is not None and offset == "t" and parameters.are_aligned(view):
            return f"{together.setdefault(view.key, (view, f'all{len(together)}'))[1]}.at[k]"
        return f"{parameters.name(view)}[{offset}]"

    for assignment in loop.assignments:
        operands = [load(x) if isinstance(x, MemoryView) else "" for x in assignment.operands]
        name = f"v{len(lines)}"
        lines.append(f"const {C_TYPES[assignment.out.dtype]} {name} = {write_expression(assignment, operands)};")
        values[assignment.out.key] = name
    stores = [f"{element(view)} = {values[view.key]};" for view in loop.writes if view.key not in loop.dropped]
    return [*lines, *stores]


def write_reduction(loop: KernelLoop, parameters: KernelParameters) -> list[str]:
    """Write the body of a loop for one result: a thread goes through the terms in order."""
    (assignment,), reduction = loop.assignments, loop.reduction
    assert reduction is not None
    kind, axis = C_TYPES[assignment.out.dtype], reduction.axis
    operands = [
        f"{parameters.name(x)}[{write_offset(loop.shape, _without(x.strides, axis))} + k * {x.strides[axis]}]"
        for x in assignment.operands
        if isinstance(x, MemoryView)
    ]
    strides = assignment.out.strides
    if len(strides) > len(loop.shape):  # the axis was kept, with one element
        strides = _without(strides, axis)
    return [
        f"{kind} total = {reduction.start};",
        f"for (int k = 0; k < {reduction.length}; ++k) {{",
        f"const {kind} term = {write_expression(assignment, operands)};",
        f"total = {reduction.update};",
        "}",
        f"{parameters.name(assignment.out)}[{write_offset(loop.shape, strides)}] = total;",
    ]


def write_expression(assignment: Assignment, operands: Sequence[str]) -> str:
    """Write the expression of an assignment; `operands` holds its operands in C++, empty strings for numbers."""
    converted = {}
    for name, x, operand, dtype in zip("abc", assignment.operands, operands, assignment.dtypes):
        needs_cast = not isinstance(x, MemoryView) or x.dtype != dtype
        converted[name] = f"({C_TYPES[dtype]}){operand or write_number(x)}" if needs_cast else operand
    return assignment.expression.format(**converted)


def write_number(x: Any) -> str:
    """Write a number with all its digits."""
    return f"({int(x) if isinstance(x, bool) else x!r})"


def write_offset(shape: Sequence[int], strides: Sequence[int]) -> str:
    """Write the offset of element `t` of a shape, counted row by row, in an array with these strides."""
    inner = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if all(n == 1 or stride == step for n, stride, step in zip(shape, strides, inner)):
        return "t"
    terms = []
    for i, (n, stride, step) in enumerate(zip(shape, strides, inner)):
        if n > 1 and stride != 0:
            coordinate = "t" if step == 1 else f"t / {step}"
            is_first = all(m == 1 for m in shape[:i])
            terms.append(f"({coordinate if is_first else f'{coordinate} % {n}'}) * {stride}")
    return " + ".join(terms) or "0"


def _broadcast_strides(view: MemoryView, shape: Sequence[int]) -> list[int]:
    """Return the strides of a view that is broadcast to a shape."""
    lead = len(shape) - len(view.shape)
    return [0] * lead + [0 if n == 1 else stride for n, stride in zip(view.shape, view.strides)]


def _reach(loop: KernelLoop) -> int:
    """Return the largest index into the arrays of a loop."""
    views = [*loop.reads, *loop.writes]
    return max(loop.size, *((view.end - view.begin) // view.array.itemsize for view in views))


def _without(items: Sequence[int], i: int) -> list[int]:
    return [*items[:i], *items[i + 1 :]]
