"""Which rows are for training and which for evaluation, and in what order: by content, never by position.

A row's side is a hash of its normalised text. So no seed, no order of rows and no other file can move an
evaluation row into training, a problem in several data sets that are divided so (Big-Math's levels and
quintiles) is on the same side in all, and a row that is added leaves the others where they are.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

from repro.tasks.task import Split

TEST_SHARE = 0.1
"""ASSUMED: the paper does not tell how it split data sets that come as one set of rows."""


def content_hash(text: str) -> str:
    """Hash of a text up to case and blanks. Signs stay: `x+1` is not `x-1`, `x²` is not `x2`."""
    normal = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return hashlib.sha256(normal.encode(errors="surrogatepass")).hexdigest()


def fraction(content: str) -> float:
    """A stable number in [0, 1) for a content hash."""
    return int(hashlib.sha256(f"side {content}".encode()).hexdigest()[:12], 16) / 16**12


def select_split(contents: Sequence[str], split: Split) -> list[str]:
    """Those of different content hashes that are on one side.

    From two hashes on neither side is empty: the one nearest the border changes over.
    """
    border = TEST_SHARE
    if len(contents) > 1:
        values = sorted(fraction(content) for content in contents)
        border = min(max(border, values[1]), values[-1])
    return [content for content in contents if (fraction(content) < border) == (split == "test")]


def seeded_order(ids: Sequence[str], seed: int) -> list[int]:
    """Positions in the order that the seed gives. Ids that are added do not reorder the others."""
    keys = [hashlib.sha256(f"{seed}|{one}".encode(errors="surrogatepass")).digest() for one in ids]
    return sorted(range(len(ids)), key=keys.__getitem__)
