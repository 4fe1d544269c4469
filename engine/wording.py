"""How counts are said in sentences."""


def counted(n: int, one: str, many: str = "") -> str:
    """``1 pair``, ``1,204 pairs``; with a verb ``counted(n, "pair is", "pairs are")``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
