"""SentencePiece's table of normalized characters (`precompiled_charsmap`): whether a lookup could leave it.

The tokenizers library checks none of that, and panics at the first text that leads it out of a damaged table.
"""

from __future__ import annotations

import numpy as np

__all__ = ["is_sound"]


def is_sound(table: bytes) -> bool:
    """Whether every lookup in a table ends within it.

    A table is the size in bytes of a trie, the trie, and UTF-8 text. The trie is a double array in the form of the
    Darts-clone library: units of 32 bits, of which each holds the byte that leads to it (bits 0 to 7, and 31 set in
    values alone), whether its children begin with a value (bit 8), and where they lie (an offset in the bits from 10
    on, in steps of 256 where bit 9 is set, that is xored into its own place). A value is where a text begins.
    """
    size = int.from_bytes(table[:4], "little")
    if size == 0 or size % 4 or size + 4 > len(table):
        return False
    try:
        table[4 + size :].decode("utf-8")
    except UnicodeDecodeError:
        return False
    texts = np.frombuffer(table[4 + size :], np.uint8)
    begins = np.append(texts & 0xC0 != 0x80, True)  # places where a character begins, and the end
    units = np.frombuffer(table, "<u4", size // 4, 4).astype(np.int64)
    children = np.arange(len(units)) ^ ((units >> 10) << ((units & 1 << 9) >> 6))
    label = units & (1 << 31 | 0xFF)
    led_to = np.flatnonzero((label > 0) & (label <= 0xFF))
    parents = led_to ^ label[led_to]  # what the children of the unit before them are counted from
    reached = np.zeros((len(units) | 0xFF) + 1, bool)
    new = np.zeros(1, np.int64)  # lookups begin at the first unit
    while len(new):
        if np.any(children[new] | 0xFF >= len(units)):
            return False
        values = units[children[new[units[new] & 1 << 8 != 0]]] & ~(1 << 31)
        if np.any(values > len(texts)) or not np.all(begins[values]):
            return False
        reached[children[new]] = True
        now = reached[parents]
        new, led_to, parents = led_to[now], led_to[~now], parents[~now]
    return True
