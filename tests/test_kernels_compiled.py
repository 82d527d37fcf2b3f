"""NVIDIA's compiler takes every kernel in every variant, and leaves nothing in slow memory.

It needs no GPU, but it needs the compiler: the extra `test` brings it.
"""
import pytest

from minicredit.kernels.cuda import compiled, source
from minicredit.kernels.cuda.trials import TRIALS

FILES = sorted(path.stem for path in source.FOLDER.glob("*.cu"))
REGISTERS = 1 << 16                     # of a multiprocessor: what a block's threads share
SHARED = 48 << 10                       # bytes that a block gets without asking
REAL = (("real", "float"),)


@pytest.fixture(scope="module")
def usages():
    """What the compiler says of everything that the operations ask for; kept from run to run."""
    return compiled.all_usages()


def found(usages, file):
    """Each kernel of a file, in each variant, on each architecture."""
    for one in compiled.variants():
        for architecture in compiled.ARCHITECTURES * (one.file == file):
            yield one, architecture, usages[file, one.defines, architecture][one.kernel]


def test_every_file_is_put_to_work_with_all_its_kernels():
    assert FILES == sorted(TRIALS)
    asked = {(one.file, one.kernel) for one in compiled.variants()}
    assert asked == {(file, kernel) for file in FILES
                     for kernel in source.kernels(source.flatten(file))}


@pytest.mark.parametrize("file", FILES)
def test_a_kernel_keeps_its_numbers_in_registers(usages, file):
    """Nothing spilled, no stack: either goes through global memory."""
    slow = [(one.kernel, one.defines, architecture, usage)
            for one, architecture, usage in found(usages, file) if usage.spills or usage.stack]
    assert not slow, "\n".join(map(str, slow))


@pytest.mark.parametrize("file", FILES)
def test_a_block_fits_a_multiprocessor(usages, file):
    """Its registers, its threads, its shared memory."""
    large = [(one.kernel, one.defines, architecture, usage)
             for one, architecture, usage in found(usages, file)
             if one.threads > 1024 or one.threads * usage.registers > REGISTERS
             or one.shared + usage.shared > SHARED]
    assert not large, "\n".join(map(str, large))


def planted(body):
    """What the compiler says of a kernel with this body."""
    text = f'extern "C" __global__ void planted(real* x, int n) {{ {body} }}'
    return compiled.usage("planted", REAL, "90", text)["planted"]


def test_an_array_that_no_register_can_hold_is_seen():
    body = ("real a[64]; for (int i = 0; i < 64; ++i) { a[i * n % 64] = x[i]; x[i] = 0; } "
            "x[0] = a[n];")
    assert planted(body).stack == 256


def test_shared_memory_is_seen():
    body = "__shared__ real a[1000]; a[n] = x[n]; __syncthreads(); x[0] = a[999 - n];"
    assert planted(body).shared == 4000


def test_a_spill_is_seen():
    text = """
extern "C" __global__ void __launch_bounds__(1024) planted(const real* x, real* out, int n) {
    real a[128];
#pragma unroll
    for (int i = 0; i < 128; ++i) a[i] = x[i];
    for (int j = 0; j < n; ++j) {
#pragma unroll
        for (int i = 0; i < 128; ++i) a[i] += a[(i + 7) % 128] * x[j];
    }
#pragma unroll
    for (int i = 0; i < 128; ++i) out[i] = a[i];
}
"""
    assert compiled.usage("planted", REAL, "90", text)["planted"].spills > 0


def test_what_does_not_compile_is_refused():
    with pytest.raises(Exception, match="undefined"):
        planted("x[0] = undefined;")
