"""BANKING77 by subject: what customers ask a bank about cards, cash, payments, top-ups, transfers, themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adamem.bench.adaptation.assembly import Draft, assembled
from adamem.bench.adaptation.leakage import normalised
from adamem.bench.adaptation.source import field, general_set, records, shuffled
from adamem.bench.adaptation.tasks import Document, Lesson, Question, Sizes, TaskSequence

SUBJECTS: dict[str, tuple[str, ...]] = {
    "getting a card": (
        "activate_my_card", "card_about_to_expire", "card_arrival", "card_delivery_estimate", "card_linking",
        "get_disposable_virtual_card", "get_physical_card", "getting_spare_card", "getting_virtual_card",
        "order_physical_card", "visa_or_mastercard", "disposable_card_limits",
    ),
    "trouble with a card": (
        "card_acceptance", "card_not_working", "change_pin", "compromised_card", "contactless_not_working",
        "lost_or_stolen_card", "lost_or_stolen_phone", "passcode_forgotten", "pin_blocked",
        "virtual_card_not_working",
    ),
    "cash": (
        "atm_support", "card_swallowed", "cash_withdrawal_charge", "cash_withdrawal_not_recognised",
        "declined_cash_withdrawal", "pending_cash_withdrawal", "wrong_amount_of_cash_received",
        "wrong_exchange_rate_for_cash_withdrawal",
    ),
    "paying": (
        "Refund_not_showing_up", "apple_pay_or_google_pay", "card_payment_fee_charged", "card_payment_not_recognised",
        "card_payment_wrong_exchange_rate", "declined_card_payment", "direct_debit_payment_not_recognised",
        "extra_charge_on_statement", "pending_card_payment", "request_refund", "reverted_card_payment?",
        "transaction_charged_twice",
    ),
    "topping up": (
        "automatic_top_up", "balance_not_updated_after_cheque_or_cash_deposit", "pending_top_up",
        "top_up_by_bank_transfer_charge", "top_up_by_card_charge", "top_up_by_cash_or_cheque", "top_up_failed",
        "top_up_limits", "top_up_reverted", "topping_up_by_card", "verify_top_up",
    ),
    "transfers": (
        "balance_not_updated_after_bank_transfer", "beneficiary_not_allowed", "cancel_transfer", "declined_transfer",
        "failed_transfer", "pending_transfer", "receiving_money", "transfer_fee_charged", "transfer_into_account",
        "transfer_not_received_by_recipient", "transfer_timing",
    ),
    "the account and its currencies": (
        "age_limit", "country_support", "edit_personal_details", "exchange_charge", "exchange_rate",
        "exchange_via_app", "fiat_currency_support", "supported_cards_and_currencies", "terminate_account",
        "unable_to_verify_identity", "verify_my_identity", "verify_source_of_funds", "why_verify_identity",
    ),
}  # fmt: skip
"""All 77 intents, each under one subject."""


def banking(
    *,
    source: str | Path = "banking77-en",
    general: str | Path = "strategyqa-facts-en",
    sizes: Sizes = Sizes(),  # noqa: B008  # frozen
    memories: int = 8,
    seed: int = 0,
) -> TaskSequence:
    """A task a subject: of each intent `memories` training utterances are remembered, and all of them are relevant.

    Of two thirds of a subject's intents the other training utterances are taught, each with one of its intent's
    memories. Level a asks these intents' test utterances, level b those of the other intents. Utterances that bear two
    labels are left out.

    Raises
    ------
    UnknownName, StorageError, DataError, InvalidInput
        as `load_texts` and `assembled`.
    """
    rng = np.random.default_rng([seed, 1])
    found = records(source, "labelled")
    labels: dict[str, set[str]] = {}
    for record in found:
        labels.setdefault(normalised(record["text"]), set()).add(field(record, "label"))
    said: dict[tuple[str, str], dict[str, tuple[str, str]]] = {}
    for record in found:
        folded = normalised(record["text"])
        if len(labels[folded]) == 1:
            uttered = said.setdefault((record["label"], field(record, "split")), {})
            uttered.setdefault(folded, (record["_id"], record["text"]))
    drafts = []
    for subject, listed in SUBJECTS.items():
        intents = shuffled([one for one in listed if (one, "train") in said], rng)
        documents: list[Document] = []
        lessons: list[Lesson] = []
        asked: tuple[list[Question], list[Question]] = ([], [])
        for place, intent in enumerate(intents):
            train = shuffled(list(said[intent, "train"].values()), rng)
            kept = tuple(one for one, _ in train[:memories])
            documents += [Document(one, text) for one, text in train[:memories]]
            taught = 3 * place < 2 * len(intents)
            if taught:
                others = enumerate(train[memories:])
                lessons += [Lesson(text, kept[number % len(kept)], intent) for number, (_, text) in others]
            tests = said.get((intent, "test"), {}).values()
            asked[0 if taught else 1].extend(Question(text, kept, intent) for _, text in tests)
        if documents:
            wordings, neighbours = asked
            drafts.append(
                Draft(subject, tuple(documents), tuple(shuffled(lessons, rng)), tuple(wordings), tuple(neighbours))
            )
    return assembled(
        "banking", "en", drafts, general_set(general, count=sizes.general, seed=seed), sizes=sizes, seed=seed
    )
