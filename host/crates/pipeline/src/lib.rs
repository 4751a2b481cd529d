//! The heart: ledger, routing, delivery, settlement, checkpoint.
