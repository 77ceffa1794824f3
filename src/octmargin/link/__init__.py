"""The console link, sans-IO: bytes in, events out."""
