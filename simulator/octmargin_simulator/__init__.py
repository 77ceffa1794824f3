"""A simulated OCT console: specimen, optics, registers, stream, and the wires it is served over."""
