"""Drivers for OCT consoles: USB, serial and replay."""
