"""Conditions on columns choose the rows that a person means, or say what is wrong with them."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from motionpatches.training.index_filters import matching_rows


TABLE = pa.table(
    {
        "duration": [1.5, 2.0, 2.5, 8.0],
        "num_frames": [30, 40, 50, 160],
        "label": ["walk", None, "long jump", "walk"],
        "mirrored": [True, False, False, True],
        "captions": [["a"], [], ["b"], ["c"]],
    }
)


@pytest.mark.parametrize(
    ("where", "rows"),
    [
        (None, [0, 1, 2, 3]),
        ("duration > 2", [2, 3]),
        ("duration>=2", [1, 2, 3]),
        ("num_frames < 50", [0, 1]),
        ("num_frames <= 50", [0, 1, 2]),
        ("label = walk", [0, 3]),
        ("label == 'long jump'", [2]),
        ("label != walk", [2]),  # a row without a label meets no condition on it
        ("label in walk, 'long jump'", [0, 2, 3]),
        ("num_frames in [30, 160]", [0, 3]),
        ("mirrored = true", [0, 3]),
        (["duration > 2", "label = walk"], [3]),
        (["duration > 100"], []),
        (pc.field("duration") > 2, [2, 3]),
        ([pc.field("duration") > 2, "label = walk"], [3]),
    ],
)
def test_rows_that_meet_all_conditions(where, rows):
    assert matching_rows(TABLE, where).tolist() == rows


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("duration", "expected a column, an operator and a value, such as 'duration > 2'"),
        ("length > 2", "names no column of the index; it has duration, num_frames, label"),
        ("duration > long", "the column holds double, and 'long' is none"),
        ("num_frames in 3, x", "the column holds int64, and 'x' is none"),
        ("captions = a", "column 'captions' holds lists"),
        (pc.field("label") > 2, "condition"),
    ],
)
def test_a_condition_that_cannot_be_met_says_why(where, message):
    with pytest.raises(ValueError, match="condition") as raised:
        matching_rows(TABLE, where)
    assert message in str(raised.value)
