"""The route of figures. It names its roles by its dependency and calls one service; nothing is decided here."""

from datetime import UTC, date, datetime
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from schemas.errors import InvalidParameter
from schemas.events import Name
from services.query.auth import SEES_ARRANGED, Caller
from services.query.figures.figures import Asked, By

figures = APIRouter(tags=["figures"])

# Thirty days before it there are days still.
_FIRST: Final = date(1970, 1, 1)


class FigureParameters(BaseModel):
    """Closed: a misspelt parameter is refused, not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: Annotated[
        date | None,
        Field(alias="from", ge=_FIRST, description="The first day, UTC; thirty days in all if left out."),
    ] = None
    until: Annotated[date | None, Field(ge=_FIRST, description="The last day, UTC; today if left out.")] = None
    site: Annotated[Name | None, Field(description="Of this site alone.")] = None
    purpose: Annotated[Name | None, Field(description="Of this purpose alone.")] = None
    by: Annotated[By | None, Field(description="A row for each value of this; totals alone if left out.")] = None

    def asked(self) -> Asked:
        """Raises InvalidParameter when the last day is before the first."""
        if self.first is not None and self.until is not None and self.until < self.first:
            raise InvalidParameter("/until")
        return Asked(self.first, self.until, self.site, self.purpose, self.by)


@figures.get("/v1/figures")
async def read_figures(
    request: Request,
    asked: Annotated[FigureParameters, Query()],
    caller: Annotated[Caller, Depends(SEES_ARRANGED)],
) -> Response:
    """Rates of consent, refusal and withdrawal, and the counts they come from; small counts are held back."""
    answer = await request.state.figures.answer(caller, asked.asked(), datetime.now(UTC))
    return Response(orjson.dumps(answer), media_type="application/json")
