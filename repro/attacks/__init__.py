"""Attacks: what a thief makes of what a teacher shows. Each is a plug-in: see `repro.attacks.base`."""
