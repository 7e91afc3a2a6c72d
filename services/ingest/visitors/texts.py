"""What the pages behind links say, in the four languages of the house. The words of a notice are never among them."""

from typing import Final, Literal

PageLanguage = Literal["en", "fr", "de", "es"]
DEFAULT_LANGUAGE: Final[PageLanguage] = "en"

TEXTS: Final[dict[PageLanguage, dict[str, str]]] = {
    "en": {
        "confirm_title": "Confirm your choice",
        "confirm_lead": "asks you to confirm this choice:",
        "confirm_button": "Yes, I confirm",
        "confirm_hint": "If you did not ask for this, close this page: nothing counts until you confirm it.",
        "confirm_done": "Confirmed",
        "confirm_done_text": "Your choice is recorded. You can take it back at any time.",
        "unsubscribe_title": "Withdraw",
        "unsubscribe_lead": "will no longer do this once you withdraw:",
        "unsubscribe_button": "Withdraw now",
        "unsubscribe_hint": "Nothing changes until you press the button.",
        "unsubscribe_done": "Withdrawn",
        "unsubscribe_done_text": "Your withdrawal is recorded and counts from now on. This link stays valid.",
        "yes": "Yes",
        "no": "No",
        "full_words": "The full words",
        "invalid_title": "This link is not valid",
        "invalid_text": "It was changed on its way, or its time has run out. Open it as it stands in the message, or "
        "ask for a new one.",
        "failed_title": "This did not work",
        "failed_text": "Nothing was recorded. Please try again in a moment.",
    },
    "fr": {
        "confirm_title": "Confirmez votre choix",
        "confirm_lead": "vous demande de confirmer ce choix :",
        "confirm_button": "Oui, je confirme",
        "confirm_hint": "Si vous n’avez rien demandé, fermez cette page : rien ne compte sans votre confirmation.",
        "confirm_done": "Choix confirmé",
        "confirm_done_text": "Votre choix est enregistré. Vous pouvez revenir dessus à tout moment.",
        "unsubscribe_title": "Retirer votre accord",
        "unsubscribe_lead": "cessera ce qui suit dès votre retrait :",
        "unsubscribe_button": "Retirer maintenant",
        "unsubscribe_hint": "Rien ne change tant que vous n’avez pas appuyé sur le bouton.",
        "unsubscribe_done": "Accord retiré",
        "unsubscribe_done_text": "Votre retrait est enregistré et vaut dès maintenant. Ce lien reste valable.",
        "yes": "Oui",
        "no": "Non",
        "full_words": "Le texte complet",
        "invalid_title": "Ce lien n’est pas valable",
        "invalid_text": "Il a été modifié en route ou il a expiré. Ouvrez-le tel qu’il figure dans le message, ou "
        "demandez-en un autre.",
        "failed_title": "Cela n’a pas fonctionné",
        "failed_text": "Rien n’a été enregistré. Veuillez réessayer dans un instant.",
    },
    "de": {
        "confirm_title": "Bestätigen Sie Ihre Wahl",
        "confirm_lead": "bittet Sie, diese Wahl zu bestätigen:",
        "confirm_button": "Ja, ich bestätige",
        "confirm_hint": "Haben Sie das nicht angefordert, schließen Sie diese Seite: ohne Bestätigung gilt nichts.",
        "confirm_done": "Bestätigt",
        "confirm_done_text": "Ihre Wahl ist festgehalten. Sie können sie jederzeit zurücknehmen.",
        "unsubscribe_title": "Widerrufen",
        "unsubscribe_lead": "tut Folgendes nicht mehr, sobald Sie widerrufen:",
        "unsubscribe_button": "Jetzt widerrufen",
        "unsubscribe_hint": "Es ändert sich nichts, bis Sie auf die Schaltfläche drücken.",
        "unsubscribe_done": "Widerrufen",
        "unsubscribe_done_text": "Ihr Widerruf ist festgehalten und gilt ab jetzt. Dieser Link bleibt gültig.",
        "yes": "Ja",
        "no": "Nein",
        "full_words": "Der ganze Wortlaut",
        "invalid_title": "Dieser Link ist nicht gültig",
        "invalid_text": "Er wurde unterwegs verändert oder ist abgelaufen. Öffnen Sie ihn so, wie er in der Nachricht "
        "steht, oder fordern Sie einen neuen an.",
        "failed_title": "Das hat nicht geklappt",
        "failed_text": "Es wurde nichts festgehalten. Bitte versuchen Sie es gleich noch einmal.",
    },
    "es": {
        "confirm_title": "Confirme su elección",
        "confirm_lead": "le pide que confirme esta elección:",
        "confirm_button": "Sí, confirmo",
        "confirm_hint": "Si no lo ha pedido, cierre esta página: nada cuenta hasta que lo confirme.",
        "confirm_done": "Confirmado",
        "confirm_done_text": "Su elección ha quedado registrada. Puede retirarla en cualquier momento.",
        "unsubscribe_title": "Retirar",
        "unsubscribe_lead": "dejará de hacer lo siguiente en cuanto lo retire:",
        "unsubscribe_button": "Retirar ahora",
        "unsubscribe_hint": "Nada cambia hasta que pulse el botón.",
        "unsubscribe_done": "Retirado",
        "unsubscribe_done_text": "Su retirada ha quedado registrada y vale desde ahora. Este enlace sigue valiendo.",
        "yes": "Sí",
        "no": "No",
        "full_words": "El texto completo",
        "invalid_title": "Este enlace no es válido",
        "invalid_text": "Se modificó en el camino o ha caducado. Ábralo como figura en el mensaje o pida uno nuevo.",
        "failed_title": "No ha funcionado",
        "failed_text": "No se ha registrado nada. Vuelva a intentarlo dentro de un momento.",
    },
}


def language_of(accept_language: str | None) -> PageLanguage:
    """The page language that an Accept-Language header (RFC 9110, 12.5.4) wants most; English if none of ours."""
    best, best_weight = DEFAULT_LANGUAGE, 0.0
    for item in (accept_language or "").split(","):
        tag, _, parameter = item.strip().lower().partition(";")
        stated = parameter.strip().removeprefix("q=") if parameter else "1"
        weight = float(stated) if stated.replace(".", "", 1).isdecimal() else 0.0
        for language in TEXTS:
            # Of equals the first counts, as the header lists them.
            if tag.partition("-")[0] == language and weight > best_weight:
                best, best_weight = language, weight
    return best


def language_beside(notice: str | None, accept_language: str | None) -> PageLanguage:
    """The language of the notice's own words, so that a page speaks one; where it has none of ours, what is wanted."""
    base = None if notice is None else notice.partition("-")[0]
    return next((language for language in TEXTS if language == base), language_of(accept_language))
