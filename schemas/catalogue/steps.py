"""Compliance steps: what a controller must have done for each service it uses, dated by it, due again after a year."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from schemas.catalogue.service import ComplianceStep, Service

# For a service whose entry lists no steps.
USUAL_STEPS: Final[tuple[ComplianceStep, ...]] = (
    ComplianceStep(
        step="agreement-signed",
        what={
            "en": "Sign the data processing agreement and keep a copy.",
            "fr": "Signer l'accord de sous-traitance et en garder une copie.",
            "de": "Den Vertrag zur Auftragsverarbeitung schließen und eine Kopie aufbewahren.",
            "es": "Firmar el contrato de encargado del tratamiento y guardar una copia.",
        },
    ),
    ComplianceStep(
        step="transfer-assessed",
        what={
            "en": "Find out where the data goes and assess every transfer outside the EEA.",
            "fr": "Établir où vont les données et évaluer chaque transfert hors de l'EEE.",
            "de": "Klären, wohin die Daten gehen, und jede Übermittlung außerhalb des EWR bewerten.",
            "es": "Averiguar adónde van los datos y evaluar cada transferencia fuera del EEE.",
        },
    ),
    ComplianceStep(
        step="agents-trained",
        what={
            "en": "Train the people who see personal data in this service.",
            "fr": "Former les personnes qui voient des données personnelles dans ce service.",
            "de": "Alle schulen, die in diesem Dienst personenbezogene Daten sehen.",
            "es": "Formar a quienes ven datos personales en este servicio.",
        },
    ),
    ComplianceStep(
        step="retention-set",
        what={
            "en": "Set how long data is kept, in the service and in the privacy policy.",
            "fr": "Fixer la durée de conservation, dans le service et dans la politique de confidentialité.",
            "de": "Festlegen, wie lange Daten bleiben, im Dienst und in der Datenschutzerklärung.",
            "es": "Fijar cuánto tiempo se guardan los datos, en el servicio y en la política de privacidad.",
        },
    ),
)


@dataclass(frozen=True, slots=True)
class StepStanding:
    """Where one step of one service stands. due_on: when to look at it again (P1Y); None while it is missing."""

    service: str
    step: ComplianceStep
    state: Literal["missing", "done", "due"]
    done_on: date | None
    due_on: date | None
    note: str | None


def steps_of(service: Service | None) -> Sequence[ComplianceStep]:
    """The steps of a service, the usual ones if its entry lists none or there is no entry."""
    return USUAL_STEPS if service is None or service.compliance is None else service.compliance


def a_year_after(day: date) -> date:
    """P1Y later; 28 February after a leap day."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


def standings(
    catalogue: Mapping[str, Service],
    used: Iterable[str],
    done: Mapping[tuple[str, str], tuple[date, str | None]],
    today: date,
) -> list[StepStanding]:
    """Every step of every service used, in order. `done`: (service, step) -> when it was last done, and its note."""
    found = []
    for name in sorted(set(used)):
        for step in steps_of(catalogue.get(name)):
            last = done.get((name, step.step))
            if last is None:
                found.append(StepStanding(name, step, "missing", None, None, None))
                continue
            due_on = a_year_after(last[0])
            found.append(StepStanding(name, step, "due" if today >= due_on else "done", last[0], due_on, last[1]))
    return found
