"""Reports: read run directories only, never recompute."""

from bilearn.report.comparison import write_comparison
from bilearn.report.page import write_report
from bilearn.report.tables import print_comparison, print_summary

__all__ = ["print_comparison", "print_summary", "write_comparison", "write_report"]
