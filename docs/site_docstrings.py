"""For mkdocstrings: what a docstring says under Returns is told in sentences, of which none is a type."""

import re
from typing import Any

from griffe import Extension, Function


class ReturnsInSentences(Extension):
    """Put the annotation before the text, as griffe else takes what stands before a colon for the type."""

    def on_function_instance(self, *, func: Function, **_: Any) -> None:
        """Change the docstring of a function, in which `Returns:` stands on a line of its own."""
        if func.docstring is not None and func.returns is not None:
            value = func.docstring.value
            func.docstring.value = re.sub(r"(?m)^(Returns:\n\s+)", lambda found: f"{found[1]}{func.returns}: ", value)
