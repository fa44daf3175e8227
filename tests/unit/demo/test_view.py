"""What the demo shows where there is no terminal, and what counts as a success."""

import io

from rich.console import Console

from demo import view

ROW = view.Row(
    job="digits-cnn",
    tenant="globex",
    round=3,
    rounds=60,
    state="training: 2 of 8 devices reported",
    bound=9,
    reported=2,
    accuracy=0.5,
    finished=False,
)
GOOD = view.Outcome("digits-cnn", "globex", "completed", 60, 91.0, 27, "/m", 0.975, 0.95)


def _console() -> Console:
    return Console(file=io.StringIO(), width=80)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_it_prints_lines_when_something_changed() -> None:
    console = _console()
    with view.View(console, "http://here") as shown:
        shown.show([ROW], view.FleetState(40, None, None))
        shown.show([ROW], view.FleetState(40, None, None))
    assert _text(console) == (
        "globex/digits-cnn: round 3/60, training: 2 of 8 devices reported, accuracy 0.500\n"
    )


def test_the_fleet_in_words() -> None:
    assert view.FleetState(40, 38, 12).words() == "38 of 40 devices connected, 12 at work"
    assert view.FleetState(40, None, None).words() == "40 devices"


def test_the_results_fit_80_columns_and_name_the_model() -> None:
    console = _console()
    console.print(view.results([GOOD]))
    assert "0.975 (≥ 0.95)" in _text(console)
    assert "digits-cnn: /m" in _text(console)
    assert "…" not in _text(console)


def test_only_a_completed_job_at_its_accuracy_is_good() -> None:
    assert GOOD.good
    assert GOOD.fault() == ""
    low = view.Outcome("j", "t", "completed", 60, 91.0, 27, "/m", 0.9, 0.95)
    assert low.fault() == "j: accuracy 0.900 is below 0.950"
    failed = view.Outcome("j", "t", "failed", 6, 91.0, 27, "/m", 0.99, 0.95)
    assert failed.fault() == "j: failed"
