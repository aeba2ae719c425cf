"""Guards: defences of a teacher's owner against distillation. Each is a plug-in: see `repro.guards.base`."""
