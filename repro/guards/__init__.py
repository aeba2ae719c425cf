"""Guards: what the owner of a teacher does against distillation. Each is a plug-in: see `repro.guards.base`."""
