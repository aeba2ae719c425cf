"""The sections of a report: lists of blocks, built once for the page and its brief."""
