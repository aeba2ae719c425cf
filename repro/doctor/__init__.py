"""`repro doctor STUDY`: before hours are spent, try everything that a study needs."""
