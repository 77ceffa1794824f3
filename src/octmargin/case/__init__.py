"""The case: one operation, from registration to the signed report."""
