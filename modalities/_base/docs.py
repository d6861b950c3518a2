"""What docstrings say of arguments, for tables of options."""

from __future__ import annotations

import re
from collections.abc import Mapping


def argument_help(doc: str) -> Mapping[str, str]:
    r"""The text of each argument in the `Args:` section of a Google-style docstring.

    Example:
        >>> argument_help("What.\n\nArgs:\n    dim: length of\n        a vector.")
        {'dim': 'length of a vector.'}
    """
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.DOTALL | re.MULTILINE)
    if section is None:
        return {}
    entries = re.findall(r"^    (\w[\w, ]*): (.*?)(?=^    \w|\Z)", section.group(1), re.S | re.M)
    return {
        name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")
    }
