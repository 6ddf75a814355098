"""A CUDA runtime whose device memory is memory of the host: allocations, copies, devices, streams and graphs."""

import ctypes
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from host_cupy.counts import Meter

POISON = 0xAB  # new memory is filled with it, so that reading what was never written shows
ALIGNMENT = 512  # of the addresses that cudaMalloc returns
TO_DEVICE, TO_HOST = 1, 2  # kinds of copies
NO_DEVICE, CAPTURE_UNSUPPORTED = 100, 900  # numbers of errors
ATTRIBUTES = {75: 9, 76: 0, 10: 32}  # compute capability 9.0, 32 threads in a warp; every other attribute is 1


class HostRuntime:
    """The functions of CUDA's runtime that CuPy calls, on the host.

    Work is done at once, unless the stream is being captured: then it is recorded, and done when the graph is launched.

    Parameters
    ----------
    runtime
        CuPy's module of these functions, for its errors.
    meter
        Counts copies, synchronizations and launches of graphs.
    """

    def __init__(self, runtime: ModuleType, meter: Meter) -> None:
        self.n_devices, self.device, self.meter = 1, 0, meter
        self._error = runtime.CUDARuntimeError
        self._handles = itertools.count(1000)
        self._memory: dict[int, np.ndarray] = {}
        self._captures: dict[int, list[Callable[[], Any]]] = {}  # by stream
        self._graphs: dict[int, list[Callable[[], Any]]] = {}

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return all functions by their names in CuPy."""
        new_handle = lambda *args: next(self._handles)  # noqa: E731
        nothing = lambda *args: None  # noqa: E731
        return {
            "getDevice": lambda: self.device,
            "setDevice": self.set_device,
            "getDeviceCount": self.count_devices,
            "deviceGetAttribute": lambda attribute, device: ATTRIBUTES.get(attribute, 1),
            "getDeviceProperties": lambda device: {"name": b"host memory", "warpSize": 32},
            "runtimeGetVersion": lambda: 12090,
            "driverGetVersion": lambda: 12090,
            "_ensure_context": nothing,
            "deviceCanAccessPeer": lambda device, peer: 1,
            "_deviceEnsurePeerAccess": nothing,
            "deviceSynchronize": self.synchronize,
            "malloc": self.allocate,
            "free": self.free,
            "hostAlloc": self.pin,
            "freeHost": self.free,
            "memGetInfo": lambda: (1 << 33, 1 << 34),
            "pointerGetMemoryType": lambda pointer: 0,
            "memcpy": lambda to, source, size, kind: self.copy(to, source, size, kind, 0),
            "memcpyAsync": self.copy,
            "memset": lambda pointer, value, size: self.submit(0, lambda: ctypes.memset(pointer, value, size)),
            "memsetAsync": lambda pointer, value, size, stream: self.submit(
                stream, lambda: ctypes.memset(pointer, value, size)
            ),
            "streamCreate": new_handle,
            "streamCreateWithFlags": new_handle,
            "streamCreateWithPriority": new_handle,
            "streamDestroy": nothing,
            "streamQuery": nothing,
            "streamSynchronize": self.synchronize,
            "streamWaitEvent": lambda *args: self.meter.add("wait for another stream"),
            "streamIsCapturing": lambda stream: int(stream in self._captures),
            "streamBeginCapture": self.begin_capture,
            "streamEndCapture": self.end_capture,
            "graphInstantiate": self.instantiate,
            "graphUpload": nothing,
            "graphLaunch": self.launch,
            "graphDestroy": self.destroy,
            "graphExecDestroy": self.destroy,
            "eventCreate": new_handle,
            "eventCreateWithFlags": new_handle,
            "eventDestroy": nothing,
            "eventRecord": nothing,
            "eventQuery": lambda event: 0,
            "eventSynchronize": self.synchronize,
        }

    def count_devices(self) -> int:
        """Count the devices; without any, fail as CUDA does."""
        if self.n_devices == 0:
            raise self._error(NO_DEVICE)
        return self.n_devices

    def set_device(self, number: int) -> None:
        """Make a device the current one."""
        self.device = number

    def allocate(self, size: int) -> int:
        """Return the address of new memory, filled with poison."""
        buffer = np.full(size + ALIGNMENT, POISON, np.uint8)
        address = buffer.ctypes.data
        address += -address % ALIGNMENT
        self._memory[address] = buffer
        return address

    def allocated(self) -> int:
        """Count the bytes of all memory that is held."""
        return sum(buffer.nbytes for buffer in self._memory.values())

    def pin(self, size: int, flags: int) -> int:
        """Return the address of new memory from which CUDA can copy by itself."""
        return self.allocate(size)

    def free(self, address: int) -> None:
        """Give memory back."""
        self._memory.pop(address, None)

    def copy(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        """Copy memory."""
        if kind in (TO_DEVICE, TO_HOST):
            self.meter.add("copy to the device" if kind == TO_DEVICE else "copy to the host")
        self.submit(stream, lambda: ctypes.memmove(to, source, size))

    def synchronize(self, stream: int = 0) -> None:
        """Wait for nothing, and count it."""
        self.meter.add("synchronization")
        if stream in self._captures:
            raise self._error(CAPTURE_UNSUPPORTED)

    def submit(self, stream: int, work: Callable[[], Any]) -> None:
        """Do some work, or record it."""
        if stream in self._captures:
            self._captures[stream].append(work)
        else:
            work()

    def is_capturing(self) -> bool:
        """Whether the current stream is being captured."""
        from cupy.cuda import get_current_stream  # it binds to these functions when it is imported

        return bool(self._captures) and get_current_stream().ptr in self._captures

    def begin_capture(self, stream: int, mode: int = 0) -> None:
        """Record what is submitted to a stream from now on."""
        self._captures[stream] = []

    def end_capture(self, stream: int) -> int:
        """Return a graph of what was recorded."""
        graph = next(self._handles)
        self._graphs[graph] = self._captures.pop(stream)
        return graph

    def instantiate(self, graph: int) -> int:
        """Return a graph that can be launched."""
        executable = next(self._handles)
        self._graphs[executable] = self._graphs[graph]
        return executable

    def launch(self, graph: int, stream: int) -> None:
        """Do what was recorded."""
        self.meter.add("graph launch")
        for work in self._graphs[graph]:
            self.submit(stream, work)

    def destroy(self, graph: int) -> None:
        """Forget a graph."""
        self._graphs.pop(graph, None)
