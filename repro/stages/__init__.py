"""What a stage is: identity, versions, and the names of the files that it leaves."""
