"""The backend `emulated`: the operations of `kernels.cuda` on a CPU, no GPU and no CUDA needed.

The kernels' own files are compiled with a C++ compiler and run thread by thread, see threads.cpp.
That is slow, and what it is for is not speed: it shows that a kernel is right.
"""
from minicredit.kernels.cuda.emulator.device import Device
from minicredit.kernels.cuda.ops import Operations

operations = Operations(Device())
