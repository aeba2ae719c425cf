"""What the paper printed: tables, numbers and claims, read from paper_tables/."""
