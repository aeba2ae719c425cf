"""Splits and order of rows: by content, never by position.

A row's split is determined by a hash of its normalised text. So no seed, row order or other file can move an evaluation
row into training; a problem in several data sets divided this way (Big-Math's levels and quintiles) is in the same
split of each; and adding a row does not move the others.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

from repro.tasks.task import Split

TEST_SHARE = 0.1
"""ASSUMED: the paper does not say how it split data sets that come as one set of rows."""


def content_hash(text: str) -> str:
    """Return the hash of a text up to case and whitespace. Signs count: `x+1` is not `x-1`, `x²` is not `x2`."""
    normal = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return hashlib.sha256(normal.encode(errors="surrogatepass")).hexdigest()


def fraction(content: str) -> float:
    """Return a stable number in [0, 1) for a content hash."""
    return int(hashlib.sha256(f"side {content}".encode()).hexdigest()[:12], 16) / 16**12


def select_split(contents: Sequence[str], split: Split) -> list[str]:
    """Return the distinct content hashes that belong to a split.

    split: train or test. With two or more hashes neither split is empty: the hash closest to the border switches.
    """
    border = TEST_SHARE
    if len(contents) > 1:
        values = sorted(fraction(content) for content in contents)
        border = min(max(border, values[1]), values[-1])
    return [content for content in contents if (fraction(content) < border) == (split == "test")]


def seeded_order(ids: Sequence[str], seed: int) -> list[int]:
    """Return positions in the order of the seed. Added ids do not reorder the others."""
    keys = [hashlib.sha256(f"{seed}|{item_id}".encode(errors="surrogatepass")).digest() for item_id in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)
