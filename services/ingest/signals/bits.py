"""Bits of a base64url text, most significant first, of which TC and GPP strings are made."""

from collections.abc import Iterator
from typing import Final

_ALPHABET: Final = {
    character: number
    for number, character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
}
_CHARACTER_BITS: Final = 6
_FIBONACCI_BITS_MAX: Final = 24


class Unreadable(Exception):
    """A string that cannot be what its first bits say."""


class Bits:
    """Reads bits in their order."""

    def __init__(self, text: str) -> None:
        """Raises Unreadable for other characters than those of base64url."""
        value = 0
        packed = bytearray()
        held = 0
        for character in text.rstrip("="):
            number = _ALPHABET.get(character)
            if number is None:
                raise Unreadable
            value = value << _CHARACTER_BITS | number
            held += _CHARACTER_BITS
            if held >= 8:
                held -= 8
                packed.append(value >> held)
                value &= (1 << held) - 1
        if held:
            packed.append(value << (8 - held))
        self._bytes = bytes(packed)
        self._size = len(text.rstrip("=")) * _CHARACTER_BITS
        self._at = 0

    def number(self, width: int) -> int:
        """The next `width` bits. Raises Unreadable past the end."""
        end = self._at + width
        if end > self._size:
            raise Unreadable
        last = (end + 7) // 8
        chunk = int.from_bytes(self._bytes[self._at // 8 : last])
        self._at = end
        return chunk >> (last * 8 - end) & ((1 << width) - 1)

    def flag(self) -> bool:
        return self.number(1) == 1

    def letters(self, count: int) -> str:
        """Capital letters of six bits each."""
        numbers = [self.number(_CHARACTER_BITS) for _ in range(count)]
        if any(number > ord("Z") - ord("A") for number in numbers):
            raise Unreadable
        return "".join(chr(ord("A") + number) for number in numbers)

    def positions(self, width: int) -> list[int]:
        """Which of the next `width` bits are set, counted from 1."""
        value = self.number(width)
        return [place for place in range(1, width + 1) if value >> (width - place) & 1]

    def fibonacci(self) -> int:
        """A number in Fibonacci coding: it ends with two ones."""
        total, before, term, last = 0, 1, 1, False
        for _ in range(_FIBONACCI_BITS_MAX):
            bit = self.flag()
            if bit and last:
                return total
            if bit:
                total += term
            before, term, last = term, before + term, bit
        raise Unreadable

    def fibonacci_range(self) -> Iterator[int]:
        """The members of a range: each start counts from the end before, each end from its start."""
        last = 0
        for _ in range(self.number(12)):
            is_group = self.flag()
            start = last + self.fibonacci()
            last = start + self.fibonacci() if is_group else start
            yield from range(start, last + 1)
