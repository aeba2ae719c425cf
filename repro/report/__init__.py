"""Results as pages, figures and terminal output."""
