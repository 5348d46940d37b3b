import csv

from bilearn.callbacks import CSVHistory, Progress, TensorBoard
from bilearn.callbacks.csv_history import flatten

ROWS = [
    {"evaluation": 1, "value": 2.5, "parameters": {"alpha": 0.1, "map": {"min": 0.0, "max": 1.0, "mean": 0.5}}},
    {"evaluation": 2, "value": 1.5, "parameters": {"alpha": 0.2, "map": {"min": 0.1, "max": 0.9, "mean": 0.4}}},
    {
        "evaluation": 3,
        "value": float("inf"),
        "parameters": {"alpha": 0.3, "map": {"min": 0.1, "max": 0.9, "mean": 0.4}},
    },
]


def step(rows):
    return Progress(0, 1, current=None, best=None, parameters="", rows=rows)


def test_rows_become_flat():
    assert flatten(ROWS[0]) == {
        "evaluation": 1,
        "value": 2.5,
        "parameters.alpha": 0.1,
        "parameters.map.min": 0.0,
        "parameters.map.max": 1.0,
        "parameters.map.mean": 0.5,
    }


def test_table_grows_and_begins_anew_with_a_run(tmp_path):
    path = tmp_path / "history.csv"
    for earlier, new in (([], ROWS[:2]), (ROWS[:1], ROWS[1:2])):
        table = CSVHistory(path)
        table.start(earlier)
        table.step(step([]))
        for row in new:
            table.step(step([row]))
        with path.open() as file:
            read = list(csv.DictReader(file))
        assert [float(r["value"]) for r in read] == [2.5, 1.5]
        assert [float(r["parameters.map.max"]) for r in read] == [1.0, 0.9]


def test_tensorboard_holds_the_finite_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path)
    board.start(ROWS[:1])
    board.step(step(ROWS[1:]))
    board.end("done")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("value")] == [(1, 2.5), (2, 1.5)]
    assert len(events.Scalars("parameters.alpha")) == 3
