"""Settings: the arguments that a network was made with, which never change, and what cannot be assigned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from xpnet.backends import Backend
from xpnet.checks import choices
from xpnet.core.activations import Activation
from xpnet.core.costs import Output
from xpnet.hints import explain_attribute, suggest_argument
from xpnet.state.value import Value


class Settings:
    """The settings of a network, as read-only attributes."""

    _value: Value
    _given_task: str | None
    _drawn_seed: Any  # where none was given
    _assignable: ClassVar[Sequence[str]]  # of a class that refuses to assign anything else; those derived from it may

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to assign settings, and unknown names: a misspelt one would do nothing. Subclasses may have more."""
        if name.startswith("_"):  # fast path: training assigns a value after each chunk
            return super().__setattr__(name, value)
        attribute = getattr(type(self), name, None)
        if name == "cost" or (isinstance(attribute, property) and attribute.fset is None):
            remedy = "call reset_optimizer(...)" if name == "optimizer" else "make a new Network"
            raise AttributeError(f"{name} of a network cannot be assigned; {remedy}")
        if "_assignable" in vars(type(self)) and not isinstance(attribute, property):
            names = self._assignable
            hint = suggest_argument(name, names, type(self))
            raise AttributeError(f"{name} of a network cannot be assigned{hint}; choose from {choices(names)}")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker knows all attributes

        def __getattr__(self, name: str) -> Any:
            """Say what an attribute of the book's programs or of another library is called here."""
            if name.startswith("_") or hasattr(type(self), name):
                return object.__getattribute__(self, name)  # raises the error of Python, or of the property
            raise AttributeError(explain_attribute(type(self), name), name=name, obj=self)

    @property
    def sizes(self) -> list[int]:
        """Number of units of each layer."""
        return list(self._value.model.sizes)

    @property
    def num_layers(self) -> int:
        """Number of layers, inputs included."""
        return len(self._value.model.sizes)

    @property
    def sigmas(self) -> tuple[Activation, ...]:
        """The activation functions of all layers."""
        return self._value.model.sigmas

    @property
    def activation(self) -> list[str]:
        """Names of the activations of the hidden layers."""
        return [sigma.name for sigma in self._value.model.sigmas[:-1]]

    @property
    def output_activation(self) -> str:
        """Name of the activation of the output layer."""
        return self._value.model.sigmas[-1].name

    @property
    def cost_name(self) -> str:
        """Name of the cost function."""
        return self._value.model.cost.name

    @property
    def output(self) -> Output:
        """The cost combined with the activation of the output layer."""
        return self._value.model.output

    @property
    def task(self) -> str:
        """The task, as given or inferred from the output layer."""
        return self._value.model.task

    @property
    def dropout(self) -> list[float]:
        """Dropout rates of the inputs and of each hidden layer."""
        return list(self._value.model.dropout)

    @property
    def scale(self) -> float | None:
        """The number that multiplies the inputs, if any."""
        return self._value.model.scale

    @property
    def standardize(self) -> bool:
        """Whether inputs, and the targets of a regression, are standardized."""
        return self._value.model.standardize

    @property
    def backend(self) -> Backend:
        """Where the network computes."""
        return self._value.place.backend

    @property
    def dtype(self) -> str:
        """The dtype of the weights and of all computations."""
        return self._value.place.dtype

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make a network like this one."""
        return {
            "sizes": self.sizes,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "task": self._given_task,
            "dropout": self.dropout,
            "scale": self.scale,
            "standardize": self._value.model.standardize,
            "dtype": self.dtype,
        }

    def __repr__(self) -> str:
        hidden = self.activation
        shown = {
            "activation": (hidden[0] if len(set(hidden)) == 1 else hidden) if hidden else None,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "dropout": self.dropout if any(self.dropout) else None,
            "scale": self.scale,
            "standardize": self.standardize or None,
            "backend": self.backend.name,
            "device": self.backend.device_name,
            "dtype": self.dtype,
        }
        return f"Network({self.sizes}, {', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"
