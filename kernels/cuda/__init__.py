"""The operations of `kernels.reference` as CUDA kernels, one operation a file.

    *.cu, *.cuh     the kernels, and the device functions that several of them share
    source.py       reads a kernel's file: its parameters, the layout of its structs
    work.py         what is asked of a device, and many such works in one launch
    dense.py ...    the operations, a family a file, as in `kernels.cpu`
    ops.py          all of them, under the reference's names, bound to a device
    gpu.py          the device, through CuPy
    emulator        the device on a CPU, which runs the same files thread by thread and checks them
    graph.py        a step of a rule, recorded and replayed as one launch
    trials.py       every kernel at work: arrays for it, and what should come out
    faults.py       breaks kernels, and says what is found
    compiled.py     what the compiler makes of every kernel: registers, spills, shared memory
"""
