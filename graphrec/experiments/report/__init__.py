"""A study, or any runs, as one page that works from disk.

- `collect`: what the page tells, read from run folders and their dataset
- `levels`: metrics over the levels of an axis, and of damage after training
- `charts`: lines, bars and intervals as SVG
- `page`: the page
"""

from graphrec.experiments.report.collect import Report, collect_report
from graphrec.experiments.report.page import report_page, write_report

__all__ = ["Report", "collect_report", "report_page", "write_report"]
