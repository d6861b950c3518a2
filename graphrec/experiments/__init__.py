"""Studies: many runs planned, compared and reported.

- `compare`: runs side by side, paired by user, with intervals and tests
- `render`: a comparison as a table, Markdown, LaTeX, CSV or JSON
"""

from graphrec.experiments.compare import Comparison, Variant, compare_runs
from graphrec.experiments.render import FORMATS, render

__all__ = ["FORMATS", "Comparison", "Variant", "compare_runs", "render"]
