"""What imports what, what is installed under which name, and how the source is written."""
import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = "kernels", "minicredit", "lessons"
HEAVY = "numba", "cupy", "matplotlib", "scipy", "pooch", "rich"
DOCTOR = "minicredit/doctor.py"             # says which accelerators work here, so it has to look
SOURCES = sorted(path for folder in (*PACKAGES, "tests", "benchmarks")
                 for path in (ROOT / folder).rglob("*.py"))
INSTALLED = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in PACKAGES]


def named(path):
    """A file as it is called from the top of the repository."""
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Every module that a file imports, anywhere in it, by its full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{named(path)}:{node.lineno}: a relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inside(module, package):
    return module == package or module.startswith(package + ".")


def written(code):
    """What a fresh interpreter prints for a line of code."""
    run = [sys.executable, "-c", code]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout


# Imports run one way: lessons -> minicredit -> kernels -> {numpy, numba, cupy} --------------------

def test_kernels_import_nothing_of_minicredit_but_kernels():
    for path in (ROOT / "kernels").rglob("*.py"):
        ours = {m for m in imports(path) if inside(m, "minicredit") and m != "minicredit"}
        wrong = {m for m in ours if not inside(m, "minicredit.kernels")}
        assert not wrong, f"{named(path)} imports {wrong}"


def test_kernels_need_numpy_numba_and_cupy_at_most():
    allowed = {*sys.stdlib_module_names, "minicredit", "numpy", "numba", "cupy"}
    for path in (ROOT / "kernels").rglob("*.py"):
        more = {"llvmlite"} if named(path).startswith("kernels/cpu") else set()
        wrong = {m for m in imports(path) if m.partition(".")[0] not in allowed | more}
        assert not wrong, f"{named(path)} imports {wrong}"


@pytest.mark.parametrize("package, home", [("numba", "kernels/cpu"), ("cupy", "kernels/cuda")])
def test_an_accelerator_is_imported_in_its_own_backend_only(package, home):
    for path in INSTALLED:
        if not named(path).startswith((home, DOCTOR)):
            assert not any(inside(m, package) for m in imports(path)), named(path)


def test_minicredit_does_not_import_its_lessons():
    for path in (ROOT / "minicredit").rglob("*.py"):
        assert not any(inside(m, "minicredit.lessons") for m in imports(path)), named(path)


def test_no_file_imports_a_folder_by_the_name_it_has_in_the_repository_only():
    for path in SOURCES:
        assert not any(inside(m, top) for m in imports(path) for top in ("kernels", "lessons")), \
            f"{named(path)}: wanted minicredit.kernels or minicredit.lessons"


def test_no_file_imports_an_automatic_differentiator():
    for path in INSTALLED:
        assert not any(inside(m, p) for m in imports(path) for p in ("torch", "jax", "autograd")), \
            named(path)


def test_importing_minicredit_takes_under_three_tenths_of_a_second():
    """Of processor time, because others may share this machine."""
    code = ("import time; start = time.process_time(); import minicredit; "
            "print(time.process_time() - start)")
    times = sorted(float(written(code)) for _ in range(5))
    assert times[0] < 0.3, f"best of five: {times[0]:.3f} s"


def test_importing_minicredit_imports_nothing_heavy():
    modules = written("import sys, minicredit; print(*sys.modules)").split()
    assert "minicredit.rules.dtp" in modules and not set(HEAVY) & set(modules)


# The wheel ----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel that is built from a copy of the tree, without the network."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in PACKAGES:
        shutil.copytree(ROOT / folder, tree / folder,
                        ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    done = subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tree)],
                           cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    made, = (tree / "dist").glob("*.whl")
    return made


@pytest.fixture(scope="module")
def wheel(built):
    """The names in the wheel."""
    return zipfile.ZipFile(built).namelist()


def test_the_wheel_installs_one_package_and_takes_no_name_of_others(wheel):
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"minicredit"}


def test_the_wheel_has_every_module_of_the_tree(wheel):
    want = {named(path) if named(path).startswith("minicredit/") else f"minicredit/{named(path)}"
            for path in INSTALLED}
    assert want <= set(wheel), f"not in the wheel: {sorted(want - set(wheel))}"


def test_the_wheel_has_every_file_that_the_code_reads(wheel):
    kinds = {".gz", ".md", ".css", ".html", ".toml", ".cu", ".cuh", ".h", ".cpp"}
    for folder in PACKAGES:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in kinds:
                there = named(path) if folder == "minicredit" else f"minicredit/{named(path)}"
                assert there in wheel


def test_the_cuda_kernels_run_on_a_cpu_from_an_installed_wheel(built, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", site, built], check=True)
    code = ("import minicredit, numpy; from minicredit.rules import Backprop; "
            "net = minicredit.create((6, 5, 4), backend='emulated'); ops = net.ops; "
            "x = ops.asarray(numpy.ones((3, 6), 'float32')); y = ops.asarray(numpy.arange(3)); "
            "loss = ops.to_numpy(Backprop(net).step(x, y)); "
            "print(minicredit.__file__, numpy.isfinite(loss).all())")
    env = {**os.environ, "PYTHONPATH": str(site), "MINICREDIT_CACHE": str(tmp_path / "cache")}
    said = subprocess.run([sys.executable, "-c", code], cwd=empty, env=env, text=True,
                          capture_output=True)
    assert said.stdout.split() == [str(site / "minicredit" / "__init__.py"), "True"], said.stderr


def test_the_wheel_has_the_digits_and_the_licence(wheel):
    assert "minicredit/data/digits-images-idx3-ubyte.gz" in wheel
    assert "minicredit/data/digits-labels-idx1-ubyte.gz" in wheel
    assert any(name.endswith("/LICENSE") for name in wheel)


# The source ---------------------------------------------------------------------------------------

def test_no_line_is_longer_than_a_hundred_columns():
    long = [f"{named(path)}:{n}" for path in SOURCES
            for n, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 100]
    assert not long, " ".join(long)


def test_every_file_opens_with_what_it_is():
    silent = [named(path) for path in SOURCES
              if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent, " ".join(silent)


def public(tree, methods, prefix=""):
    """Every function and class, and method if asked, whose name has no underscore in front."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name[0] != "_":
            yield prefix + node.name, node
            if methods and isinstance(node, ast.ClassDef):
                yield from public(node, methods, node.name + ".")


def undocumented(paths, methods):
    """Where something public has no docstring."""
    return [f"{named(path)}:{node.lineno} {name}" for path in paths
            for name, node in public(ast.parse(path.read_text()), methods)
            if not ast.get_docstring(node)]


def test_every_public_function_and_class_says_what_it_is():
    assert not undocumented(INSTALLED, methods=False)


def test_every_method_of_a_network_a_layer_a_rule_and_an_optimiser_says_what_it_is():
    read = [path for path in INSTALLED if path.parent.name in ("layers", "rules")
            or path.stem in ("network", "optimizers", "coherent")]
    assert not undocumented(read, methods=True)


def test_a_rule_file_has_no_mutable_global_decorator_or_double_star():
    for path in (ROOT / "minicredit" / "rules").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, (ast.Global, ast.Nonlocal, ast.Lambda)), named(path)
            if isinstance(node, ast.FunctionDef):
                assert not node.decorator_list and not node.args.kwarg, f"{named(path)} {node.name}"


def test_no_file_changes_the_global_random_state():
    for path in INSTALLED:
        assert "random.seed" not in path.read_text(), named(path)
