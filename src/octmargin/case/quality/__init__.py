"""How well margins were assessed over a period: against pathology, and in coverage, time and re-excisions."""
