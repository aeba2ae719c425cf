"""Printed tables, numbers and claims of the paper, read from paper_tables/."""
