"""Reading on in a file that others append to, and noticing when it is no longer the file that was read."""

import os
from typing import NamedTuple

_TAIL = 512
"""Bytes before the end of what was read that are compared before more is read."""


class News(NamedTuple):
    """What a look at the file brought."""

    lines: list[bytes]
    """Whole lines that were not read before."""
    has_more: bool
    """There is something new, be it only the beginning of a line."""
    is_other_file: bool
    """Replaced, cut or edited: all lines are read from its beginning."""


class Follower:
    """How far one file of lines has been read."""

    def __init__(self) -> None:
        self.offset = 0
        """Bytes that were read."""
        self.torn = b""
        """The beginning of a line whose end is not there yet."""
        self._inode: int | None = None
        self._seen = (0, b"")
        """Time of the last change, and the last bytes that were read: both differ where lines were edited."""

    @property
    def is_there(self) -> bool:
        """The file was there when it was looked at last."""
        return self._inode is not None

    def forget(self) -> None:
        """Begin anew: there is no file, or another one."""
        self.offset, self.torn, self._inode, self._seen = 0, b"", None, (0, b"")

    def read_on(self, handle: int) -> News:
        """Read what came since the last look, from the beginning where the file is another one."""
        status = os.fstat(handle)
        is_other_file = self._inode is not None and (
            status.st_ino != self._inode or status.st_size < self.offset or self._was_edited(handle, status)
        )
        if is_other_file:
            self.forget()
        self._inode = status.st_ino
        if status.st_size == self.offset:
            self._seen = (status.st_mtime_ns, self._seen[1])
            return News([], has_more=False, is_other_file=is_other_file)
        os.lseek(handle, self.offset - len(self.torn), os.SEEK_SET)
        chunks = []
        while chunk := os.read(handle, 1 << 20):
            chunks.append(chunk)
        data = b"".join(chunks)
        self.offset += len(data) - len(self.torn)
        before = self._seen[1].removesuffix(self.torn)
        self._seen = (status.st_mtime_ns, (before + data)[-_TAIL:])
        *lines, self.torn = data.split(b"\n")
        return News(lines, has_more=True, is_other_file=is_other_file)

    def _was_edited(self, handle: int, status: os.stat_result) -> bool:
        """What was read before stands there no more: somebody changed lines in place."""
        changed, tail = self._seen
        if status.st_size == self.offset:
            return status.st_mtime_ns != changed
        os.lseek(handle, max(self.offset - len(tail), 0), os.SEEK_SET)
        return os.read(handle, len(tail)) != tail
