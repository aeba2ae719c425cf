"""The figures of a report: one style, one export, one module per kind of figure or study."""
