"""From what a controller states once, in all its languages, to the notices that people are shown, named by hash."""

from schemas.notice_making.making import Made, make_notices
from schemas.notice_making.source import NoticeSource, read_source

__all__ = ["Made", "NoticeSource", "make_notices", "read_source"]
