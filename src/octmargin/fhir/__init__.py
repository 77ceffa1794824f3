"""The report of a specimen as FHIR R4 resources. See docs/fhir.md. Needs the extra `fhir`, apart from `extra`."""
