"""Workflows: run a study's plan, measure, judge and report; or run one stage on the user's own models."""
