"""`repro doctor STUDY`: try everything that a study needs before hours are spent."""
