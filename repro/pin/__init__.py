"""Pin tags to immutable names: image digests, action commits and hub revisions, looked up over the network."""
