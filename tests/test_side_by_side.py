"""What `make test` hands to each of its two workers."""

from tests.side_by_side import BESIDE, EMULATIONS, REPOSITORY, piece, rank


def test_emulations_are_one_piece_and_other_files_one_each() -> None:
    emulation, unit = "tests/test_chaos.py::test_chaos[1]", "tests/test_wire_esp.py::test_any"
    assert piece(emulation) == piece("tests/test_figure_1_paths.py::test_any") == EMULATIONS
    assert piece(unit) == "tests/test_wire_esp.py"
    assert rank(emulation) < rank(unit)


def test_what_may_run_beside_them_is_there_and_routes_nothing() -> None:
    for beginning in BESIDE:
        files = list(REPOSITORY.glob(f"{beginning}*"))
        assert files, beginning
        for file in files:
            name, text = str(file.relative_to(REPOSITORY)), file.read_text()
            assert piece(f"{name}::test_any") == name
            assert not [each for each in ("figure_1: Lab", "figure_2: Figure2") if each in text]
