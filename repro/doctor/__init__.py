"""`repro doctor STUDY`: try everything a study needs before hours are spent."""
