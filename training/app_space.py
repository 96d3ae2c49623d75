"""The app on a Hugging Face Space, which is told by variables of its settings what to load."""

import html
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from .app import MAX_UPLOAD_MB, explain_page, open_page


if TYPE_CHECKING:
    from gradio import Blocks

#: Variables of the Space, and what they name.
VARIABLES = {
    "MODEL_ID": "the model, as `user/name` on the Hub. Needed",
    "INDEX_ID": "an index that `MotionIndex.push_to_hub` made with this model: the motions that can be found",
    "DATA_FOLDER": "a folder of motion files in the Space: what can be found, or, beside an index, its pictures",
    "LLAMO_ID": "a MotionLlamo to talk with",
    "MAX_UPLOAD_MB": f"the largest file that can be uploaded, in MB; default {MAX_UPLOAD_MB:g}",
}
_log = logging.getLogger(__name__)


def space_page(variables: Mapping[str, str]) -> "Blocks":
    """The page that variables ask for, or one that says what is missing or wrong.

    Args:
        variables: Of the environment, such as `os.environ`; see `VARIABLES`.

    Raises:
        ImportError: If Gradio is not installed.
    """
    model = variables.get("MODEL_ID", "").strip()
    if not model:
        return explain_page(_explain("The variable `MODEL_ID` is not set, so there is no model to show."))
    try:
        return open_page(
            model,
            variables.get("INDEX_ID", "").strip() or None,
            variables.get("DATA_FOLDER", "").strip() or None,
            variables.get("LLAMO_ID", "").strip() or None,
            upload_limit(variables),
        )
    except (ValueError, OSError) as error:
        _log.exception("the app cannot start")
        words = html.escape(str(error), quote=False)
        return explain_page(_explain(f"What the variables name cannot be loaded:\n\n<pre>{words}</pre>"))


def upload_limit(variables: Mapping[str, str]) -> float:
    """`MAX_UPLOAD_MB`, or the default.

    Raises:
        ValueError: If it is no number above 0.
    """
    text = variables.get("MAX_UPLOAD_MB", "").strip()
    try:
        limit = float(text or MAX_UPLOAD_MB)
    except ValueError:
        limit = 0
    if not 0 < limit < float("inf"):
        raise ValueError(f"MAX_UPLOAD_MB is {text!r}; expected a number of MB above 0")
    return limit


def _explain(problem: str) -> str:
    known = "\n".join(f"- `{name}`: {meaning}" for name, meaning in VARIABLES.items())
    return f"# This app is not ready\n\n{problem}\n\nSet the variables in the settings of the Space:\n\n{known}\n"
