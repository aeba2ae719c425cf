"""From a plan to a verdict: run, measure, judge, report."""
