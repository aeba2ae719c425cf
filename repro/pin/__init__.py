"""Exact tags made immutable: image digests, action commits and hub revisions, looked up on a machine that reaches them."""
