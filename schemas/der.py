"""A reader of DER (X.690), as much of it as RFC 3161 tokens and certificates need.

Invariant: one value has one encoding. Lengths are definite and shortest, tags are one byte, integers and booleans are
minimal, nothing is left over; what breaks this is a ProofError and never a guess.
"""

from dataclasses import dataclass
from typing import Final

from schemas.errors import ProofError

DER_BOOLEAN: Final = 0x01
DER_INTEGER: Final = 0x02
DER_BITS: Final = 0x03
DER_OCTETS: Final = 0x04
DER_NULL: Final = 0x05
DER_OID: Final = 0x06
DER_TIME: Final = 0x18  # GeneralizedTime
DER_SEQUENCE: Final = 0x30
DER_SET: Final = 0x31
_LENGTH_BYTES_MAX: Final = 4
_OID_BYTES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class DerValue:
    """One value: its tag byte (class, constructed bit and number together), its content, and its whole encoding."""

    tag: int
    content: bytes
    encoded: bytes


class DerReader:
    """Reads the values of one content, in order. Every method raises ProofError for what is not DER or not expected."""

    def __init__(self, content: bytes, what: str) -> None:
        """`what` names the structure in messages."""
        self._content = content
        self._at = 0
        self._what = what

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._content)

    def tag(self) -> int | None:
        """The tag of the next value; None at the end."""
        return self._content[self._at] if self.more else None

    def any(self) -> DerValue:
        """The next value, whatever it is."""
        content, start = self._content, self._at
        # 1. The tag is one byte: numbers above 30 stand in none of our structures.
        if start + 2 > len(content) or content[start] & 0x1F == 0x1F:
            raise self._broken("a value is cut off, or has a tag that does not belong there")
        # 2. The length is definite, and in its shortest form.
        length, body = content[start + 1], start + 2
        if length >= 0x80:
            count = length & 0x7F
            body += count
            length = int.from_bytes(content[start + 2 : body], "big")
            if not 0 < count <= _LENGTH_BYTES_MAX or length < 0x80 or length >> 8 * (count - 1) == 0:
                raise self._broken("a length is not definite and shortest")
        # 3. All of the content is there.
        end = body + length
        if end > len(content):
            raise self._broken("a value is cut off")
        self._at = end
        return DerValue(content[start], content[body:end], content[start:end])

    def next(self, tag: int) -> DerValue:
        """The next value, which must have this tag."""
        if self.tag() != tag:
            raise self._broken(f"a value with the tag {tag:#04x} is missing")
        return self.any()

    def optional(self, tag: int) -> DerValue | None:
        """The next value if it has this tag."""
        return self.any() if self.tag() == tag else None

    def inside(self, tag: int) -> "DerReader":
        """A reader of the content of the next value, which must have this tag."""
        return DerReader(self.next(tag).content, self._what)

    def integer(self, tag: int = DER_INTEGER) -> int:
        """An INTEGER, or one under an implicit tag."""
        content = self.next(tag).content
        if not content or (len(content) > 1 and content[0] in {0x00, 0xFF} and content[0] >> 7 == content[1] >> 7):
            raise self._broken("an integer is not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """A BOOLEAN; DER knows 0x00 and 0xFF only."""
        content = self.next(DER_BOOLEAN).content
        if content not in {b"\x00", b"\xff"}:
            raise self._broken("a boolean is neither 00 nor ff")
        return content == b"\xff"

    def oid(self) -> str:
        """An OBJECT IDENTIFIER in dotted form."""
        content = self.next(DER_OID).content
        if len(content) > _OID_BYTES_MAX:
            raise self._broken("an object identifier is longer than any that is in use")
        numbers, number, begun = [], 0, False
        for byte in content:
            if not begun and byte == 0x80:
                raise self._broken("an object identifier is not in its shortest form")
            number, begun = number << 7 | byte & 0x7F, byte >= 0x80
            if not begun:
                numbers.append(number)
                number = 0
        if begun or not numbers:
            raise self._broken("an object identifier is cut off")
        first = min(numbers[0] // 40, 2)
        return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))

    def end(self) -> None:
        """Nothing may be left."""
        if self.more:
            raise self._broken("there is something behind its end")

    def _broken(self, why: str) -> ProofError:
        return ProofError(f"{self._what} is malformed: {why}")
