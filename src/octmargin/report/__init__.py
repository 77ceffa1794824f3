"""The report of a specimen: what it says, what may be coded, and how it is set on paper."""
