"""The record of a case: what happened, by whom and when, in an append-only log; and what follows from it."""
