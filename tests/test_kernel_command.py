"""`minicredit kernels`: what there is, and one kernel under the checks."""
import pytest

from minicredit.__main__ import main
from minicredit.kernels.cuda import source
from minicredit.kernel_command import first_line


def test_a_kernel_as_it_is_has_nothing_wrong_and_shows_how_it_reads(capsys):
    assert main(["kernels", "check", "dense", "--size", "20x17x30"]) == 0
    said = capsys.readouterr().out
    assert "nothing found" in said and "global" in said and "shared" in said


def test_a_kernel_without_a_barrier_races(capsys):
    assert main(["kernels", "check", "mean_rows", "--barriers"]) == 0
    assert "mean_rows.cu:" in (listed := capsys.readouterr().out) and "__syncthreads" in listed
    assert main(["kernels", "check", "mean_rows", "--delete-barrier", "1"]) == 1
    said = capsys.readouterr().out
    assert "uninit" in said or "race" in said


def test_a_file_of_ones_own_takes_a_kernels_place(tmp_path, capsys):
    mine = tmp_path / "mine.cu"
    mine.write_text(source.located("join").read_text().replace("p.first", "(p.first + 1)"))
    assert main(["kernels", "check", "join", "--source", str(mine)]) == 1
    assert "bounds" in capsys.readouterr().out


@pytest.mark.parametrize("words, said", [
    (["nothing"], "wanted one of dense"),
    (["dense", "--size", "3x3"], "--size: wanted three numbers"),
    (["dense", "--dtype", "float16"], "--dtype: wanted one of float32, float64"),
    (["dense", "--schedule", "sideways"], "--schedule: wanted one of up, down, random"),
    (["dense", "--delete-barrier", "99"], "--delete-barrier: dense waits"),
    (["dense", "--source", "/there/is/none.cu"], "--source: /there/is/none.cu"),
])
def test_what_is_wrong_is_said_in_one_line(words, said, capsys):
    assert main(["kernels", "check", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_file_that_does_not_compile_says_why(tmp_path, capsys):
    mine = tmp_path / "mine.cu"
    mine.write_text(source.located("join").read_text().replace("p.first", "p.nothing"))
    assert main(["kernels", "check", "join", "--source", str(mine)]) == 2
    assert "nothing" in capsys.readouterr().err


def test_every_kernels_header_says_what_it_does_in_a_sentence():
    for path in source.FOLDER.glob("*.cu"):
        sentence = first_line(source.flatten(path.stem))
        assert " -- " not in sentence and 10 < len(sentence) < 200, f"{path.name}: {sentence}"
