"""From features to flags, map and verdict."""
