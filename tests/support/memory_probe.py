"""Runs a service as it is and tells on request what its live Python objects hold: `python -m ... FOLDER MODULE`.

The request is a file FOLDER/MODULE.ask with needles in hex, each byte inverted, so that asking does not plant them; the
answer FOLDER/MODULE.found lists where each was seen. Memory that was freed and not yet overwritten is not looked at.
"""

import gc
import runpy
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

POLL_S = 0.05


def inverted(needle: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in needle)


def live_texts(skip: set[int]) -> dict[int, tuple[Any, str]]:
    """Every str and bytes that anything alive refers to, by id, with the type of what refers to it.

    What the garbage collector does not track (tuples and dicts of plain values) is reached from what it does.
    """
    gc.unfreeze()
    gc.collect()
    found: dict[int, tuple[Any, str]] = {}
    stack: list[Any] = gc.get_objects()
    seen = {id(stack), id(found), *skip}
    while stack:
        holder = stack.pop()
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        for value in gc.get_referents(holder):
            if isinstance(value, str | bytes | bytearray):
                found[id(value)] = value, type(holder).__name__
            elif id(value) not in seen and not isinstance(value, int | float | bool | None):
                stack.append(value)
    return found


def _own_frames() -> set[int]:
    """Frames of the probe itself: they hold the needles."""
    frame: FrameType | None = sys._getframe()
    found = set()
    while frame is not None:
        found.add(id(frame))
        frame = frame.f_back
    return found


def holders(masked: list[str]) -> list[list[str]]:
    """For each needle, the types that refer to a text with it."""
    needles = [inverted(bytes.fromhex(text)) for text in masked]
    texts = live_texts(_own_frames() | {id(needles), id(masked)})
    answer = []
    for needle in needles:
        spelled = needle.decode("latin-1")
        answer.append(
            sorted(
                {
                    kind
                    for text, kind in texts.values()
                    if text is not needle and (spelled if isinstance(text, str) else needle) in text
                }
            )
        )
    return answer


def _watch(folder: Path, name: str) -> None:
    ask, found = folder / f"{name}.ask", folder / f"{name}.found"
    while True:
        if ask.exists():
            answer = holders(ask.read_text(encoding="ascii").split())
            ask.unlink()
            part = found.with_suffix(".part")
            part.write_bytes(orjson.dumps(answer))
            part.replace(found)
        time.sleep(POLL_S)


def main() -> None:
    folder, module = Path(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_watch, args=(folder, module), daemon=True).start()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()


async def seen_in(folder: Path, modules: list[str], needles: list[bytes]) -> dict[str, list[list[str]]]:
    """Ask running services; module -> for each needle the types that hold it. For the test's own process."""
    from tests.support.wait import until

    text = "\n".join(inverted(needle).hex() for needle in needles)
    for module in modules:
        (folder / f"{module}.found").unlink(missing_ok=True)
        part = folder / f"{module}.asking"
        part.write_text(text, encoding="ascii")
        part.replace(folder / f"{module}.ask")
    answers = {}
    for module in modules:
        found = folder / f"{module}.found"
        await until(found.exists, deadline_s=30, what=f"{module} tells what it holds")
        answers[module] = orjson.loads(found.read_bytes())
    return answers
