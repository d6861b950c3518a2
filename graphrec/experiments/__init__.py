"""Studies: many runs planned, compared and reported.

- `plan`: a study as it is declared, and the runs it amounts to
- `study`, `worker`: the runs trained, work shared, test opened at the end
- `engines`, `cluster`: what trains them: processes of this machine, or a Ray cluster
- `compare`: runs side by side, paired by user, with intervals and tests
- `across`: comparisons on several splits, put together split by split
- `render`: a comparison as a table, Markdown, LaTeX, CSV or JSON
- `tune`: a search for good options
- `report`: everything on one page
"""

from graphrec.experiments.compare import Comparison, Variant, compare_runs
from graphrec.experiments.render import FORMATS, render

__all__ = ["FORMATS", "Comparison", "Variant", "compare_runs", "render"]
