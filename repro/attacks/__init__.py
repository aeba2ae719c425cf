"""Attacks: what a thief does with what a teacher shows. Each is a plug-in: see `repro.attacks.base`."""
