"""When a block can be judged at all, whatever the model."""

from __future__ import annotations

from dataclasses import dataclass, fields

from octmargin.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityParameters:
    """How the visualised depth is read, and below what a block is poor; lengths in µm of tissue."""

    bin_um: float = 20.0
    """Depth over which the averaged profile is binned before its logarithm is taken."""
    specular_um: float = 24.0
    """Left out below the surface: its reflection is not scattering."""
    assessed_depth_um: float = 1600.0
    cut_over_noise_db: float = 6.0
    """The averaged profile counts as visualised down to where it falls below the noise by this much."""
    min_brightness_db: float = 10.0
    """Below this brightness under the surface a block is poor (low signal)."""
    min_visualised_depth_um: float = 100.0
    """Below this visualised depth a block is poor (shallow)."""
    max_missing_surface_share: float = 0.5
    """A block of whose A-lines more have no surface is poor."""
    max_saturated_share: float = 0.25
    """A block of whose A-lines more are saturated is poor."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ConfigError(
                    f"quality parameter {field.name} is {getattr(self, field.name)}; give a number above 0"
                )
