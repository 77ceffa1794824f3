"""Training of the margin models that come with octmargin; nothing here is part of the package (docs/assessment.md)."""
