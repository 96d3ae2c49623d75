"""Conditions on the columns of an index: `duration > 2`, `skeleton = smpl22`, `label in walk, run`."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


Condition: TypeAlias = "str | pc.Expression"
Where: TypeAlias = "Condition | Sequence[Condition] | None"

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": lambda column, value: column <= value,
    ">=": lambda column, value: column >= value,
    "!=": lambda column, value: column != value,
    "==": lambda column, value: column == value,
    "=": lambda column, value: column == value,
    "<": lambda column, value: column < value,
    ">": lambda column, value: column > value,
}
_FORM = re.compile(r"\s*(?P<column>[^<>=!]+?)\s*(?P<operator><=|>=|!=|==|=|<|>|\bin\b)\s*(?P<value>.+?)\s*")
_EXAMPLES = "such as 'duration > 2', 'skeleton = smpl22' or 'label in walk, run'"


def matching_rows(table: pa.Table, where: Where) -> np.ndarray:
    """The numbers of the rows that meet all conditions, in ascending order.

    A row without a value in a column meets no condition on it.

    Args:
        table: The columns, N rows.
        where: Conditions as text, a column, one of `= != < <= > >= in` and a value, perhaps in quotes; or expressions of
            `pyarrow.compute`.

    Raises:
        ValueError: If a condition cannot be understood, names no column, or compares with another type.
    """
    conditions: list[Any] = [] if where is None else [where] if isinstance(where, (str, pc.Expression)) else list(where)
    chosen = table.append_column("__row", pa.array(np.arange(len(table))))
    for condition in conditions:
        expression = condition if isinstance(condition, pc.Expression) else parse_condition(condition, table.schema)
        try:
            chosen = chosen.filter(expression)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise ValueError(f"condition {str(condition)!r}: {error}") from error
    return chosen["__row"].to_numpy()


def parse_condition(text: str, schema: pa.Schema) -> pc.Expression:
    """A condition as an expression of `pyarrow.compute`.

    Raises:
        ValueError: If it cannot be understood.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"condition {text!r} is none; expected a column, an operator and a value, {_EXAMPLES}")
    column, operator, value = found["column"], found["operator"], found["value"]
    if column not in schema.names:
        raise ValueError(f"condition {text!r} names no column of the index; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    if pa.types.is_nested(kind):
        raise ValueError(f"condition {text!r}: column {column!r} holds lists, which cannot be compared; use another column")
    if operator == "in":
        values = [_to_value(part, kind, text) for part in value.strip("[]()").split(",") if part.strip()]
        return pc.field(column).isin(pa.array(values, kind))
    scalar = pa.scalar(_to_value(value, kind, text), kind)
    return _OPERATORS[operator](pc.field(column), scalar)


def _to_value(text: str, kind: pa.DataType, condition: str) -> Any:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    try:
        return pa.scalar(text).cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"condition {condition!r}: the column holds {kind}, and {text!r} is none") from error
