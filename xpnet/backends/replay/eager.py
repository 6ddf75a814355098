"""The interface that an array library needs, besides that of a backend, for its operations to be recorded."""

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

from xpnet.backends.base import Backend
from xpnet.core.arrays import Namespace, Native

BindShortcut: TypeAlias = Callable[..., Callable[[], Any]]  # (out, *args, **options) -> call with less Python around it


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


class Eager(Backend):
    """An array library that computes at once and can write results into existing arrays.

    To add one, implement these methods and return a `ReplayLoop` from `loop`.
    """

    remark = "with the loop in Python"
    # Most elements of the minibatches that are gathered together: half a mebibyte fits the cache of a CPU
    gathered_together: ClassVar[int] = 1 << 17
    operators: ClassVar[dict[str, Callable[..., Native]]]  # functions of "add" (+) and other operators; they take `out`
    shortcuts: ClassVar[dict[Any, BindShortcut]] = {}  # faster ways to bind functions written in Python
    not_elementwise: ClassVar[set[Callable[..., Native]]] = set()  # functions with `out` whose numbers are not operands
    slow_with_numbers: ClassVar[set[Callable[..., Native]]] = set()  # functions that are faster with two full arrays
    with_out: dict[str, Callable[..., Native]]  # functions of the namespace that take `out`, by name
    by_columns: ClassVar[bool] = False  # whether weights and their gradients lie in memory by columns, not by rows
    depends_on_alignment: ClassVar[bool] = False  # whether memory alignment can change the last bit of a product

    def function_with_out(self, name: str) -> Callable[..., Native] | None:
        """Return the Array API function of this name in a form that takes `out`, or None if there is none."""
        return self.with_out.get(name)

    def with_function(self, name: str, function: Callable[..., Native], bind: BindShortcut) -> "Eager":
        """Return a copy of this backend with one more function, which takes `out`, in its namespace."""
        twin = copy.copy(self)
        twin.xp = PatchedNamespace(self.xp, **{name: function})
        twin.with_out = {**self.with_out, name: function}
        vars(twin).update(
            shortcuts={**self.shortcuts, function: bind}, not_elementwise={*self.not_elementwise, function}
        )
        return twin

    def assign(self, target: Native, x: Any) -> None:
        """Write an array or a number into an array."""
        raise NotImplementedError

    def take_into(self, target: Native, x: Native, index: Native) -> None:
        """Write the rows of an array that `index` numbers into another array."""
        take = self.function_with_out("take")
        assert take is not None
        take(x, index, 0, target)

    def empty_like(self, x: Native) -> Native:
        """Allocate an array of the same shape, dtype and strides."""
        raise NotImplementedError

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
        raise NotImplementedError

    def bind(
        self, function: Callable[..., Native], args: Sequence[Any], options: Any, out: Native
    ) -> Callable[[], Any]:
        """Return a call without arguments of a function that takes `out`."""
        shortcut = self.shortcuts.get(function)
        return shortcut(out, *args, **options) if shortcut else partial(function, *args, out=out, **options)

    def bind_assign(self, target: Native, x: Native) -> Callable[[], Any]:
        """Return a call without arguments that writes one array into another."""
        return partial(self.assign, target, x)
